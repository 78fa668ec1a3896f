"""Folders that a command is to write to, checked before any work is done."""

from __future__ import annotations

import os
from pathlib import Path

from mubench_hf.errors import BadInput

LONGEST_NAME, LONGEST_PATH = 255, 3500
"""Bytes that a file's name may have, and those that leave room in a path for the names of what is written."""


def check_folder(flag: str, folder: str | Path | None) -> None:
    """Check that files can be written into a folder, which need not be there yet; ``None`` is not checked.

    Raises:
        BadInput: If its name is one that was hardly meant, or too long, a file is in its place or on the way to it, or
            it may not be written to.
    """
    if folder is None:
        return
    given = str(folder)
    if not given or not given.isprintable():
        raise BadInput(f"{flag} is {given!r}. Allowed: a folder's name, without control characters; '.' for this one.")
    if given[0] in "-~":
        raise BadInput(f"{flag} is {given!r}, which is no folder's name here. Write ./{given} if it is one.")
    parts = Path(os.path.abspath(given)).parts
    longest = max(len(os.fsencode(part)) for part in parts)
    if longest > LONGEST_NAME or len(os.fsencode(os.path.abspath(given))) > LONGEST_PATH:
        raise BadInput(
            f"{flag} is {given!r}, which is too long. Allowed: {LONGEST_NAME} bytes for each folder's name, "
            f"{LONGEST_PATH} for all of them."
        )
    place = _nearest(Path(os.path.abspath(given)))
    if not place.is_dir():
        raise BadInput(f"{flag} is {given!r}, but {place} is a file. Choose another folder.")
    if not os.access(place, os.W_OK | os.X_OK):
        raise BadInput(
            f"{flag} is {given!r}, but nothing may be written to {place}. Choose another folder, or change its rights."
        )


def check_file(flag: str, file: str | Path | None) -> None:
    """Check that a file can be written, in a folder that need not be there yet; ``None`` is not checked.

    Raises:
        BadInput: If a folder is in its place, or nothing may be written into the one that it is to be in.
    """
    if file is None:
        return
    if Path(file).is_dir():
        raise BadInput(f"{flag} is {str(file)!r}, which is a folder. Give a file's name.")
    check_folder(flag, file if not Path(file).is_file() else Path(file).parent)


def _nearest(path: Path) -> Path:
    """Return the path, or the nearest one above it that there is."""
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path
