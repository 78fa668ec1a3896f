"""Benchmark tasks, one file each; the file's name is the task's key."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from mubench_hf.errors import unknown_name
from mubench_hf.tasks._spec import VARIANTS, Preset, Source, TaskSpec, Variant

__all__ = ["VARIANTS", "Preset", "Source", "TaskSpec", "Variant", "get_task", "list_tasks"]


def list_tasks() -> list[str]:
    """Return the keys of all registered tasks, sorted."""
    return sorted(file.stem for file in Path(__file__).parent.glob("[!_]*.py"))


def get_task(name: str) -> TaskSpec:
    """Return the task called ``name``.

    Raises:
        BadInput: If there is no such task; the nearest name is suggested.
    """
    if name not in list_tasks():
        raise unknown_name("task", name, list_tasks())
    return import_module(f"{__name__}.{name}").TASK
