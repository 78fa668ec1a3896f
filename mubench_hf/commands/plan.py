"""``mubench plan``: how much memory a run takes, before anything is downloaded or trained."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mubench_hf.commands._arguments import UnlearnArguments, parse
from mubench_hf.commands._data import be_quiet
from mubench_hf.commands._help import show_help
from mubench_hf.commands._paths import check_folder
from mubench_hf.errors import BadInput
from mubench_hf.trainers import METHODS, get_method

if TYPE_CHECKING:
    from mubench_hf.runs.memory import Memory, Request
    from mubench_hf.runs.setup import Setup

ABOUT = (
    "Show how much memory a run takes on each GPU and on disk, part by part, and with --memory what would make it fit. "
    "Passes are run on tensors without values: no weights are needed, and registered models download nothing."
)

SHARDING, BASE_TYPES = ("ddp", "fsdp2"), ("float32", "bfloat16", "float16", "4bit")

UNITS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3, "t": 1000**4, "ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}

GIB = 2**30


@dataclass
class PlanArguments(UnlearnArguments):
    """What ``plan`` takes beside what ``unlearn`` takes."""

    processes: int = field(default=1, metadata={"help": "Number of processes, one for each GPU."})
    sharding: str = field(
        default="ddp", metadata={"help": "How processes share the model: ddp (each has all of it) or fsdp2."}
    )
    base_type: str | None = field(
        default=None,
        metadata={
            "help": "With --peft: type of the original's weights: float32 (default), as `mubench train` saves them; "
            "bfloat16, float16 or 4bit, as a script of your own may load them."
        },
    )
    memory: str | None = field(
        default=None, metadata={"help": "Memory of each GPU, such as 80GB or 24GiB: say what would make the run fit."}
    )
    device: str = field(default="gpu", metadata={"help": "Where the run is made: gpu or cpu."})
    classes: int | None = field(
        default=None, metadata={"help": "Number of classes; default: the data set's under OUT, or the model's own."}
    )


def memory_bytes(text: str) -> int:
    """Return a size such as ``80GB`` or ``24GiB`` in bytes.

    Raises:
        BadInput: If it is none.
    """
    found = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kmgt]?i?)b?\s*", text.lower())
    if not found or found[2] not in UNITS or float(found[1]) <= 0:
        raise BadInput(f"--memory is {text!r}; give a size such as 80GB or 24GiB.")
    return round(float(found[1]) * UNITS[found[2]])


def main(argv: Sequence[str]) -> None:
    """Print what one run takes.

    Raises:
        BadInput: If an argument is not allowed, or the model's configuration is nowhere to be had.
    """
    argv = ["--task", *argv] if argv and not argv[0].startswith("-") else list(argv)
    show_help("plan", ABOUT, PlanArguments, argv)
    arguments, flags = parse(PlanArguments, argv, rest=True)
    check_folder("--out", arguments.out)
    METHODS.check(arguments.method)
    _check(arguments)
    memory = None if arguments.memory is None else memory_bytes(arguments.memory)
    setup = _setup(arguments)  # Names are checked before anything that takes seconds to import.
    be_quiet()

    from mubench_hf.runs.memory import memory_of, what_would_fit
    from mubench_hf.runs.shapes import example_inputs

    asked = _request(arguments, setup, flags)
    row = example_inputs(asked.setup)
    found = memory_of(asked, row)
    _show(asked, found)
    if memory is None:
        return
    if found.needed <= memory:
        print(
            f"It fits into {arguments.memory}: {found.needed / GIB:.1f} GiB are needed, 1 GiB of them by CUDA itself."
        )
        return
    print(f"It does not fit into {arguments.memory}: {found.needed / GIB:.1f} GiB are needed. It would with:")
    fitting = what_would_fit(asked, row, memory)
    for text, other in fitting:
        print(f"  {text}  ({other.needed / GIB:.1f} GiB)")
    if not fitting:
        print("  nothing that is known here: a smaller model, or more GPUs.")


def _check(arguments: PlanArguments) -> None:
    if arguments.processes < 1:
        raise BadInput(f"--processes is {arguments.processes}; it is at least 1.")
    for name, allowed in (("sharding", SHARDING), ("base_type", BASE_TYPES)):
        value = getattr(arguments, name)
        if value is not None and value not in allowed:
            raise BadInput(f"--{name} is {value!r}. Allowed: {', '.join(allowed)}.")
    if arguments.device not in ("gpu", "cpu"):
        raise BadInput(f"--device is {arguments.device!r}. Allowed: gpu, cpu.")
    if arguments.base_type is not None and arguments.peft is None:
        raise BadInput("--base_type is of the weights beside an adapter. Add --peft lora, or leave it out.")
    if arguments.sharding != "ddp" and arguments.processes == 1:
        raise BadInput(f"--sharding {arguments.sharding} is of several processes. Add --processes.")
    if arguments.sharding != "ddp" and arguments.peft is not None:
        raise BadInput("--sharding fsdp2 is of whole models that are trained. Leave --peft out, or use ddp.")
    if arguments.classes is not None and arguments.classes < 1:
        raise BadInput(f"--classes is {arguments.classes}; it is at least 1.")


def _request(arguments: PlanArguments, setup: Setup, flags: Sequence[str]) -> Request:
    """Return the run that the flags describe."""
    from mubench_hf.runs.memory import Request
    from mubench_hf.runs.plan import preset
    from mubench_hf.runs.record import ORIGINAL
    from mubench_hf.runs.updates import divided

    method = get_method(arguments.method)
    usual = preset(setup, ORIGINAL if method.replays_recipe else arguments.method)
    usual = divided(usual, method.config_class, arguments.processes)
    # Whatever this machine has: a GPU's settings are allowed on a CPU, too, and nothing is run here.
    args = parse(method.config_class, flags, {"output_dir": "plan", **usual, "use_cpu": True}, names=PlanArguments)
    if method.replays_recipe and arguments.peft:
        raise BadInput(f"{arguments.method} makes a whole model. Leave --peft out.")
    base: Any = arguments.base_type or "float32"
    return Request(
        setup,
        method,
        args,
        arguments.adapter,
        base,
        arguments.processes,
        arguments.sharding,
        classes=arguments.classes or _classes(setup),
        on_gpu=arguments.device == "gpu",
    )


def _setup(arguments: PlanArguments) -> Setup:
    """Look up what is named, as ``make_setup`` does, without the weights of a model that is not registered."""
    from mubench_hf.data.blocks import ratio_of
    from mubench_hf.data.manifest import learn_tasks
    from mubench_hf.models import check_fits
    from mubench_hf.models.foreign import resolve_model
    from mubench_hf.runs.setup import Setup
    from mubench_hf.tasks import get_task

    learn_tasks(arguments.out)
    task = get_task(arguments.task)
    model = arguments.model or task.source(arguments.variant).default_model
    if model is None:
        raise BadInput(f"{task.name} has no model of its own. Name one: --model, a key, a Hub id or a folder.")
    spec = resolve_model(model, task)
    check_fits(task, spec)
    ratio = ratio_of(task, arguments.variant, arguments.del_ratio)
    return Setup(task, arguments.variant, spec, ratio, Path(arguments.out))


def _rows(setup: Setup) -> int | None:
    """Return the number of train rows, if the data set was built."""
    from mubench_hf.data.loading import load_manifest

    if not _built(setup).is_dir():
        return None
    return int(load_manifest(setup.task, variant=setup.variant, out=setup.out)["deletion_list"]["rows"])


def _classes(setup: Setup) -> int:
    """Return the number of classes of a data set that was built; 0 leaves the model's own."""
    from mubench_hf.data.loading import load_split

    if not _built(setup).is_dir():
        return 0
    rows = load_split(setup.task, variant=setup.variant, ratio=setup.del_ratio, out=setup.out)["retain"]
    return len(getattr(rows.features[setup.task.label], "names", ()))


