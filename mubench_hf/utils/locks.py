"""One process at a time works on a run's folder; whoever comes second is told who holds it."""

from __future__ import annotations

import errno
import os
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mubench_hf.errors import BadInput, shown
from mubench_hf.utils.claims import EXPIRY, Claim, holder_of, is_held_here
from mubench_hf.utils.processes import joined

LOCK = ".lock"
"""File in a folder while it is held."""

SECONDS_BETWEEN_TRIES = 0.5

_READ_ONLY = (errno.EACCES, errno.EPERM, errno.EROFS)


def is_lock(name: str) -> bool:
    """Return whether a file of this name in a folder is its lock, or what an earlier version or a kill left of one."""
    return name == LOCK or name.startswith(f"{LOCK}.")


@contextmanager
def held(
    path: Path, *, waits: bool = True, named: object = None, doing: str = "making the same run"
) -> Iterator[Claim]:
    """Hold a claim while inside, and yield it.

    Args:
        path: Its file.
        waits: Whether to wait while another process holds it; otherwise that is an error.
        named: What is held, for people; default: the file.
        doing: What its other holder is doing, for people.

    Raises:
        BadInput: If another process holds it and ``waits`` is false, or it was lost while inside: this process gave no
            sign for ``EXPIRY`` seconds, and another one on another machine took it.
        OSError: If no file can be written there.
    """
    claim, what = Claim(path), named or path
    said = False
    while not _taken(claim):
        line = f"{what} is held by {holder_of(claim.path)}, which is {doing}"
        if not waits:
            raise BadInput(f"{line}. Wait until it ends, or choose another folder.")
        if not said and joined()[0] == 0:  # One of the processes of a command says it.
            print(shown(f"mubench: {line}. Waiting until it ends."), file=sys.stderr, flush=True)
        said = True
        time.sleep(SECONDS_BETWEEN_TRIES)
    try:
        yield claim
    except KeyboardInterrupt:
        if not claim.lost:
            raise
    finally:
        claim.release()
    if claim.lost:
        raise BadInput(
            f"{what} was taken over by {holder_of(claim.path)}: for {EXPIRY:.0f} s it had seen no sign of this "
            "process, which stops here. What was saved before is kept."
        )


@contextmanager
def sole_owner(folder: Path, *, waits: bool = True) -> Iterator[None]:
    """Hold ``folder`` while inside; the same process may do so again.

    Where nothing may be written, nobody else writes either, and there is no lock. Files and a folder that this makes
    are gone afterwards, unless there is something else in it.

    Args:
        folder: The folder, which is made if it is not there.
        waits: Whether to wait, and say for whom, if another process holds it; otherwise an owner is an error.

    Raises:
        BadInput: As ``held`` does.
    """
    place = Path(os.path.abspath(folder))
    made = [parent for parent in (place, *place.parents) if not parent.exists()]
    if is_held_here(place / LOCK) or not _writable(place):
        yield
        return
    try:
        with held(place / LOCK, waits=waits, named=place, doing="making the same run"):
            yield
    finally:
        for parent in made:
            if not parent.is_dir() or any(parent.iterdir()):
                break
            parent.rmdir()


def _writable(place: Path) -> bool:
    """Make a folder and return whether files can be written to it."""
    try:
        place.mkdir(parents=True, exist_ok=True)
        part = place / f"{LOCK}.{uuid.uuid4().hex}"
        os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
        part.unlink()
    except OSError as error:
        if error.errno in _READ_ONLY:
            return False
        raise
    return True


def _taken(claim: Claim) -> bool:
    """Try to take a claim; its last holder may take the folder away that it had made."""
    for _ in range(10):
        try:
            claim.path.parent.mkdir(parents=True, exist_ok=True)
            return claim.take()
        except FileNotFoundError:
            continue
    return False
