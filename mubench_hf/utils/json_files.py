"""JSON files that anybody may have written: read within bounds, and refused where they hold something else."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

from mubench_hf.errors import BadInput

LARGEST_JSON = 16 * 2**20
"""Bytes of one file; a configuration with the names of a hundred thousand classes has fewer."""


def read_bytes(file: Path, most: int = LARGEST_JSON) -> bytes:
    """Return the bytes of a plain file.

    Raises:
        OSError: If it cannot be read.
        ValueError: If it has more than ``most`` bytes, or is no plain file: reading a pipe or a device may never end.
    """
    about = file.stat()
    if not stat.S_ISREG(about.st_mode):
        raise ValueError("it is no plain file")
    if about.st_size > most:
        raise ValueError(f"it has {about.st_size:,} bytes, and at most {most:,} are read")
    return file.read_bytes()


def parse_object(content: bytes | str) -> dict[str, Any]:
    """Return the JSON object in a text.

    Raises:
        ValueError: If it holds none, is nested too deeply, or is no UTF-8.
    """
    try:
        found = json.loads(content.decode("utf-8") if isinstance(content, bytes) else content)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if not isinstance(found, dict):
        raise ValueError(f"it holds a {type(found).__name__} in place of an object")
    return found


def read_object(file: Path, most: int = LARGEST_JSON) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        BadInput: If there is none that can be read; the message names the file.
    """
    try:
        return parse_object(read_bytes(file, most))
    except (OSError, ValueError) as error:
        raise BadInput(f"{file} holds no JSON object that can be read: {error}.") from error
