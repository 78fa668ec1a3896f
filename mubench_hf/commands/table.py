"""Show the tables of finished runs: ``mubench table OUT ...``."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from mubench_hf.commands._arguments import (
    CommandParser,
    add_metrics,
    add_own_task,
    bring_metrics,
    bring_task,
    exit_with,
)
from mubench_hf.errors import BadInput
from mubench_hf.results.aggregate import Group, aggregate, split_metrics
from mubench_hf.results.tables import markdown_table, print_table
from mubench_hf.runs.completed import completed_all
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.store import load_results, save_result
from mubench_hf.tasks import known_task
from mubench_hf.utils.files import write_atomic

SHOWN_VERSIONS = ("mubench_hf", "python", "torch", "transformers", "datasets")


def main(argv: Sequence[str]) -> None:
    """Print one table per task, variant, model and ratio of the results in some output folders.

    Raises:
        BadInput: If an argument is not allowed or a folder holds no valid results.
    """
    parser = CommandParser("table", "Show the tables of finished runs.")
    parser.add_argument("folders", nargs="+", help="Output folders of `mubench run` or their results/ folders.")
    parser.add_argument("--markdown", action="store_true", help="Markdown, with what the numbers were made with.")
    parser.add_argument(
        "--save",
        action="store_true",
        help="Also write missing scores into the results, tables.md beside them, and pictures into plots/: those of "
        "`mubench run` for each table, and each score over the ratio.",
    )
    add_own_task(parser)
    add_metrics(parser)
    arguments = parser.parse_args(list(argv))
    bring_task(arguments.task)
    bring_metrics(arguments.metrics)
    if arguments.markdown:
        folders = " ".join(Path(folder).name for folder in arguments.folders)
        print(f"# Results\n\nPrinted by `mubench table {folders} --markdown` on {time.strftime('%Y-%m-%d')}.\n")
    places, asked = [_results_folder(Path(folder)) for folder in arguments.folders], arguments.metrics
    results = [result for place in places for result in completed_all(load_results(place), place, asked)]
    if not results:
        raise BadInput(f"There are no results in {', '.join(arguments.folders)}. Name output folders of `mubench run`.")
    if arguments.save:
        for place in places:
            _save(place, asked)
    for groups in aggregate(results):
        title, metric = _named(groups)
        if arguments.markdown:
            print(markdown_table(groups, title, metric) + made_with(_of(groups, results)))
        else:
            print_table(groups, title, metric)


def _save(folder: Path, metrics: Sequence[str]) -> None:
    """Keep what the results in a folder lack, and write their tables and pictures beside it."""
    from mubench_hf.results.curves import plot_curves
    from mubench_hf.results.plots import draw_plots

    there = load_results(folder)
    results = completed_all(there, folder, metrics)
    for before, result in zip(there, results, strict=True):
        if result is not before:
            save_result(result, folder)
    plots, texts, tables = folder.parent / "plots", [], aggregate(results)
    families: dict[str, list[list[Group]]] = defaultdict(list)
    for groups in tables:
        mine = _of(groups, results)
        title, metric = _named(groups)
        texts.append(markdown_table(groups, title, metric) + made_with(mine))
        place = plots if len(tables) == 1 else plots / f"{mine[0].run.table_name}-{groups[0].del_ratio or 'named'}pct"
        draw_plots(mine, folder, place, title, metric)
        families[mine[0].run.table_name].append(groups)
    for name, family in families.items():
        if len(family) > 1:
            plot_curves(family, plots / f"{name}-curves.png", *_named(family[0]))
    text = "\n".join(texts).encode()
    write_atomic(folder.parent / "tables.md", lambda stream: stream.write(text))


def made_with(results: Sequence[RunResult]) -> str:
    """Return one Markdown line per distinct set of versions and hardware that ``results`` were made with."""
    lines = {
        f"- Made with {', '.join(f'{name} {run.versions.get(name)}' for name in SHOWN_VERSIONS)}, on "
        f"{run.hardware.get('cpu')} ({run.hardware.get('device')}, {run.hardware.get('threads')} threads).\n"
        for run in results
    }
    return "".join(sorted(lines))


def _named(groups: Sequence[Group]) -> tuple[str, str | None]:
    """Return what a table's task and metric are called.

    Of a task that is not known here these are its key, and the first metric that its scores are of; other ones stand in
    a table of their own.
    """
    task = next(filter(None, (known_task(group.task, group.external) for group in groups)), None)
    return (task.title, task.metric) if task else (groups[0].task, next(iter(split_metrics(groups)), None))


def _results_folder(folder: Path) -> Path:
    return folder / "results" if (folder / "results").is_dir() else folder


def _of(groups: Sequence[Group], results: Sequence[RunResult]) -> list[RunResult]:
    keys = ("task", "variant", "model", "del_ratio")
    return [run for run in results if all(getattr(run, key) == getattr(groups[0], key) for key in keys)]


if __name__ == "__main__":
    exit_with(main)
