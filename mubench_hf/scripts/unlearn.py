"""Unlearn: ``accelerate launch -m mubench_hf.scripts.unlearn --task cifar100 --mini --method scrub``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mubench_hf.commands._arguments import UnlearnArguments, checkpoint_folder, exit_with, parse, run_id
from mubench_hf.commands._help import show_help
from mubench_hf.trainers import METHODS, get_method


def main(argv: Sequence[str]) -> None:
    """Run one method on one task; every flag of its config and of ``TrainingArguments`` works.

    Raises:
        BadInput: If an argument is not allowed or something the run needs is missing.
    """
    show_help("unlearn", "Unlearn with one method and evaluate the result.", UnlearnArguments, argv)
    arguments, flags = parse(UnlearnArguments, argv, rest=True)
    METHODS.check(arguments.method)
    run = run_id(arguments, arguments.method, 0)

    # Names are checked by now: only what is to be run waits for torch.
    from mubench_hf.commands.evaluate import evaluate_into
    from mubench_hf.runs.train import default_config, find_original, train_run
    from mubench_hf.scripts._push import requested_push

    config_class = get_method(arguments.method).config_class
    original = find_original(run, arguments.out, arguments.base)
    args = parse(config_class, flags, {"output_dir": "", **default_config(run, original)}, names=UnlearnArguments)
    run = replace(run, seed=args.seed)
    # The seed is part of the folder's name.
    args.output_dir = args.output_dir or str(checkpoint_folder(run, arguments.out))
    push = requested_push(args, run, arguments.evaluate)
    record = train_run(run, args, out=arguments.out, base=arguments.base)
    if args.process_index == 0:
        print(f"{args.output_dir}: {record.status}, {record.seconds:.1f} s of unlearning")
        if arguments.evaluate:
            evaluate_into(args.output_dir, arguments.out)
        if push:
            push.send(args.output_dir, arguments.out)


if __name__ == "__main__":
    exit_with(main)
