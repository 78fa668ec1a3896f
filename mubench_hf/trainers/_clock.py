"""The clock that measures unlearning itself, without evaluation and saving."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Clock:
    """A stopwatch for wall seconds that can be paused, and set when a run resumes."""

    def __init__(self) -> None:
        self._elapsed = 0.0
        self._since: float | None = None

    @property
    def seconds(self) -> float:
        """Seconds counted so far."""
        return self._elapsed + (time.perf_counter() - self._since if self._since is not None else 0.0)

    def set(self, seconds: float) -> None:
        """Continue from ``seconds``."""
        self._elapsed = seconds
        if self._since is not None:
            self._since = time.perf_counter()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Count while inside."""
        self._since = time.perf_counter()
        try:
            yield
        finally:
            self._elapsed, self._since = self.seconds, None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Do not count while inside."""
        if self._since is None:
            yield
            return
        self._elapsed, self._since = self.seconds, None
        try:
            yield
        finally:
            self._since = time.perf_counter()
