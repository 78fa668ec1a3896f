"""Paired timing."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


def compare(name: str, ours: Callable[[], object], other: Callable[[], object], pairs: int = 7) -> None:
    """Time both in turn, after one warm-up each, and print the median of the ratios other / ours."""
    times: dict[str, list[float]] = {"ours": [], "other": []}
    for number in range(pairs + 1):
        for key, call in (("ours", ours), ("other", other)):
            start = time.perf_counter()
            call()
            if number:
                times[key].append(time.perf_counter() - start)
    ratios = sorted(b / a for a, b in zip(times["ours"], times["other"], strict=True))
    print(
        f"{name}: {statistics.median(ratios):.2f} times as fast "
        f"(ratios {ratios[0]:.2f} to {ratios[-1]:.2f} over {pairs} pairs; "
        f"medians {statistics.median(times['ours']):.4f} s and {statistics.median(times['other']):.4f} s)"
    )
