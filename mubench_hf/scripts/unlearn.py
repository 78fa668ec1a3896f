"""Unlearn: ``accelerate launch -m mubench_hf.scripts.unlearn --task cifar100 --mini --method scrub``."""

from __future__ import annotations

from collections.abc import Sequence

from mubench_hf.commands._arguments import UnlearnArguments, exit_with, parse, seed_flag
from mubench_hf.commands._help import show_help
from mubench_hf.commands._paths import check_folder
from mubench_hf.runs.plan import find_original, make_plan, preset
from mubench_hf.runs.setup import make_setup
from mubench_hf.trainers import METHODS, get_method


def main(argv: Sequence[str]) -> None:
    """Run one method on one task; every flag of its config and of ``TrainingArguments`` works.

    Raises:
        BadInput: If an argument is not allowed or something the run needs is missing.
    """
    show_help("unlearn", "Unlearn with one method and evaluate the result.", UnlearnArguments, argv)
    arguments, flags = parse(UnlearnArguments, argv, rest=True)
    check_folder("--out", arguments.out)
    METHODS.check(arguments.method)
    setup = make_setup(
        arguments.task,
        variant=arguments.variant,
        model=arguments.model,
        base=arguments.base,
        del_ratio=arguments.del_ratio,
        out=arguments.out,
    )
    seed = seed_flag(flags) if arguments.original_seed is None else arguments.original_seed
    start = find_original(setup, seed, arguments.base)

    # All names have been checked, so that a typo need not wait for torch.
    config_class = get_method(arguments.method).config_class
    defaults = {"output_dir": "", **preset(setup, arguments.method, start)}
    args = parse(config_class, flags, defaults, names=UnlearnArguments)
    for name in ("output_dir", "teacher_cache_dir"):
        check_folder(f"--{name}", getattr(args, name) or None)
    plan = make_plan(
        setup, arguments.method, args, start=start, folder=args.output_dir or None, adapter=arguments.adapter
    )

    from mubench_hf.commands._push import requested_push
    from mubench_hf.commands.evaluate import evaluate_into
    from mubench_hf.runs.train import train_run

    push = requested_push(args, plan.run, arguments.evaluate)
    record = train_run(plan)
    if args.process_index == 0:
        print(f"{args.output_dir}: {record.status}, {record.seconds:.1f} s of unlearning")
        if arguments.evaluate:
            evaluate_into(args.output_dir, arguments.out)
        if push:
            push.send(args.output_dir, arguments.out)


if __name__ == "__main__":
    exit_with(main)
