"""``mubench list``: tables of what is registered, for a terminal and for the README, generated from the code."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mubench_hf.commands._arguments import CommandParser, exit_with
from mubench_hf.commands._first_load import checkpoint_table, difference_list, source_table
from mubench_hf.errors import BadInput, unknown_name
from mubench_hf.metrics import METRICS, get_metric, list_metrics
from mubench_hf.metrics.parameters import parameter_table
from mubench_hf.models import MODELS, get_model, list_models
from mubench_hf.tasks import TASKS, TaskSpec, get_task, list_tasks
from mubench_hf.trainers import METHODS, declared_methods, get_method, list_methods

if TYPE_CHECKING:
    from rich.table import Table

Rows = list[list[str]]
NO_CHECKPOINT = "tiny, from its configuration"


def _rows(
    header: list[str],
    names: Iterable[str],
    row: Callable[[str], list[str]],
    owns: Callable[[str], bool],
    installed: bool,
) -> Rows:
    """Return a header and one row per name.

    Things from other installed packages are marked as external; if one cannot be imported, its row says why.

    Args:
        header: Titles of the columns.
        names: The names.
        row: Returns the row of a name; its first cell is the name, its second a title.
        owns: Says whether a name belongs to this package.
        installed: Whether to include things from other installed packages.
    """
    rows = [header]
    for name in names:
        if owns(name):
            rows.append(row(name))
        elif installed:
            try:
                _, title, *facts = row(name)
                rows.append([name, f"{title} (external)", *facts])
            except BadInput as error:
                rows.append([name, f"(external) {error}", *["-"] * (len(header) - 2)])
    return rows


def task_rows(installed: bool = True) -> Rows:
    """Return a header and one row per task."""

    def row(name: str) -> list[str]:
        task = get_task(name)
        return [task.name, task.title, task.modality, task.metric, task.full.hub_id or "a folder", task.mini.origin]

    header = ["Task", "Title", "Reads", "Score", "Full source", "Mini source"]
    return _rows(header, list_tasks(), row, TASKS.owns, installed)


def model_rows(installed: bool = True) -> Rows:
    """Return a header and one row per model; tiny models have no Hub checkpoint, and the size their task needs."""
    tasks = [get_task(name) for name in list_tasks() if TASKS.owns(name)]

    def row(name: str) -> list[str]:
        model = get_model(name)
        arch, size = model.architecture, model.published
        facts = [size.hub_id, short_count(size.parameters), size.licence] if size else [NO_CHECKPOINT, "-", "-"]
        published = published_scores(model.name, tasks) or "-"
        return [model.name, arch.title, model.scale, arch.kind, arch.modality, *facts, published]

    header = ["Model", "Architecture", "Scale", "Kind", "Reads", "Hub checkpoint", "Parameters", "Licence", "Published"]
    return _rows(header, list_models(), row, MODELS.owns, installed)


def published_scores(model: str, tasks: Iterable[TaskSpec]) -> str:
    """Return the published test scores of MU-Bench's originals made from a model, by task; empty if none is known."""
    scores = {task.title: task.full.published_scores.get(model) for task in tasks}
    return ", ".join(f"{title} {score:.3f}" for title, score in scores.items() if score is not None)


def short_count(number: int) -> str:
    """Return a number of parameters in short: ``2.2M``, ``86M``, ``6.7B``."""
    unit, name = (1e9, "B") if number >= 1e9 else (1e6, "M")
    return f"{number / unit:.{0 if number >= 10 * unit else 1}f}{name}"


def model_line() -> str:
    """Return how many architectures and published scales there are."""
    models = [get_model(name) for name in list_models() if MODELS.owns(name)]
    architectures = {model.architecture.name for model in models}
    published = sum(model.hub_id is not None for model in models)
    return (
        f"{len(architectures)} architectures at {published} published scales, and each as a tiny model. Published: "
        "test score of the original that MU-Bench's authors made from it (https://huggingface.co/jialicheng)."
    )


