"""Tables of models' outputs: kept while runs on the same rows may read them, and gone when their table is finished."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mubench_hf.utils.claims import Claim, is_alive

IN_USE = "in-use"
"""Folder beside the tables with a claim of each process that may read one."""

ASIDE = ".unneeded"
"""What a table's name ends in while it is looked whether anybody has opened it."""

_TABLE = re.compile(rf"[0-9a-f]{{32}}(-[a-z]+)?\.(npy|json)({re.escape(ASIDE)})?")


@contextmanager
def using_tables(cache: Path) -> Iterator[None]:
    """Keep a folder's tables of outputs from being removed while inside.

    Args:
        cache: See ``TaskData.cache_dir``. Where nothing may be written, nothing is removed either.
    """
    claim = _claimed(cache / IN_USE)
    try:
        yield
    finally:
        if claim:
            claim.release()
            _remove_empty(cache / IN_USE, cache)


def remove_tables(cache: Path) -> None:
    """Remove the tables of outputs of a folder, unless another run may be reading them.

    Args:
        cache: See ``TaskData.cache_dir``.
    """
    if _in_use(cache):
        return
    # Whoever comes now finds no table, and makes one. Whoever came before is in the list by now, and keeps what it has
    # opened: it has the same file under either name.
    aside = [_renamed(file, file.with_name(file.name + ASIDE)) for file in _tables(cache) if file.suffix != ASIDE]
    if _in_use(cache):
        for file in filter(None, aside):
            if not os.path.lexists(back := file.with_name(file.name.removesuffix(ASIDE))):
                _renamed(file, back)
        return
    for file in _tables(cache):
        if file.suffix == ASIDE:
            file.unlink(missing_ok=True)
    _remove_empty(*{file.parent for file in filter(None, aside)}, cache / IN_USE, cache)


def _tables(cache: Path) -> list[Path]:
    """Return files of tables, notes before what they describe: without its note, a table counts for nothing."""
    found = (file for file in cache.glob("*/*") if _TABLE.fullmatch(file.name) and file.is_file())
    return sorted(found, key=lambda file: (".json" not in file.suffixes, file))


def _claimed(folder: Path) -> Claim | None:
    """Return a new claim in a folder, or ``None`` where nothing may be written."""
    for _ in range(10):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            claim = Claim(folder / uuid.uuid4().hex)
            return claim if claim.take() else None
        except FileNotFoundError:  # Whoever was the last one in it has just taken it away.
            continue
        except OSError:
            return None
    return None


def _remove_empty(*folders: Path) -> None:
    for folder in folders:
        with suppress(OSError):  # There is something else in it.
            folder.rmdir()


def _in_use(cache: Path) -> bool:
    """Return whether a process may read tables, and remove the claims of those that were killed."""
    claims = {claim: is_alive(claim) for claim in (cache / IN_USE).glob("*")}
    for claim, alive in claims.items():
        if not alive:
            claim.unlink(missing_ok=True)
    return any(claims.values())


def _renamed(file: Path, new: Path) -> Path | None:
    try:
        return file.replace(new)
    except FileNotFoundError:  # Another process had the same thought.
        return None
