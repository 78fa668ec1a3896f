"""Benchmark tasks, one file each. A file here declares its task; others come from outside, see ``get_task``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mubench_hf.errors import BadInput
from mubench_hf.tasks._described import FROM_DATA, described_task, description_origin
from mubench_hf.tasks._spec import VARIANTS, Answers, GivenRows, Preset, Source, TaskSpec, Variant
from mubench_hf.utils.registry import Origin, Registry

__all__ = [
    "TASKS",
    "VARIANTS",
    "Answers",
    "GivenRows",
    "Preset",
    "Source",
    "TaskSpec",
    "Variant",
    "described_task",
    "get_task",
    "known_task",
    "learn_task",
    "list_tasks",
    "recorded_task",
    "remember_task",
]


@cache
def _own() -> Mapping[str, Callable[[], TaskSpec]]:
    found = {}
    for file in sorted(Path(__file__).parent.glob("[!_]*.py")):
        module = import_module(f"{__name__}.{file.stem}")
        for name, value in vars(module).items():
            if isinstance(value, TaskSpec):
                found[value.name] = partial(getattr, module, name)
    return MappingProxyType(found)


def _defined_in(task: TaskSpec) -> Any:
    return getattr(task.prepare, "func", task.prepare)


TASKS: Registry[TaskSpec] = Registry(
    "task",
    group="mubench_hf.tasks",
    own=_own,
    accept=lambda found: found if isinstance(found, TaskSpec) else None,
    key=lambda task: task.name,
    defined_in=_defined_in,
    origin_of=description_origin,
)
"""All tasks: those of this package, those that installed packages add, and what was brought to this process."""


_learned: dict[str, TaskSpec] = {}


def learn_task(description: Mapping[str, Any]) -> TaskSpec:
    """Return the task of this description, and make it known by its name.

    If the task with its rows is already known, that one is kept.

    Raises:
        BadInput: If it does not describe a task, or has the name of one of the package's own tasks.
    """
    known = _learned.get(str(description.get("name")))
    if known is None or dict(known.description or {}) != dict(description):
        known = described_task(description)
    return remember_task(known)


def remember_task(task: TaskSpec) -> TaskSpec:
    """Make a described task known by its name, and return it.

    Raises:
        BadInput: If it has the name of one of the package's own tasks.
    """
    _learned[task.name] = TASKS.get(task)
    return task


def list_tasks() -> list[str]:
    """Return the keys of all registered tasks, sorted."""
    return TASKS.names()


def get_task(reference: str | Path | TaskSpec) -> TaskSpec:
    """Return a task.

    Args:
        reference: Its key, the task itself, ``"package.module:TASK"``, ``"path/to/file.py"`` or the name of an
            entry point of the group ``mubench_hf.tasks``.

    Raises:
        BadInput: If there is no such task; the nearest name is suggested.
    """
    return TASKS.get(reference)


def known_task(name: str, external: Mapping[str, Mapping[str, str]]) -> TaskSpec | None:
    """Return the task of a finished run; ``None`` if this process knows none of its name, or another one.

    Args:
        name: Its key.
        external: What of the run is not this package's, see ``RunRecord``.

    Raises:
        BadInput: If ``external`` does not say of its task what it must.
    """
    if not TASKS.knows(name):
        return None
    task, origin = get_task(name), _recorded_origin(external)
    here = TASKS.origin(task)
    return task if origin is None or (here and here.sha256 == origin.sha256) else None


def recorded_task(name: str, external: Mapping[str, Mapping[str, str]]) -> TaskSpec:
    """Return the task of a finished run, see ``known_task``.

    Raises:
        BadInput: If it is not known here, saying where it came from.
    """
    task, origin = known_task(name, external), _recorded_origin(external)
    if task is not None or origin is None:
        return task or get_task(name)
    if origin.name.startswith(FROM_DATA):
        how = "Give the output folder that its data set is built in."
    else:
        how = (
            f"Its code is in {origin.name} alone. Make it known: --task path/to/{origin.name}, or in Python "
            f"get_task('path/to/{origin.name}')."
        )
    if TASKS.knows(name):
        how = f"Another task of that name is. {how}"
    raise BadInput(
        f"The task {name} came from {origin.name} (SHA-256 {origin.sha256[:8]}) and is not known here. {how}"
    )


def _recorded_origin(external: Mapping[str, Any]) -> Origin | None:
    said = external.get("task")
    if said is None:
        return None
    try:
        return Origin(str(said["name"]), str(said["sha256"]))
    except (KeyError, TypeError) as error:
        raise BadInput(
            f"A run's task is from outside and said to be {said!r}; needed are its name and sha256."
        ) from error
