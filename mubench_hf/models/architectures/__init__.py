"""Architectures of the benchmark, one file a modality."""
