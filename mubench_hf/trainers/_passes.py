"""The passes over D_f and D_r rows that a method makes, and their order."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from torch.utils.data import Sampler

from mubench_hf.errors import BadInput

EARLIER_SHARE = 0.3
_SUBSET = 0x5B5E7
"""Stands in a seed where an epoch and the number of a pass do otherwise."""


@dataclass(frozen=True)
class Pass:
    """One walk over some of the rows.

    Attributes:
        rows: ``forget``, ``retain``, their shuffled ``union``, ``balanced``: every D_f row beside one D_r row, drawn
            for each pass, or ``subset``: the shuffled union of D_f and a part of D_r, the same in every pass.
        batch_size: Rows per process and micro-batch; ``None`` for the trainer's ``per_device_train_batch_size``.
        retain_fraction: For a subset: its share of D_r.
    """

    rows: Literal["forget", "retain", "union", "balanced", "subset"]
    batch_size: int | None = None
    retain_fraction: float = 1.0

    def __post_init__(self) -> None:
        """Refuse a share that leaves no D_r row to draw."""
        if not 0 < self.retain_fraction <= 1:
            raise BadInput(
                f"retain_fraction is {self.retain_fraction}; it is the share of D_r that is walked through, so above 0 "
                "and at most 1."
            )


def _share(share: float, rows: np.ndarray) -> int:
    return math.ceil(share * len(rows))


class PassSampler(Sampler[list[int]]):
    """Batches of row positions for one process, in an order that depends only on seed and epoch.

    The rows of a pass are divided evenly over its optimizer updates, and those of an update evenly over its
    micro-batches, one for each accumulation step of each process. So no update consists of a few left-over rows, every
    process takes the same number of steps, and an update has the same rows however they are divided.

    Args:
        is_forget: bool ``[rows]``, the flag of every row.
        passes: Epoch → the passes it makes.
        seed: Seed of the order.
        batch_size: Default rows per micro-batch.
        accumulation: Micro-batches per process and update.
        world_size: Number of processes.
        rank: This process.

    Attributes:
        tried: Rows per micro-batch that fit into memory, at most ``batch_size``; passes with a number of their own are
            cut in the same proportion.
    """

    def __init__(self, is_forget: np.ndarray, passes: Callable[[int], Sequence[Pass]], *, seed: int, batch_size: int,
                 accumulation: int = 1, world_size: int = 1, rank: int = 0):  # fmt: skip
        self.forget, self.retain = np.flatnonzero(is_forget), np.flatnonzero(~is_forget)
        self.passes, self.seed, self.batch_size, self.tried = passes, seed, batch_size, batch_size
        self.accumulation, self.world_size, self.rank = accumulation, world_size, rank
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that iteration walks through."""
        self.epoch = epoch

    def order(self, epoch: int, number: int) -> np.ndarray:
        """Return the row positions of pass ``number`` of an epoch, in order."""
        walk = self.passes(epoch)[number]
        rng = np.random.default_rng([self.seed, epoch, number])
        if walk.rows == "forget":
            return rng.permutation(self.forget)
        if walk.rows == "retain":
            return rng.permutation(self.retain)
        if walk.rows == "union":
            return rng.permutation(np.concatenate([self.forget, self.retain]))
        if walk.rows == "subset":
            return rng.permutation(np.concatenate([self.forget, self.subset(walk.retain_fraction)]))
        # Every row of D_r is as likely as another. It is drawn in two steps because earlier versions did, with a share
        # of 30 %, so that their runs can be repeated; a larger D_f takes all that it needs.
        first = max(_share(EARLIER_SHARE, self.retain), min(len(self.forget), len(self.retain)))
        beside = np.resize(rng.permutation(rng.permutation(self.retain)[:first]), len(self.forget))
        return np.stack([rng.permutation(self.forget), beside], axis=1).ravel()

    def subset(self, share: float) -> np.ndarray:
        """Return the positions of a share of D_r, a function of the seed alone."""
        return np.random.default_rng([self.seed, _SUBSET]).permutation(self.retain)[: _share(share, self.retain)]

    def updates(self, epoch: int) -> list[np.ndarray]:
        """Return the row positions of each optimizer update of an epoch, over all processes."""
        updates = []
        for number, _ in enumerate(self.passes(epoch)):
            order = self.order(epoch, number)
            updates += np.array_split(order, self._update_count(epoch, number, len(order)))
        return updates

    def update_count(self, epoch: int, shares: int | None = None) -> int:
        """Return the number of optimizer updates of an epoch; of the same rows in ``shares`` shares, if given."""
        return sum(
            self._update_count(epoch, number, self._size(walk), shares)
            for number, walk in enumerate(self.passes(epoch))
        )

    def _size(self, walk: Pass) -> int:
        forget, retain = len(self.forget), len(self.retain)
        sizes = {"forget": forget, "retain": retain, "union": forget + retain, "balanced": 2 * forget}
        return sizes.get(walk.rows, forget + _share(walk.retain_fraction, self.retain))

    def _update_count(self, epoch: int, number: int, size: int, others: int | None = None) -> int:
        shares = self.accumulation * self.world_size
        if size < shares:
            raise BadInput(
                f"A pass over {size} {self.passes(epoch)[number].rows} rows cannot be shared among {self.world_size} "
                f"processes x {self.accumulation} gradient accumulation steps. Use at most {size} in all."
            )
        asked = self.passes(epoch)[number].batch_size or self.batch_size
        batch_size = max(1, asked * self.tried // self.batch_size)
        # There are never so many updates that a micro-batch would be empty.
        return min(math.ceil(size / (batch_size * shares)), size // (others or shares))

    def __len__(self) -> int:
        """Return the number of micro-batches of the current epoch for one process."""
        return self.update_count(self.epoch) * self.accumulation

    def __iter__(self) -> Iterator[list[int]]:
        """Yield this process's micro-batches of the current epoch."""
        for update in self.updates(self.epoch):
            for share in np.array_split(update, self.accumulation * self.world_size)[self.rank :: self.world_size]:
                yield share.tolist()
