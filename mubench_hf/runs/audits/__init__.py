"""Audits: what a model still holds of D_f, brought out by further training, quantisation and pruning."""
