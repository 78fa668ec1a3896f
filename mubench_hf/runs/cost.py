"""What a run costs, what else went on meanwhile, and whether the times of two runs can be compared."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from mubench_hf.errors import BadInput
from mubench_hf.utils.claims import is_alive, is_held_here
from mubench_hf.utils.locks import LOCK
from mubench_hf.utils.spent import Spent

if TYPE_CHECKING:
    import torch

COSTS = {
    "cpu_seconds": "processor seconds, user and system, of all processes of the run, while its clock ran",
    "device_seconds": "on a GPU: wall seconds times devices, from an idle device to an idle device",
    "peak_memory_bytes": "largest resident memory of one process, with what it held before",
    "peak_device_bytes": "on a GPU: the most memory that tensors of one process took at a time",
    "load_start": "load average over a minute, when training started",
    "load_end": "load average over a minute, when training ended",
    "busy": "share of the machine's processor time that anything used meanwhile, 0 to 1",
    "other_runs": "runs of other processes in the same output folder, at the start or the end",
}
"""What a run records of itself, in ``RunRecord.cost`` and ``RunResult.cost``, as far as it can be measured."""

MOST = 1e18
"""Beyond any number of bytes or seconds."""

WALL, COMPUTE, TIME_RATIO = TIMES = ("unlearn_seconds", "compute_seconds", "retrain_time_ratio")
"""Scores that are no metric's: wall seconds, processor seconds (of GPUs where there are some), and their ratio to the
retrained model's. Nothing but whoever ran a method can know them."""

SAME_LOAD = 0.25
"""How much two runs may differ in ``busy``: a busy neighbour slows a processor's other half and its caches."""

HARDWARE = ("device", "cpu", "threads", "machine")
"""What must be the same in two runs whose times are compared, besides the number of processes."""


class Timed(Protocol):
    """A run's record or result."""

    @property
    def cost(self) -> Mapping[str, Any]:
        """See ``COSTS``."""

    @property
    def hardware(self) -> Mapping[str, Any]:
        """What it ran on."""

    @property
    def world_size(self) -> int:
        """Number of processes."""


def compute_seconds(cost: Mapping[str, Any]) -> float | None:
    """Return the seconds that processors worked on a run: those of GPUs where it had some, else those of the CPU."""
    found = cost.get("device_seconds", cost.get("cpu_seconds"))
    return None if found is None else float(found)


def not_comparable(run: Timed, retrain: Timed | None) -> str | None:
    """Return why the times of a run and of its retrained model say nothing about each other.

    ``None`` if they do, and if there is no retrained model.
    """
    if retrain is None:
        return None
    for name in HARDWARE:
        mine, other = run.hardware.get(name), retrain.hardware.get(name)
        if mine != other:
            return f"other hardware: {name} is {mine}, and {other} for the retrained model"
    if run.world_size != retrain.world_size:
        return f"{run.world_size} processes, and {retrain.world_size} for the retrained model"
    if None in (compute_seconds(run.cost), compute_seconds(retrain.cost)):
        return "processor seconds and load of the run or of the retrained model were not recorded"
    shares = [each.cost.get("busy") for each in (run, retrain)]
    if None in shares:
        return "how busy the machine was during the run or the retrained model's was not recorded"
    if abs(shares[0] - shares[1]) > SAME_LOAD:
        return f"other load: the machine was {shares[0]:.0%} busy, and {shares[1]:.0%} for the retrained model"
    return None


def check_cost(cost: Mapping[str, Any]) -> None:
    """Check a cost that anybody may have written.

    Raises:
        BadInput: If a part is unknown, or no number in its range.
    """
    for name, value in cost.items():
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        most = 1 if name == "busy" else MOST
        if name not in COSTS or not (number and 0 <= value <= most):
            raise BadInput(
                f"Field 'cost' has {name}={value!r}; allowed: {', '.join(COSTS)}, numbers from 0 to {most:g}."
            )


class Meter:
    """Measures what goes on beside the clock of a run.

    Args:
        folder: The run's checkpoint folder.
        device: Where it trains.
    """

    def __init__(self, folder: Path, device: torch.device):
        self.folder, self.device, self.measured = Path(folder), device, dict[str, Any]()

    @contextlib.contextmanager
    def running(self) -> Iterator[None]:
        """Measure while inside."""
        import torch

        reset = _reset_peak()
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self.device)
        before, others = _machine_times(), self._others()
        start = _load()
        yield
        after = _machine_times()
        found = {
            "load_start": start,
            "load_end": _load(),
            "busy": _busy(before, after),
            "other_runs": max(others, self._others()),
            "peak_memory_bytes": _peak() if reset else None,
        }
        if self.device.type == "cuda":
            found["peak_device_bytes"] = torch.cuda.max_memory_allocated(self.device)
        self.measured = {name: value for name, value in found.items() if value is not None}

    def cost(self, spent: Spent, devices: int) -> dict[str, Any]:
        """Return the cost of this process's part, given what its clock counted."""
        times = {"cpu_seconds": spent.cpu}
        if self.device.type != "cpu":
            times["device_seconds"] = spent.wall * devices
        return {**{name: value for name, value in times.items() if value is not None}, **self.measured}

    def _others(self) -> int:
        locks = (each for each in self.folder.absolute().parent.glob(f"*/{LOCK}") if not is_held_here(each))
        return sum(is_alive(each) for each in locks)


def joined_cost(parts: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the cost of a run from those of its processes: seconds are added, of all else the most counts."""
    names = [name for name in COSTS if all(name in part for part in parts)]
    return {name: (sum if name.endswith("_seconds") else max)(part[name] for part in parts) for name in names}


def _load() -> float | None:
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return None


def _machine_times() -> tuple[float, float] | None:
    """Return the seconds that all processors of the machine have been idle, and all seconds."""
    try:
        import psutil

        times = psutil.cpu_times()._asdict()
    except Exception:  # A system where nothing can tell.
        return None
    # A guest's time is a part of its user's.
    return times["idle"] + times.get("iowait", 0.0), sum(v for k, v in times.items() if not k.startswith("guest"))


def _busy(before: tuple[float, float] | None, after: tuple[float, float] | None) -> float | None:
    if before is None or after is None or after[1] - before[1] <= 0:
        return None
    return min(1.0, max(0.0, 1.0 - (after[0] - before[0]) / (after[1] - before[1])))


def _reset_peak() -> bool:
    """Let the system measure this process's largest memory anew; return whether it does."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return False
    return True


def _peak() -> int | None:
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return None
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM")), None)
