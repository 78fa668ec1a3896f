"""The processes that work on one command together."""

from __future__ import annotations

import os
import sys


def launched_processes() -> int:
    """Return how many processes a launcher started, or that were joined by hand; 1 without a launcher."""
    try:
        said = int(os.environ.get("WORLD_SIZE", 1))
    except ValueError:
        said = 1
    return max(said, joined()[1])


def joined() -> tuple[int, int]:
    """Return this process's rank and how many processes are joined in its group; 0 and 1 if it is on its own."""
    distributed = sys.modules.get("torch.distributed")  # Who has not imported it has joined nothing.
    if distributed is None or not (distributed.is_available() and distributed.is_initialized()):
        return 0, 1
    return distributed.get_rank(), distributed.get_world_size()
