"""``mubench run``: the whole benchmark of a task, its table and its plots."""

from __future__ import annotations

import gc
import shlex
import sys
from collections.abc import Sequence
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING

from mubench_hf.commands._arguments import CommandParser, add_metrics, add_use_cpu, bring_metrics
from mubench_hf.commands._data import add_data_flags, asked_tasks, be_quiet
from mubench_hf.commands._flags import add_flags, add_mini
from mubench_hf.commands._paths import check_file, check_folder
from mubench_hf.data.splits import check_ratio
from mubench_hf.models.adapter_settings import AdapterSettings
from mubench_hf.trainers import METHODS
from mubench_hf.utils.files import write_atomic
from mubench_hf.utils.processes import joined

if TYPE_CHECKING:
    from mubench_hf.runs.pipeline import Pipeline
    from mubench_hf.runs.result import RunResult
    from mubench_hf.runs.store import Results


def main(argv: Sequence[str]) -> None:
    """Run the whole benchmark of one task, or of several in turn, and print its table.

    Raises:
        SystemExit: With code 1, if a run failed; the others are finished.
    """
    parser = CommandParser(
        "run", "Make data, originals, retrained models and unlearned models; evaluate them; show a table and plots."
    )
    parser.add_argument("tasks", nargs="*", help="Key of a task, or several, each into OUT/<task>; all: every task.")
    add_mini(parser)
    parser.add_argument("--out", default="mubench-run", help="Output folder; what is finished there is not done again.")
    parser.add_argument("--model", help="A registered model, a Hub id or a folder; default: the task's.")
    parser.add_argument("--methods", nargs="+", help="Methods, or file.py:Trainer; default: the paper's six.")
    parser.add_argument("--del_ratio", help="Percent of train to forget, 1 to 10; default: 5.")
    parser.add_argument("--seeds", nargs="+", type=int, help="Seeds; default: 42 87 21.")
    parser.add_argument(
        "--original_seeds",
        nargs="+",
        type=int,
        help="Seeds of the originals, one for all runs or one per seed; default: those of --seeds.",
    )
    add_use_cpu(parser)
    add_metrics(parser)
    parser.add_argument("--markdown", help="File to write all tables into, as Markdown, when every run is done.")
    parser.add_argument("--raw", help="Folder of upstream files, for full data that are not on the Hub.")
    add_flags(parser.add_argument_group("an adapter in place of the original's own weights"), AdapterSettings)
    add_data_flags(parser)
    arguments = vars(parser.parse_args(list(argv)))
    check_folder("--out", arguments["out"])
    markdown = arguments.pop("markdown")
    check_file("--markdown", markdown)
    out, model = Path(arguments.pop("out")), arguments["model"]
    # Names are checked before anything that takes seconds to import.
    adapter = AdapterSettings(**{each.name: arguments.pop(each.name) for each in fields(AdapterSettings)})
    if arguments["del_ratio"] is not None:
        check_ratio(arguments["del_ratio"])
    for method in arguments["methods"] or ():
        METHODS.check(method)
    bring_metrics(arguments["metrics"])
    tasks = asked_tasks(arguments, arguments["variant"], out)
    given = {name: value for name, value in {**arguments, "model": model}.items() if value is not None}
    be_quiet()

    from mubench_hf.runs.pipeline import Pipeline

    # A task made from data is passed as an object: OUT may have another one under its name.
    named = [task.name if task.description is None else task for task in tasks]
    places = [out / task.name if len(tasks) > 1 else out for task in tasks]
    # Every mistake in the command is reported before the first hour of work.
    gc.freeze()  # After each run the memory of its trainer is looked for; what is imported by now is none of it.
    pipelines = [Pipeline(task, **given, out=place, adapter=adapter) for task, place in zip(named, places, strict=True)]
    results = [result for pipeline in pipelines for result in _run(pipeline)]
    if markdown is not None and joined()[0] == 0:
        _write(Path(markdown), f"Made by `mubench run {shlex.join(argv)}`", results)
    failed = [result.name for result in results if result.status == "failed"]
    if failed:
        if joined()[0] == 0:
            print(f"Failed: {', '.join(failed)}. The same command tries them again.", file=sys.stderr)
        raise SystemExit(1)


def _write(file: Path, made_by: str, results: Sequence[RunResult]) -> None:
    """Write the tables of all results."""
    from mubench_hf.commands._report import report

    text = report(made_by, results).encode()
    write_atomic(file, lambda stream: stream.write(text))
    print(f"Tables: {file}")


def _run(pipeline: Pipeline) -> Results:
    """Run one benchmark, print its table, and return its results."""
    from mubench_hf.results.aggregate import aggregate
    from mubench_hf.results.plots import draw_plots
    from mubench_hf.results.tables import print_table

    setup = pipeline.setup
    task, results, plots = setup.task, pipeline.run(), setup.out / "plots"
    if joined()[0]:
        return results
    (groups,) = aggregate(results)
    print_table(groups, task.title, task.metric)
    draw_plots(results, setup.results, plots, task.title, task.metric)
    print(f"Results: {setup.results}\nPlots: {plots}\nData and checkpoints: {setup.out / 'mubench'}")
    return results
