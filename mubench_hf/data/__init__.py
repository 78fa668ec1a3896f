"""Data sets of the benchmark: the deletion rule, the built folders and how to load them."""

from mubench_hf.data.build import build
from mubench_hf.data.loading import load_manifest, load_split
from mubench_hf.data.splits import check_ratio, deletion_set

__all__ = ["build", "check_ratio", "deletion_set", "load_manifest", "load_split"]
