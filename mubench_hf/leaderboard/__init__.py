"""Results of others: how they are laid out, read without trust, checked, recomputed and marked."""

from mubench_hf.leaderboard.entries import Contents, Entry, LeftOut, read_folder
from mubench_hf.leaderboard.reading import read_results

__all__ = ["Contents", "Entry", "LeftOut", "read_folder", "read_results"]
