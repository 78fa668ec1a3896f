"""The clock that measures unlearning itself, without evaluation, saving and what comes after the last update."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mubench_hf.utils.spent import Spent, reading


class Clock:
    """A stopwatch for wall and processor seconds that can be paused, and set when a run resumes.

    Args:
        settle: Waits until the device has done what it was given; otherwise it would go on in a pause.
    """

    def __init__(self, settle: Callable[[], None] | None = None) -> None:
        self._settle = settle
        self._elapsed = Spent()
        self._since: Spent | None = None

    @property
    def spent(self) -> Spent:
        """What was counted so far."""
        return self._elapsed if self._since is None else self._elapsed.plus(self._now().since(self._since))

    @property
    def seconds(self) -> float:
        """Wall seconds counted so far."""
        return self.spent.wall

    def set(self, spent: Spent) -> None:
        """Continue from ``spent``."""
        self._elapsed = spent
        if self._since is not None:
            self._since = self._now()

    def charge(self, spent: Spent) -> None:
        """Count work that was done elsewhere, or while the clock was paused."""
        self._elapsed = self._elapsed.plus(spent)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count while inside."""
        self._since = self._now()
        try:
            yield
        finally:
            self._elapsed, self._since = self.spent, None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count while inside."""
        if self._since is None:
            yield
            return
        self._elapsed, self._since = self.spent, None
        try:
            yield
        finally:
            self._since = self._now()

    def _now(self) -> Spent:
        if self._settle is not None:
            self._settle()
        return reading()
