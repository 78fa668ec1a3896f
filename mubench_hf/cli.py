"""The ``mubench`` command."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

from mubench_hf import __version__
from mubench_hf.commands._ending import exit_with
from mubench_hf.errors import unknown_name

USAGE = """usage: mubench COMMAND ...

  list [tasks|models|methods|metrics]   what there is
  build TASK ... [--mini] [--out DIR]   write a task's data set with its deletion splits
  train --task TASK ...                 train an original
  unlearn --task TASK --method M ...    unlearn with one method and evaluate the result
  plan TASK --method M ...              show how much memory that takes, and what would make it fit
  evaluate CHECKPOINT ...               evaluate checkpoints; check the scores of published ones, org/name
  audit CHECKPOINT ...                  train, quantise and prune copies, and see what comes back of the deleted rows
  table DIR ...                         show the tables of finished runs
  run TASK ... [--mini] [--out DIR] ... all of it: data, original, retrained models, methods, table, plots
  run --data DATA --label COLUMN ...    the same for your own data; build takes these flags too
  sweep TASK ... [--set M.S=V,V] ...    a grid of runs over ratios, seeds and settings, here or on a cluster
  sweep status OUT                      how far a sweep is
  tune TASK --method M ... --trials N   choose settings on rows that are not reported
  shadow TASK --models N ...            many models that saw D_f or did not, for metrics that read them
  meta TASK TASK ... [--metrics FILE]   rank metrics on models that hold more or less of D_f
  demo [DIR]                            look at finished runs in a browser
  publish dataset|model|metric|space NAME ...
                                        show what would go to the Hub; with --push, send it
  submit RUNS ... [--push]              check results for the leaderboard; with --push, propose them
  submit --verify PATH                  recompute the scores of submitted results and mark them verified

`mubench COMMAND --help` says more about each."""


COMMANDS = (
    "list", "build", "train", "unlearn", "plan", "evaluate", "audit", "table", "run", "sweep", "tune", "shadow",
    "meta", "demo", "publish", "submit",
)  # fmt: skip
"""Modules of `commands`; each is imported only when it is called."""


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
        import_module(f"mubench_hf.commands.{argv[0]}").main(argv[1:])


def main() -> None:
    """Entry point of the console script; bad input exits with code 2."""
    exit_with(dispatch)


if __name__ == "__main__":
    main()
