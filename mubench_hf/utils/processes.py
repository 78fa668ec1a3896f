"""The processes that work on one command together, and how they share work whose results do not depend on it."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TypeVar

from mubench_hf.errors import BadInput

Batch = TypeVar("Batch")
Made = TypeVar("Made")

NOT_JOINED = (
    "the processes that were started are not joined, so each would do the whole run. On CPUs start them by torchrun "
    "and set use_cpu (--use_cpu, or ACCELERATE_USE_CPU=true); on GPUs start one for each, by accelerate launch."
)

_together: ContextVar[bool] = ContextVar("together", default=False)


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


def check_joined() -> None:
    """Check that processes that a launcher started are joined.

    Raises:
        BadInput: If they are not.
    """
    if launched_processes() > joined()[1]:
        raise BadInput(f"WORLD_SIZE is {launched_processes()}: {NOT_JOINED}")


@contextmanager
def together() -> Iterator[None]:
    """Share work among the joined processes while inside, where all of them are.

    Elsewhere each does its own: a program may well evaluate in its first process alone.
    """
    token = _together.set(True)
    try:
        yield
    finally:
        _together.reset(token)


@contextmanager
def apart() -> Iterator[None]:
    """Let each process do all of the work while inside, also where others inside ``together`` share it."""
    token = _together.set(False)
    try:
        yield
    finally:
        _together.reset(token)


def shares() -> tuple[int, int]:
    """Return this process's rank among those that share work, and how many they are; 0 and 1 outside ``together``."""
    return joined() if _together.get() else (0, 1)


def spread(batches: Sequence[Batch], work: Callable[[Batch], Made]) -> list[Made]:
    """Return ``work`` of each batch, in order, in every process; each process does some of the batches.

    Batches stay whole, so each result has the bits that it has in one process. If ``work`` draws random numbers, which
    would depend on the batches before, every process does all of it.

    Raises:
        Exception: What ``work`` raised, in whichever process.
    """
    rank, count = shares()
    if count == 1:
        return [work(batch) for batch in batches]
    before = _random_state()

    def own() -> tuple[list[Made], bool]:
        made = [work(batch) for batch in batches[rank::count]]
        return made, _random_state() != before

    found = agreed(own)
    if any(drew for _, drew in found):
        _restore(before)
        return [work(batch) for batch in batches]
    return [found[number % count][0][number // count] for number in range(len(batches))]


def by_first(work: Callable[[], Made]) -> Made:
    """Return what ``work`` returns, which only the first process does; the others wait for it.

    Raises:
        Exception: What ``work`` raised, in every process.
    """
    first = shares()[0] == 0
    made: Any = agreed(lambda: work() if first else None)[0]
    return made


def agreed(work: Callable[[], Made]) -> list[Made]:
    """Return what ``work`` returns in each process, by rank.

    Raises:
        Exception: What it raised in some process, in all of them, so that none waits for another in vain.
    """
    count = shares()[1]
    if count == 1:
        return [work()]
    import torch.distributed

    made, error = None, None
    try:
        made = work()
    except Exception as caught:
        error = caught
    told: list[Any] = [None] * count
    torch.distributed.all_gather_object(told, (made, error and (isinstance(error, BadInput), _text(error))))
    if error is not None:
        raise error
    for _, failure in told:
        if failure:
            raise BadInput(failure[1]) if failure[0] else RuntimeError(failure[1])
    return [value for value, _ in told]


def _text(error: Exception) -> str:
    return str(error) if isinstance(error, BadInput | RuntimeError) else f"{type(error).__name__}: {error}"


def _random_state() -> list[bytes]:
    import torch

    states = [torch.get_rng_state()]
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        states.append(torch.cuda.get_rng_state())
    return [state.numpy().tobytes() for state in states]


def _restore(states: list[bytes]) -> None:
    import numpy as np
    import torch

    cpu, *cuda = (torch.from_numpy(np.frombuffer(state, dtype=np.uint8).copy()) for state in states)
    torch.set_rng_state(cpu)
    for state in cuda:
        torch.cuda.set_rng_state(state)
