"""What a run was made with: package versions, processor, commit."""

from __future__ import annotations

import os
import platform
import subprocess
from importlib import metadata
from pathlib import Path

import mubench_hf

PACKAGES = ("torch", "transformers", "datasets", "evaluate", "accelerate", "numpy", "scikit-learn", "mubench_hf")


def describe_environment() -> tuple[dict[str, str | int], dict[str, str | None]]:
    """Return hardware and versions for a result, without importing any of the packages.

    Returns:
        Hardware (``cpu`` name, ``cpu_count`` as the number of processors this process may use, ``machine``,
        ``system``), and versions: package name to version, ``None`` for one that is not installed, and ``python``.
    """
    hardware = {
        "cpu": _cpu_name(),
        "cpu_count": _cpu_count(),
        "machine": platform.machine(),
        "system": platform.system(),
    }
    return hardware, {"python": platform.python_version(), **{name: _version(name) for name in PACKAGES}}


def git_commit() -> str | None:
    """Return the commit (40 hex digits) of the checkout this package runs from, or ``None`` outside of one."""
    package = Path(mubench_hf.__file__).resolve().parent
    # An installed copy may lie in the .venv of someone else's repository; only a tracked file proves a checkout.
    if _git(package, "ls-files", "--error-unmatch", "__init__.py") is None:
        return None
    return _git(package, "rev-parse", "--verify", "HEAD")


def _git(folder: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        # A checkout on the path works without being installed, but knows its version itself.
        return getattr(mubench_hf, "__version__", None) if package == "mubench_hf" else None


def _cpu_count() -> int:
    # The machine's count misleads under a scheduler or in a container that grants only some of its processors.
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _cpu_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    except OSError:
        pass
    return platform.processor() or platform.machine() or "unknown"
