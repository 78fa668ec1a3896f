"""A hash of a data set's content, whatever class it is of: cheap, and the same in every process."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from mubench_hf.data.columns import column

MOST_ROWS = 256
"""Rows that are read; of a larger set they are evenly spaced, since each may be an image or a film to decode."""


def rows_sha256(rows: Dataset) -> str:
    """Return a SHA-256 over a data set's length, its ``index`` and labels, and its rows, up to ``MOST_ROWS`` of them.

    A row that differs when it is read again, such as an image that is cropped at random, does not count. The caller's
    random states do not change.
    """
    digest = hashlib.sha256(f"{len(rows)}\n".encode())
    for name in ("index", "labels", "label"):
        _add(digest, column(rows, name))
    places = np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).astype(int)).tolist()
    with own_random_state():
        for place in places:
            once, again = row_sha256(rows[place]), row_sha256(rows[place])
            if once == again:
                digest.update(f"{place} {once}\n".encode())
    return digest.hexdigest()


def row_sha256(row: Any) -> str:
    """Return a SHA-256 over a row's columns, their types and content."""
    digest = hashlib.sha256()
    _add(digest, row)
    return digest.hexdigest()


def _add(digest: Any, value: Any) -> None:
    """Add a value's type and content to a hash."""
    if isinstance(value, torch.Tensor):
        data = value.detach().cpu().contiguous()
        digest.update(f"tensor {data.dtype} {tuple(data.shape)}\n".encode())
        digest.update(data.flatten().view(torch.uint8).numpy().tobytes())
    elif isinstance(value, np.ndarray | np.generic) and value.dtype.kind != "O":
        digest.update(f"array {value.dtype} {value.shape}\n".encode())
        digest.update(value.tobytes())
    elif isinstance(value, Mapping):
        for name in sorted(value, key=str):
            digest.update(f"field {name}\n".encode())
            _add(digest, value[name])
    elif value is None or isinstance(value, str | bytes | int | float):
        digest.update(f"{value!r}\n".encode())
    elif isinstance(value, Sequence | np.ndarray):
        digest.update(f"list {len(value)}\n".encode())
        for each in value:
            _add(digest, each)
    elif hasattr(value, "__array_interface__"):  # An image.
        _add(digest, np.asarray(value))
    else:
        digest.update(f"{type(value).__qualname__}\n".encode())


@contextmanager
def own_random_state() -> Iterator[None]:
    """Leave the caller's random states as they are, whatever is drawn while inside."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng():
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
