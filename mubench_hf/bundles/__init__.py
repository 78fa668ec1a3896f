"""Repositories to publish: what is in them, and nothing else."""

from mubench_hf.bundles.bundle import Bundle, dataset_bundle, metric_bundle, model_bundle

__all__ = ["Bundle", "dataset_bundle", "metric_bundle", "model_bundle"]