def method_rows(installed: bool = True) -> Rows:
    """Return a header and one row per method, with the taxonomy's three words."""
    facts = ("title", "measurement", "corruption", "retention", "source")

    def row(name: str) -> list[str]:
        declared = declared_methods().get(name)
        # Declarations of the package's own methods are read without importing them, and so without torch.
        if declared and set(facts) <= set(declared.constants):
            return [name, *(declared.constants[fact] for fact in facts)]
        method = get_method(name)
        return [name, *(getattr(method, fact, "-") for fact in facts)]

    header = ["Method", "Title", "Measures", "Corruption on D_f", "Retention on D_r", "Source"]
    return _rows(header, list_methods(), row, METHODS.owns, installed)


def metric_rows(installed: bool = True) -> Rows:
    """Return a header and one row per metric."""
    best = {"higher": "higher", "lower": "lower", "match_retrained": "like the retrained model's"}

    def row(name: str) -> list[str]:
        metric = get_metric(name)
        values = "{:g} to {:g}".format(*metric.range)
        computed = "of tasks that name it" if metric.of_split else "always" if metric.default else "on request"
        return [metric.key, metric.doc, metric.header, best[metric.direction], values, computed, metric.source]

    header = ["Metric", "What it says", "Column", "Best", "Range", "Computed", "Source"]
    return _rows(header, list_metrics(), row, METRICS.owns, installed)


LINES: dict[str, Callable[[], str]] = {"models": model_line}
"""Table → the line below it."""

TABLES: dict[str, Callable[..., Rows]] = {
    "tasks": task_rows,
    "models": model_rows,
    "methods": method_rows,
    "metrics": metric_rows,
}


def argument_table() -> str:
    """Return what each field of ``TrainingArguments`` does, without importing ``transformers`` for other tables."""
    from mubench_hf.trainers._arguments import argument_table

    return argument_table()


DOCUMENTED: dict[str, Callable[[], str]] = {
    "parameters": parameter_table,
    "arguments": argument_table,
    "sources": source_table,
    "checkpoints": checkpoint_table,
    "differences": difference_list,
}
"""Markdown tables that only documents have."""


def terminal_table(name: str) -> Table:
    """Return one of ``TABLES`` for a terminal."""
    from rich.table import Table
    from rich.text import Text

    header, *rows = TABLES[name]()
    caption = LINES[name]() if name in LINES else None
    table = Table(*header, title=f"{len(rows)} {name}", title_justify="left", caption=caption, caption_justify="left")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))  # Other packages name some of them.
    return table


def markdown(name: str) -> str:
    """Return one of ``TABLES`` as Markdown, with the line below it, without what other packages add."""
    header, *rows = TABLES[name](installed=False)
    lines = [header, ["---"] * len(header), *([f"`{row[0]}`", *row[1:]] for row in rows)]
    text = "\n".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |" for line in lines)
    return f"{text}\n\n{LINES[name]()}" if name in LINES else text


def with_tables(text: str) -> str:
    """Return ``text`` with every region between ``<!-- table: NAME -->`` and ``<!-- end -->`` generated again."""

    def fill(match: re.Match) -> str:
        name = match["name"]
        table = DOCUMENTED[name]() if name in DOCUMENTED else markdown(name)
        return f"<!-- table: {name} -->\n{table}\n<!-- end -->"

    return re.sub(r"<!-- table: (?P<name>\w+) -->.*?<!-- end -->", fill, text, flags=re.DOTALL)


def main(argv: Sequence[str]) -> None:
    """Print the registered tasks, models, methods or metrics as tables.

    Raises:
        BadInput: If something else is to be listed.
    """
    from rich.console import Console

    parser = CommandParser("list", "Show what is registered.")
    parser.add_argument("names", nargs="*", metavar="TABLE", help=f"{', '.join(TABLES)}; default: all of them.")
    wanted = parser.parse_args(list(argv)).names or list(TABLES)
    for name in wanted:
        if name not in TABLES:
            raise unknown_name("list", name, TABLES)
    for name in wanted:
        Console().print(terminal_table(name))


def rewrite(argv: Sequence[str]) -> None:
    """Write the tables into Markdown files."""
    parser = CommandParser("list", "Write the tables into Markdown files.")
    parser.add_argument("files", nargs="+", type=Path)
    for file in parser.parse_args(list(argv)).files:
        file.write_text(with_tables(file.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    exit_with(rewrite)
