"""Files that are written whole or not at all, and disks without room for them."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_known: dict[tuple[str | int, ...], str] = {}

_FULL = (errno.ENOSPC, errno.EDQUOT)

_CUT_SHORT = re.compile(
    "|".join(
        [
            *(re.escape(os.strerror(number)) for number in _FULL),  # `safetensors`
            r"inline_container\.cc.*unexpected pos|PytorchStreamWriter failed",  # `torch.save`
            r"\d+ requested and \d+ written|Not enough free space to write",  # NumPy
        ]
    )
)
"""What libraries say when the disk took less than they wrote."""


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


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def known_sha256(path: Path) -> str:
    """Return ``file_sha256``, computed once a process as long as the file's size and times stay the same."""
    about = path.stat()
    key = (str(path.absolute()), about.st_ino, about.st_size, about.st_mtime_ns, about.st_ctime_ns)
    if key not in _known:
        _known[key] = file_sha256(path)
    return _known[key]


def disk_is_full(error: BaseException) -> bool:
    """Return whether an error, or what it was raised from, says that no room is left; some say so only in words."""
    if getattr(error, "errno", None) in _FULL or _CUT_SHORT.search(str(error)):
        return True
    before = error.__cause__ or error.__context__
    return before is not None and disk_is_full(before)
