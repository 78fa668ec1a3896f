"""Results of others: how they are laid out, read without trust, checked, recomputed and marked."""

from mubench_hf.submissions.entries import Contents, Entry, LeftOut, read_folder
from mubench_hf.submissions.reading import read_results

__all__ = ["Contents", "Entry", "LeftOut", "read_folder", "read_results"]
