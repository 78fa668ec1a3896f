"""Show the tables of finished runs: ``mubench table OUT ...``."""

from __future__ import annotations

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
from mubench_hf.commands._report import made_with, named, report, results_of
from mubench_hf.errors import BadInput
from mubench_hf.results.aggregate import Group, aggregate
from mubench_hf.results.tables import markdown_table, print_table
from mubench_hf.runs.completed import completed_all
from mubench_hf.runs.store import load_results, save_result
from mubench_hf.utils.files import write_atomic


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
    places, asked = [_results_folder(Path(folder)) for folder in arguments.folders], arguments.metrics
    results = [result for place in places for result in completed_all(load_results(place), place, asked)]
    if not results:
        raise BadInput(f"There are no results in {', '.join(arguments.folders)}. Name output folders of `mubench run`.")
    if arguments.save:
        for place in places:
            _save(place, asked)
    if arguments.markdown:
        folders = " ".join(Path(folder).name for folder in arguments.folders)
        print(report(f"Printed by `mubench table {folders} --markdown`", results))
        return
    for groups in aggregate(results):
        print_table(groups, *named(groups))


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
        mine = results_of(groups, results)
        title, metric = named(groups)
        texts.append(markdown_table(groups, title, metric) + made_with(mine))
        place = plots if len(tables) == 1 else plots / f"{mine[0].run.table_name}-{groups[0].del_ratio or 'named'}pct"
        draw_plots(mine, folder, place, title, metric)
        families[mine[0].run.table_name].append(groups)
    for name, family in families.items():
        if len(family) > 1:
            plot_curves(family, plots / f"{name}-curves.png", *named(family[0]))
    text = "\n".join(texts).encode()
    write_atomic(folder.parent / "tables.md", lambda stream: stream.write(text))


def _results_folder(folder: Path) -> Path:
    return folder / "results" if (folder / "results").is_dir() else folder


if __name__ == "__main__":
    exit_with(main)
