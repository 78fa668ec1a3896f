"""Texts from templates: lists of words, and draws from them that are the same on every machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def listed(text: str) -> tuple[str, ...]:
    """Return the entries of a comma-separated list."""
    return tuple(text.split(", "))


class Draws:
    """A random stream from which only whole numbers are drawn: they are the same on every machine.

    Args:
        seed: Seed of the stream.
    """

    def __init__(self, seed: int):
        self._rng = np.random.RandomState(seed)

    def number(self, low: int, high: int) -> int:
        """Return a number from ``low`` to ``high - 1``."""
        return int(self._rng.randint(low, high))

    def one(self, words: Sequence[str]) -> str:
        """Return one of ``words``."""
        return words[self.number(0, len(words))]

    def shuffled(self, entries: Sequence) -> list:
        """Return ``entries`` in a random order."""
        return [entries[place] for place in self._rng.permutation(len(entries))]
