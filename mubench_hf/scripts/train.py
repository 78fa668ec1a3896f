"""Train an original: ``accelerate launch -m mubench_hf.scripts.train --task cifar100 --mini``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mubench_hf.commands._arguments import TaskArguments, checkpoint_folder, exit_with, parse, run_id
from mubench_hf.commands._help import show_help
from mubench_hf.trainers import get_method


def main(argv: Sequence[str]) -> None:
    """Train one task's original on all its rows and store the recipe beside the weights.

    Raises:
        BadInput: If an argument is not allowed, the data set is missing, or it cannot be pushed.
    """
    show_help("train", "Train an original on all rows of a task.", TaskArguments, argv, method="retrain")
    arguments, flags = parse(TaskArguments, argv, rest=True)
    run = run_id(arguments, "original", 0)

    # Names are checked by now: only what is to be run waits for torch.
    from mubench_hf.runs.train import default_config, train_run
    from mubench_hf.scripts._push import requested_push

    defaults = {"output_dir": str(checkpoint_folder(run, arguments.out)), **default_config(run)}
    args = parse(get_method("retrain").config_class, flags, defaults, names=TaskArguments)
    push = requested_push(args, run)
    record = train_run(replace(run, seed=args.seed), args, out=arguments.out)
    if args.process_index == 0:
        print(f"{args.output_dir}: {record.status}, {record.seconds:.1f} s of training")
        if push:
            from mubench_hf.commands.evaluate import evaluate_into

            evaluate_into(args.output_dir, arguments.out)
            push.send(args.output_dir, arguments.out)


if __name__ == "__main__":
    exit_with(main)
