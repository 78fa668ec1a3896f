"""Architectures of the benchmark, one file per modality."""
