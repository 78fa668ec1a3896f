"""MU-Bench for Hugging Face: standard deletion splits, unlearning trainers, metrics and results."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_HOMES = {
    "get_task": "mubench_hf.tasks",
    "list_tasks": "mubench_hf.tasks",
    "get_method": "mubench_hf.trainers",
    "list_methods": "mubench_hf.trainers",
    "get_model": "mubench_hf.models",
    "list_models": "mubench_hf.models",
    "UnlearningConfig": "mubench_hf.trainers",
    "UnlearningTrainer": "mubench_hf.trainers",
    "RunResult": "mubench_hf.results",
    "task_from_dataset": "mubench_hf.runs.from_data",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    """Import a public name at its first use, so that importing the package imports no torch."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)
