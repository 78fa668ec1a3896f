"""The ``mubench`` command."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from mubench_hf import __version__
from mubench_hf.errors import unknown_name
from mubench_hf.scripts._arguments import CommandParser, exit_with

if TYPE_CHECKING:
    from mubench_hf.pipeline import Pipeline
    from mubench_hf.tasks import TaskSpec

USAGE = """usage: mubench COMMAND ...

  list [tasks|models|methods|metrics]   what there is
  build TASK ... [--mini] [--out DIR]   write a task's data set with its deletion splits
  train --task TASK ...                 train an original
  unlearn --task TASK --method M ...    unlearn with one method and evaluate the result
  evaluate CHECKPOINT ...               evaluate checkpoints; published ones, org/name, are checked
  table DIR ...                         show the tables of finished runs
  run TASK ... [--mini] [--out DIR] ... all of it: data, original, retrained models, methods, table, plots
  demo [DIR]                            look at finished runs in a browser
  publish dataset|model|metric|space NAME ...
                                        show what would go to the Hub; with --push, send it
  submit RUNS ... [--push]              check results for the leaderboard; with --push, propose them
  submit --verify PATH                  recompute the scores of submitted results and mark them verified

`mubench COMMAND --help` says more of each."""


def list_names(argv: Sequence[str]) -> None:
    """Print the registered tasks, models, methods or metrics as tables.

    Raises:
        BadInput: If something else is to be listed.
    """
    from rich.console import Console

    from mubench_hf.overview import TABLES, terminal_table

    wanted = list(argv) or list(TABLES)
    for name in wanted:
        if name not in TABLES:
            raise unknown_name("list", name, TABLES)
    for name in wanted:
        Console().print(terminal_table(name))


def build_data(argv: Sequence[str]) -> None:
    """Build the data set of one task, or of several."""
    from mubench_hf.data.build import build

    parser = CommandParser("build", "Write a task's data set, with its deletion splits as configurations.")
    parser.add_argument("tasks", nargs="+", help="Key of the task, or of several; all: every task.")
    parser.add_argument("--mini", action="store_true", help="The small stand-in data, which need no network.")
    parser.add_argument("--out", default=".", help="Folder that gets mubench/<data set>.")
    parser.add_argument("--raw", help="Folder of upstream files, read in place of the Hub.")
    arguments = parser.parse_args(list(argv))
    for task in _tasks(arguments.tasks):
        folder = build(task, mini=arguments.mini, out=arguments.out, raw=arguments.raw)
        print(f"{folder}: built. From {arguments.out}: load_dataset('mubench/{folder.name}', 'df_5pct')")


def _tasks(names: Sequence[str]) -> list[TaskSpec]:
    """Return the tasks of these names, all of them for ``all``."""
    from mubench_hf.tasks import get_task, list_tasks

    return [get_task(name) for name in (list_tasks() if list(names) == ["all"] else names)]


def run_benchmark(argv: Sequence[str]) -> None:
    """Run the whole benchmark of one task, or of several one after the other, and print its table.

    Raises:
        SystemExit: With code 1, if a run failed; the others are finished.
    """
    parser = CommandParser(
        "run", "Make data, original, retrained models and unlearned models; evaluate; table and plots."
    )
    parser.add_argument("tasks", nargs="+", help="Key of the task; of several, each gets OUT/<task>; all: every task.")
    parser.add_argument("--mini", action="store_true", help="The small stand-in data, which need no network.")
    parser.add_argument("--out", default="mubench-run", help="Output folder; run again, it goes on there.")
    parser.add_argument("--model", help="Registered model; default: the task's.")
    parser.add_argument("--methods", nargs="+", help="Keys of the methods; default: the six of the first table.")
    parser.add_argument("--del_ratio", default="5", help="Percent of train to forget, 1 to 10.")
    parser.add_argument("--seeds", nargs="+", type=int, help="Seeds; default: 42 87 21.")
    parser.add_argument("--raw", help="Folder of upstream files, for full data that are not on the Hub.")
    given = {name: value for name, value in vars(parser.parse_args(list(argv))).items() if value is not None}
    tasks, out = [task.name for task in _tasks(given.pop("tasks"))], Path(given.pop("out"))

    import datasets
    import transformers

    from mubench_hf.pipeline import Pipeline

    datasets.disable_progress_bars()
    transformers.utils.logging.disable_progress_bar()
    transformers.utils.logging.set_verbosity_error()
    # Every mistake of the command comes before the first hour of work.
    pipelines = [Pipeline(task, **given, out=out / task if len(tasks) > 1 else out) for task in tasks]
    failed = [name for pipeline in pipelines for name in _run(pipeline)]
    if failed:
        print(f"Failed, tried again when run again: {', '.join(failed)}", file=sys.stderr)
        raise SystemExit(1)


def _run(pipeline: Pipeline) -> list[str]:
    """Run one benchmark, print its table, and return the names of the runs that failed."""
    from mubench_hf.results.aggregate import aggregate
    from mubench_hf.results.tables import print_table

    results = pipeline.run()
    (groups,) = aggregate(results)
    print_table(groups, pipeline.task.title, pipeline.task.metric)
    print(f"Results: {pipeline.results}\nPlots: {pipeline.plots}\nData and checkpoints: {pipeline.out / 'mubench'}")
    return [result.name for result in results if result.status == "failed"]


def open_demo(argv: Sequence[str]) -> None:
    """Open the demo on a run, by default the newest below this folder; where none is, make the cifar100 mini run."""
    from mubench_hf.demo.launch import check_gradio, launch, newest_runs

    parser = CommandParser("demo", "Look at finished runs in a browser; without any, one is made first.")
    parser.add_argument("folder", nargs="?", help="Output folder of `mubench run`; default: the newest below this one.")
    parser.add_argument("--no_browser", action="store_true", help="Only serve the page and print its address.")
    arguments = parser.parse_args(list(argv))
    check_gradio()
    runs = Path(arguments.folder) if arguments.folder else newest_runs(Path())
    if runs is None:
        print("There are no runs here yet: making the cifar100 mini run first, in mubench-run. It takes some minutes.")
        run_benchmark(["cifar100", "--mini", "--out", "mubench-run"])
        runs = Path("mubench-run")
    launch(runs, browser=not arguments.no_browser)


def _script(name: str) -> Callable[[Sequence[str]], None]:
    return lambda argv: import_module(f"mubench_hf.scripts.{name}").main(argv)


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "list": list_names,
    "build": build_data,
    "train": _script("train"),
    "unlearn": _script("unlearn"),
    "evaluate": _script("evaluate"),
    "table": _script("table"),
    "run": run_benchmark,
    "demo": open_demo,
    "publish": _script("publish"),
    "submit": _script("submit"),
}


def dispatch(argv: Sequence[str]) -> None:
    """Run the command that ``argv`` names.

    Raises:
        BadInput: If there is no such command or its arguments are not allowed.
    """
    if not argv or argv[0] in ("-h", "--help"):
        print(USAGE)
    elif argv[0] == "--version":
        print(f"mubench {__version__}")
    elif argv[0] not in COMMANDS:
        raise unknown_name("command", argv[0], COMMANDS)
    else:
        COMMANDS[argv[0]](argv[1:])


def main() -> None:
    """Entry point of the console script; bad input exits with code 2."""
    # A reader that closes the pipe early, such as head, is no error.
    try:
        exit_with(dispatch, sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


if __name__ == "__main__":
    main()
