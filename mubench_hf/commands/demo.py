"""``mubench demo``: look at finished runs in a browser."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mubench_hf.commands import run
from mubench_hf.commands._arguments import CommandParser
from mubench_hf.demo.launch import check_gradio, launch, newest_runs


def main(argv: Sequence[str]) -> None:
    """Open the demo on a run, by default the newest below this folder; if there is none, make the cifar100 mini run."""
    parser = CommandParser("demo", "Look at finished runs in a browser; if there are none, one is made first.")
    parser.add_argument("folder", nargs="?", help="Output folder of `mubench run`; default: the newest below this one.")
    parser.add_argument("--no_browser", action="store_true", help="Only serve the page and print its address.")
    parser.add_argument("--use_gpu", action="store_true", help="Run models on a GPU or the like; default: on the CPU.")
    arguments = parser.parse_args(list(argv))
    check_gradio()
    runs = Path(arguments.folder) if arguments.folder else newest_runs(Path())
    if runs is None:
        print("There are no runs here yet. Making the cifar100 mini run in mubench-run, which takes a few minutes.")
        run.main(["cifar100", "--mini", "--out", "mubench-run"])
        runs = Path("mubench-run")
    launch(runs, browser=not arguments.no_browser, use_gpu=arguments.use_gpu)
