"""Files that are written whole or not at all, and disks without room for them."""

from __future__ import annotations

import errno
import os
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO


def write_atomic(path: Path, write: Callable[[BinaryIO], object]) -> Path:
    """Let ``write`` fill a file that replaces ``path`` only once it is complete and on disk.

    Args:
        path: Where the file ends up; missing folders are made. If writing fails, an older file there is kept.
        write: Called with the open binary stream.

    Returns:
        ``path``.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # The name is unique because several processes may save the same run; plain open() keeps the user's file mode.
    part = path.parent / f".{path.name}.{uuid.uuid4().hex}.tmp"
    try:
        with open(part, "wb") as stream:
            write(stream)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)
    return path


def disk_is_full(error: BaseException) -> bool:
    """Return whether an error, or its cause, says that no room is left; some libraries say so only in words."""
    full = (errno.ENOSPC, errno.EDQUOT)
    if getattr(error, "errno", None) in full or os.strerror(errno.ENOSPC) in str(error):
        return True
    return error.__cause__ is not None and disk_is_full(error.__cause__)
