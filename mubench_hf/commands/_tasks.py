"""The tasks that a command names."""

from __future__ import annotations

from collections.abc import Sequence

from mubench_hf.tasks import TaskSpec, get_task, list_tasks


def named_tasks(names: Sequence[str]) -> list[TaskSpec]:
    """Return the tasks with these names; ``all`` stands for every task."""
    return [get_task(name) for name in (list_tasks() if list(names) == ["all"] else names)]
