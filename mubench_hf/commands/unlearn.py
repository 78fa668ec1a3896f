"""``mubench unlearn``: unlearn with one method, and evaluate the result."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from mubench_hf.commands._arguments import UnlearnArguments, bring_metrics, parse, seed_flag, use_cpu_flag
from mubench_hf.commands._help import show_help
from mubench_hf.commands._paths import check_folder
from mubench_hf.runs.plan import Plan, find_original, make_plan, preset
from mubench_hf.runs.setup import make_setup
from mubench_hf.runs.updates import divided
from mubench_hf.trainers import METHODS, get_method
from mubench_hf.utils.processes import launched_processes

if TYPE_CHECKING:
    from mubench_hf.runs.train import LoadRows


def planned(argv: Sequence[str], *, exists: bool = True) -> tuple[Plan, UnlearnArguments]:
    """Return the run that a command names, and its arguments.

    Args:
        argv: Arguments of the command.
        exists: Whether the original must be there; otherwise it may be made later, by the usual recipe.

    Raises:
        BadInput: If an argument is not allowed or something the run needs is missing.
    """
    arguments, flags = parse(UnlearnArguments, argv, rest=True)
    check_folder("--out", arguments.out)
    METHODS.check(arguments.method)
    bring_metrics(arguments.metrics)
    setup = make_setup(
        arguments.task,
        variant=arguments.variant,
        model=arguments.model,
        base=arguments.base,
        del_ratio=arguments.del_ratio,
        out=arguments.out,
    )
    seed = seed_flag(flags) if arguments.original_seed is None else arguments.original_seed
    start = find_original(setup, seed, arguments.base) if exists else f"mubench/{setup.original(seed).name}"

    # All names have been checked, so that a typo need not wait for torch.
    config_class = get_method(arguments.method).config_class
    settings = preset(setup, arguments.method, start, use_cpu=use_cpu_flag(flags))
    defaults = {"output_dir": "", **divided(settings, config_class, launched_processes())}
    args = parse(config_class, flags, defaults, names=UnlearnArguments)
    for name in ("output_dir", "teacher_cache_dir"):
        check_folder(f"--{name}", getattr(args, name) or None)
    folder = args.output_dir or None
    return make_plan(setup, arguments.method, args, start=start, folder=folder, adapter=arguments.adapter), arguments


def main(argv: Sequence[str], *, rows: LoadRows | None = None) -> None:
    """Run one method on one task; every flag of its config and of ``TrainingArguments`` works.

    Args:
        argv: Arguments of the command.
        rows: Where the task's rows come from; default: ``load_rows``.

    Raises:
        BadInput: If an argument is not allowed or something the run needs is missing.
    """
    show_help("unlearn", "Unlearn with one method and evaluate the result.", UnlearnArguments, argv)
    plan, arguments = planned(argv)

    from mubench_hf.commands._push import requested_push
    from mubench_hf.commands.evaluate import evaluate_into
    from mubench_hf.runs.train import owner_of, train_run

    push = requested_push(plan.args, plan.run, arguments.evaluate)
    with owner_of(plan):
        record = train_run(plan, data=rows(plan.setup, plan.start) if rows else None)
        if plan.args.process_index == 0:
            print(f"{plan.folder}: {record.status}, {record.seconds:.1f} s of unlearning", flush=True)
        if arguments.evaluate:
            evaluate_into(plan.folder, arguments.out, rows=rows, device=plan.args.device, metrics=arguments.metrics)
    if push:
        push.send(plan.args.output_dir, arguments.out)
