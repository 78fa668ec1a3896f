"""Repositories to publish: what is in them, and nothing else."""

from mubench_hf.hub.bundle import Bundle, dataset_bundle, metric_bundle, model_bundle
from mubench_hf.hub.space import list_spaces, space_bundle, space_folder

__all__ = [
    "Bundle",
    "dataset_bundle",
    "list_spaces",
    "metric_bundle",
    "model_bundle",
    "space_bundle",
    "space_folder",
]
