"""Populations of models that differ in their seeds or in the rows they saw, for metrics that read many models."""
