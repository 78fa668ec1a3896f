"""The tables of many results as one Markdown file, with what the numbers were made with."""

from __future__ import annotations

import time
from collections.abc import Sequence

from mubench_hf.results.aggregate import Group, aggregate, split_metrics
from mubench_hf.results.tables import markdown_table
from mubench_hf.runs.result import RunResult
from mubench_hf.tasks import known_task

SHOWN_VERSIONS = ("mubench_hf", "python", "torch", "transformers", "datasets")


def report(made_by: str, results: Sequence[RunResult]) -> str:
    """Return every table of some results as Markdown.

    Args:
        made_by: What made them, for the line above.
        results: Results of any tasks, models and ratios.
    """
    tables = [
        markdown_table(groups, *named(groups)) + made_with(results_of(groups, results)) for groups in aggregate(results)
    ]
    return "\n".join([f"# Results\n\n{made_by} on {time.strftime('%Y-%m-%d')}.\n", *tables])


def made_with(results: Sequence[RunResult]) -> str:
    """Return one Markdown line per distinct set of versions and hardware that ``results`` were made with."""
    lines = {
        f"- Made with {', '.join(f'{name} {run.versions.get(name)}' for name in SHOWN_VERSIONS)}, on "
        f"{run.hardware.get('cpu')} ({run.hardware.get('device')}, {run.hardware.get('threads')} threads).\n"
        for run in results
    }
    return "".join(sorted(lines))


def named(groups: Sequence[Group]) -> tuple[str, str | None]:
    """Return what a table's task and metric are called.

    Of a task that is not known here these are its key, and the first metric that its scores are of; other ones stand in
    a table of their own.
    """
    task = next(filter(None, (known_task(group.task, group.external) for group in groups)), None)
    return (task.title, task.metric) if task else (groups[0].task, next(iter(split_metrics(groups)), None))


def results_of(groups: Sequence[Group], results: Sequence[RunResult]) -> list[RunResult]:
    """Return those of some results that a table shows."""
    keys = ("task", "variant", "model", "del_ratio")
    return [run for run in results if all(getattr(run, key) == getattr(groups[0], key) for key in keys)]