def _built(setup: Setup) -> Path:
    return setup.out / "mubench" / setup.task.dataset_name(setup.variant)


def _show(asked: Request, found: Memory) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Column, Table

    args, (weights, trained) = asked.args, found.weights
    share = "" if trained == weights else f", {trained:,} of them trained"
    adapter = f" with {asked.adapter.peft} over {asked.base} weights" if asked.adapter.peft else ""
    precision = "bf16" if args.bf16 else "fp16" if args.fp16 else "float32"
    rows, steps = args.per_device_train_batch_size, args.gradient_accumulation_steps
    print(f"{asked.method.method_key()} on {asked.setup.model.name}{adapter}: {weights:,} weights{share}")
    print(
        f"{precision}, micro-batches of {rows} rows, {steps} of them an update on each of {asked.processes} "
        f"process{'es' if asked.processes > 1 else ''}"
        f"{', activation checkpointing' if args.activation_checkpointing else ''}"
        f"{f', {asked.sharding}' if asked.processes > 1 else ''}"
    )
    table = Table(Column("On each device", no_wrap=True), Column("GiB", justify="right"), box=SIMPLE_HEAD)
    for name, size in found.device.items():
        table.add_row(name, f"{size / GIB:,.3f}")
    table.add_section()
    table.add_row("peak", f"{found.peak / GIB:,.3f}")
    disk = Table(Column("On disk", no_wrap=True), Column("GiB", justify="right"), box=SIMPLE_HEAD)
    for name, size in found.disk.items():
        disk.add_row(name, f"{size / GIB:,.3f}")
    if found.table_row:
        count = _rows(asked.setup)
        what = f"teacher's table, {count:,} rows" if count else "teacher's table, each 1,000,000 rows"
        disk.add_row(what, f"{found.table_row * (count or 1_000_000) / GIB:,.3f}")
    console = Console()
    console.print(table)
    console.print(disk)
