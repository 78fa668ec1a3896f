"""Independent pieces of work in several processes of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing.connection import wait
from typing import Any


def each_done(work: Callable[..., Any], pieces: Sequence[Sequence[Any]], jobs: int) -> Iterator[tuple[int, Any]]:
    """Yield the number of each piece and what ``work(*piece)`` returned, as soon as it is done.

    With one job all is done in this process. If anything fails, or this process is interrupted, the others end at once.

    Args:
        work: A function at the top of a module.
        pieces: Arguments, which can be pickled.
        jobs: How many processes.

    Raises:
        Exception: What ``work`` raised first.
    """
    jobs = min(jobs, len(pieces))
    if jobs <= 1:
        yield from ((number, work(*piece)) for number, piece in enumerate(pieces))
        return
    before = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn"), _begin)
    try:
        numbers = {pool.submit(work, *piece): number for number, piece in enumerate(pieces)}
        for done in as_completed(numbers):
            yield numbers[done], done.result()
    except BaseException:
        for process in set(multiprocessing.active_children()) - before:
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Leave Ctrl-C to the first process, which ends this one, and end with it however it ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            wait([parent.sentinel])
            os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
