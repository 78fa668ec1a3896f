"""Train an original: ``accelerate launch -m mubench_hf.scripts.train --task cifar100 --mini``."""

from __future__ import annotations

from collections.abc import Sequence

from mubench_hf.commands._arguments import TaskArguments, exit_with, parse
from mubench_hf.commands._help import show_help
from mubench_hf.commands._paths import check_folder
from mubench_hf.runs.plan import make_plan, preset
from mubench_hf.runs.record import ORIGINAL
from mubench_hf.runs.setup import make_setup
from mubench_hf.trainers import get_method


def main(argv: Sequence[str]) -> None:
    """Train one task's original on all its rows and store the recipe beside the weights.

    Raises:
        BadInput: If an argument is not allowed, the data set is missing, or it cannot be pushed.
    """
    show_help("train", "Train an original on all rows of a task.", TaskArguments, argv, method="retrain")
    arguments, flags = parse(TaskArguments, argv, rest=True)
    check_folder("--out", arguments.out)
    setup = make_setup(arguments.task, variant=arguments.variant, model=arguments.model, out=arguments.out)
    config_class = get_method("retrain").config_class
    args = parse(config_class, flags, {"output_dir": "", **preset(setup, ORIGINAL)}, names=TaskArguments)
    for name in ("output_dir", "teacher_cache_dir"):
        check_folder(f"--{name}", getattr(args, name) or None)
    plan = make_plan(setup, ORIGINAL, args, folder=args.output_dir or None)

    from mubench_hf.commands._push import requested_push
    from mubench_hf.runs.train import train_run

    push = requested_push(args, plan.run)
    record = train_run(plan)
    if args.process_index == 0:
        print(f"{args.output_dir}: {record.status}, {record.seconds:.1f} s of training")
        if push:
            from mubench_hf.commands.evaluate import evaluate_into

            evaluate_into(args.output_dir, arguments.out)
            push.send(args.output_dir, arguments.out)


if __name__ == "__main__":
    exit_with(main)
