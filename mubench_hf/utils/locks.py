"""One process at a time works on a run's folder; whoever comes second is told who holds it."""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from mubench_hf.errors import BadInput, shown
from mubench_hf.utils.files import write_atomic

LOCK, OWNER = ".lock", ".lock.owner"
"""Files in a folder while it is held: the system's lock, which ends with its process, and who holds it."""

SECONDS_BETWEEN_TRIES = 0.5

_held: set[Path] = set()


@contextmanager
def sole_owner(folder: Path, *, waits: bool = True) -> Iterator[None]:
    """Hold ``folder`` while inside; the same process may do so again.

    If another process holds it, wait until it ends, and say for whom; the lock of a process that died is free. Where
    nothing may be written, nobody else writes either, and there is no lock. Files and a folder that this makes are gone
    afterwards, unless there is something else in it.

    Args:
        folder: The folder, which is made if it is not there.
        waits: Whether to wait; otherwise an owner is an error.

    Raises:
        BadInput: If another process holds it and ``waits`` is false.
    """
    place = Path(os.path.abspath(folder))
    if place in _held:
        yield
        return
    made = [parent for parent in (place, *place.parents) if not parent.exists()]
    lock = FileLock(place / LOCK)
    try:
        place.mkdir(parents=True, exist_ok=True)
        _acquire(lock, place, waits)
    except OSError as error:
        if error.errno not in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK):
            raise
        yield
        return
    _held.add(place)
    try:
        note = {"process": os.getpid(), "host": socket.gethostname(), "since": time.strftime("%Y-%m-%d %H:%M:%S")}
        write_atomic(place / OWNER, lambda stream: stream.write(json.dumps(note).encode()))
        yield
    finally:
        _held.discard(place)
        # Whoever waits finds that the file it opened is gone, and tries again.
        for name in (OWNER, LOCK):
            (place / name).unlink(missing_ok=True)
        lock.release()
        for parent in made:
            if not parent.is_dir() or any(parent.iterdir()):
                break
            parent.rmdir()


def _acquire(lock: FileLock, place: Path, waits: bool) -> None:
    """Take a lock, and say so once if that has to wait."""
    try:
        lock.acquire(timeout=0)
    except Timeout:
        line = f"{place} is held by {_owner(place)}, which is making the same run"
        if not waits:
            raise BadInput(f"{line}. Wait until it ends, or choose another folder.") from None
        print(shown(f"mubench: {line}. Waiting until it ends."), file=sys.stderr, flush=True)
        # The owner may take the folder away that it had made.
        while not lock.is_locked:
            place.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=SECONDS_BETWEEN_TRIES, poll_interval=SECONDS_BETWEEN_TRIES / 5)
            except (Timeout, FileNotFoundError):
                continue


def _owner(place: Path) -> str:
    try:
        note = json.loads((place / OWNER).read_text(encoding="utf-8"))
        return f"process {note['process']} on {note['host']} since {note['since']}"
    except (OSError, ValueError, KeyError, TypeError):
        return "another process"
