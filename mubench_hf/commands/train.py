"""``mubench train``: train an original."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mubench_hf.commands._arguments import TaskArguments, parse, use_cpu_flag
from mubench_hf.commands._help import show_help
from mubench_hf.commands._paths import check_folder
from mubench_hf.runs.plan import Plan, make_plan, preset
from mubench_hf.runs.record import ORIGINAL
from mubench_hf.runs.setup import make_setup
from mubench_hf.runs.updates import divided
from mubench_hf.trainers import get_method
from mubench_hf.utils.processes import launched_processes

if TYPE_CHECKING:
    from mubench_hf.runs.train import LoadRows


def planned(argv: Sequence[str]) -> tuple[Plan, TaskArguments]:
    """Return the run that a command names, and its arguments.

    Raises:
        BadInput: If an argument is not allowed.
    """
    arguments, flags = parse(TaskArguments, argv, rest=True)
    check_folder("--out", arguments.out)
    setup = make_setup(arguments.task, variant=arguments.variant, model=arguments.model, out=arguments.out)
    config_class = get_method("retrain").config_class
    settings = preset(setup, ORIGINAL, use_cpu=use_cpu_flag(flags))
    usual = divided(settings, config_class, launched_processes())
    args = parse(config_class, flags, {"output_dir": "", **usual}, names=TaskArguments)
    for name in ("output_dir", "teacher_cache_dir"):
        check_folder(f"--{name}", getattr(args, name) or None)
    return make_plan(setup, ORIGINAL, args, folder=args.output_dir or None), arguments


def main(argv: Sequence[str], *, rows: LoadRows | None = None) -> None:
    """Train one task's original on all its rows and store the recipe beside the weights.

    Args:
        argv: Arguments of the command.
        rows: Where the task's rows come from; default: ``load_rows``.

    Raises:
        BadInput: If an argument is not allowed, the data set is missing, or it cannot be pushed.
    """
    show_help("train", "Train an original on all rows of a task.", TaskArguments, argv, method="retrain")
    plan, arguments = planned(argv)

    from mubench_hf.commands._push import requested_push
    from mubench_hf.runs.train import train_run

    push = requested_push(plan.args, plan.run)
    record = train_run(plan, data=rows(plan.setup, None) if rows else None)
    if plan.args.process_index == 0:
        print(f"{plan.folder}: {record.status}, {record.seconds:.1f} s of training", flush=True)
    if push:
        from mubench_hf.commands.evaluate import evaluate_into

        evaluate_into(plan.folder, arguments.out, device=plan.args.device)
        push.send(plan.args.output_dir, arguments.out)
