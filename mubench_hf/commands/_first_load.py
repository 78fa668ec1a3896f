"""Tables of docs/full_sources.md: what full sources and checkpoints are read from, and what was checked of it."""

from __future__ import annotations

from collections.abc import Sequence

from mubench_hf.models import get_model, list_models
from mubench_hf.models.registry import MODELS
from mubench_hf.tasks import TASKS, Source, get_task, list_tasks

LOADED: dict[str, str] = {}
"""Task or model → when, and with which versions, somebody loaded it from where it is published."""

NOT_YET = "not yet"


def source_table() -> str:
    """Return a Markdown table with one row per full source of this package."""
    rows = []
    for name in filter(TASKS.owns, list_tasks()):
        source = get_task(name).full
        proof = "the published deletion list" if source.deletion_sha256 else "their number and classes"
        where = source.hub_id or "a folder"
        rows.append([f"`{name}`", where, _commit(source), source.layout, proof, LOADED.get(name, NOT_YET)])
    header = [
        "Task",
        "Read from",
        "Commit",
        "Files, as the tests imitate them",
        "Rows are proven by",
        "Loaded for real",
    ]
    return _table(header, rows)


def checkpoint_table() -> str:
    """Return a Markdown table with one row per published checkpoint of this package."""
    rows = []
    for spec in map(get_model, filter(MODELS.owns, list_models())):
        if (size := spec.published) is None:
            continue
        fields = [*size.options, *size.processor_options]
        rows.append(
            [
                f"`{spec.name}`",
                size.hub_id,
                f"`{size.revision[:12]}`" if size.revision else "the newest, recorded",
                "`.bin`" if size.pickled else "safetensors",
                ", ".join(f"`{name}`" for name in dict.fromkeys(fields)) or "-",
                LOADED.get(spec.name, NOT_YET),
            ]
        )
    header = ["Model", "Hub checkpoint", "Commit", "Weights", "Set by the benchmark", "Loaded for real"]
    return _table(header, rows)


def difference_list() -> str:
    """Return, for each task, what its runs do otherwise than the reference on purpose, as a Markdown list."""
    tasks = [get_task(name) for name in filter(TASKS.owns, list_tasks())]
    return "\n".join(f"- {task.title}: {each}" for task in tasks for each in task.full.differs)


def _commit(source: Source) -> str:
    if source.hub_id is None:
        return "-"
    if source.revision:
        return f"`{source.revision[:12]}`"
    branches = " or ".join("main" if branch is None else f"`{branch}`" for branch in source.branches)
    return f"the newest of {branches}, recorded"


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, ["---"] * len(header), *rows))
