"""How much memory a run takes, part by part, before it is made."""

from __future__ import annotations

import copy
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from types import CodeType
from typing import TYPE_CHECKING, Any, Literal

import torch

from mubench_hf.errors import BadInput
from mubench_hf.kinds import get_kind
from mubench_hf.models.adapter_settings import AdapterSettings
from mubench_hf.models.memory import PassBytes, pass_bytes
from mubench_hf.runs.shapes import meta_model, model_config, repeated

if TYPE_CHECKING:
    from mubench_hf.runs.setup import Setup
    from mubench_hf.trainers import UnlearningConfig, UnlearningTrainer

Sharding = Literal["ddp", "fsdp2"]
"""How several processes share a model: each has all of it, or a part of weights, gradients and optimizer state."""

BaseType = Literal["float32", "bfloat16", "float16", "4bit"]
"""Types of frozen weights beside an adapter; 4 bits are those of NF4, with a scale for 64 weights."""

WEIGHT_BYTES = {"float32": 4.0, "bfloat16": 2.0, "float16": 2.0, "4bit": 0.5 + 4 / 64}

RESERVED = 1 << 30
"""Bytes that a process takes on a GPU before any tensor, and that its allocator cannot use: context, kernels, gaps."""

SAMPLE_SIDE = 256
"""Side of the weight on which the size of an optimizer's state is measured."""


@dataclass(frozen=True)
class Request:
    """One run that may be made.

    Attributes:
        setup: Task, variant and model.
        method: Its method.
        args: Its settings, of each process.
        adapter: What is trained in place of the model's own weights.
        base: Type of the frozen weights beside an adapter.
        processes: Number of processes.
        sharding: How they share the model.
        classes: Number of classes of a classifier; 0 leaves it as the configuration has it.
        on_gpu: Whether it runs on a GPU, whose attention and dropout keep less.
    """

    setup: Setup
    method: type[UnlearningTrainer]
    args: UnlearningConfig
    adapter: AdapterSettings
    base: BaseType = "float32"
    processes: int = 1
    sharding: Sharding = "ddp"
    classes: int = 0
    on_gpu: bool = True


@dataclass(frozen=True)
class Memory:
    """What a run takes.

    Attributes:
        weights: Number of the model's weights, and of those that are trained.
        device: Part → bytes on the device of each process; parts of one moment, whose sum is the peak.
        disk: Part → bytes in files.
        table_row: Bytes of a row in the table of the original's outputs; 0 without one.
    """

    weights: tuple[int, int]
    device: Mapping[str, int]
    disk: Mapping[str, int]
    table_row: int

    @property
    def peak(self) -> int:
        """The most bytes of tensors on the device at any time."""
        return sum(self.device.values())

    @property
    def needed(self) -> int:
        """The bytes that a GPU must have."""
        return self.peak + RESERVED


def memory_of(asked: Request, row: Mapping[str, torch.Tensor]) -> Memory:
    """Return what a run takes.

    Args:
        asked: The run.
        row: A batch of one row, see ``example_inputs``.

    Raises:
        BadInput: If the model or its inputs are nowhere to be had, or its passes depend on values.
    """
    spec, config = asked.setup.model, model_config(asked.setup.model)
    inputs = repeated(row, asked.args.per_device_train_batch_size)
    has_classes = get_kind(asked.setup.task.kind).label_is_class
    model = meta_model(spec, config, asked.classes if has_classes else 0)
    return memory_with(_adapted(model, asked) if asked.adapter.peft else model, inputs, asked)


def memory_with(model: torch.nn.Module, inputs: Mapping[str, torch.Tensor], asked: Request) -> Memory:
    """Return what a run takes on a model and a micro-batch of one's own, both on the ``meta`` device.

    Raises:
        BadInput: If its passes depend on values.
    """
    args, method = asked.args, asked.method
    kind = get_kind(asked.setup.task.kind)
    frozen, trained, buffers = _sizes(model)
    frozen_bytes = round(frozen * WEIGHT_BYTES[asked.base])
    has_teacher, has_incompetent = _calls(method, "original_teacher"), _calls(method, "forget_teacher")
    live = int(has_teacher or has_incompetent) if not (args.cache_teacher_outputs and kind.keeps_outputs) else 0
    low = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None
    try:
        found = pass_bytes(
            model,
            inputs,
            run=lambda student, batch: kind.run(student, kind.noised(dict(batch), torch.zeros(1)))[1],
            low=low,
            terms=1 + has_teacher,
            teachers=live,
            checkpointing=bool(args.activation_checkpointing),
            keeps_casts=asked.processes == 1 or asked.sharding == "ddp",  # FSDP gathers weights in 16 bits.
            on_gpu=asked.on_gpu,
        )
    except (NotImplementedError, RuntimeError, TypeError, AttributeError, ValueError) as error:
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise BadInput(
            f"The memory of {asked.setup.model.name} cannot be planned: its passes depend on values ({first})."
        ) from error
    weights, gradients, states = frozen_bytes + 4 * trained + buffers, 4 * trained, _state_bytes(args, trained)
    parts = _divided(asked, model, {"weights": weights, "gradients": gradients, "optimizer": states})
    apart = asked.processes if asked.sharding == "fsdp2" else 1
    if live and has_teacher:
        # What is trained is kept twice; a whole model that is trained, as a second model.
        parts["original as teacher"] = math.ceil(4 * trained / apart) + (buffers if frozen else 0)
    if live and has_incompetent:
        parts["incompetent teacher"] = math.ceil(4 * (frozen or trained) / apart) + buffers
    parts |= method.kept_beside(math.ceil(trained / apart), args)
    parts["rows"] = found.rows
    parts["activations"] = _activations(found, asked)
    table_row = found.predictions // args.per_device_train_batch_size if has_teacher and not live else 0
    whole = 4 * trained + buffers
    disk = {
        "a saved state": whole + states + (whole if asked.adapter.peft else 0),
        "checkpoint": whole if asked.adapter.peft else weights,
    }
    return Memory((frozen + trained, trained), {name: size for name, size in parts.items() if size}, disk, table_row)


def _adapted(model: torch.nn.Module, asked: Request) -> torch.nn.Module:
    if asked.base in ("bfloat16", "float16", "4bit"):
        model = model.to(torch.float16 if asked.base == "float16" else torch.bfloat16)
    with torch.device("meta"):
        return asked.adapter.add_to(model, asked.args.seed)


def _sizes(model: torch.nn.Module) -> tuple[int, int, int]:
    """Return the numbers of frozen and of trained weights, and the bytes of buffers."""
    count = {True: 0, False: 0}
    for weight in model.parameters():
        count[weight.requires_grad] += weight.numel()
    return count[False], count[True], sum(buffer.nbytes for buffer in model.buffers())


def _activations(found: PassBytes, asked: Request) -> int:
    """Return what the passes take beside the gradients at the moment when both together take the most.

    Gradients of a single micro-batch come as activations go. Those of earlier ones are there from the start, and those
    that processes share are small.
    """
    if asked.args.gradient_accumulation_steps > 1 or asked.processes > 1:
        return found.peak_beside
    return max(found.peak - found.gradients, 0)


def _state_bytes(args: UnlearningConfig, trained: int) -> int:
    """Return the bytes of the optimizer's state, measured on a small weight.

    Raises:
        BadInput: If the optimizer needs a model to be made.
    """
    from transformers import Trainer

    weight = torch.nn.Parameter(torch.zeros(SAMPLE_SIDE, SAMPLE_SIDE))
    try:
        made, kwargs = Trainer.get_optimizer_cls_and_kwargs(args, None)
        optimizer = made([weight], **{name: value for name, value in kwargs.items() if name != "fused"})
        weight.grad = torch.ones_like(weight)
        optimizer.step()
    except (ImportError, RuntimeError, TypeError, ValueError) as error:
        raise BadInput(
            f"optim is {args.optim.value!r}, the size of whose state cannot be told here: {error}"
        ) from error
    held = sum(value.nbytes for value in optimizer.state[weight].values() if isinstance(value, torch.Tensor))
    return math.ceil(trained * held / weight.numel())


def _divided(asked: Request, model: torch.nn.Module, parts: dict[str, int]) -> dict[str, int]:
    """Return what each process holds of weights, gradients and optimizer state."""
    if asked.processes == 1:
        return parts
    if asked.sharding == "ddp":
        # Gradients are summed in buckets beside them.
        return {**parts, "buckets": parts["gradients"]}
    divided = {name: math.ceil(size / asked.processes) for name, size in parts.items()}
    # Blocks are gathered one after the other, the next while the last one computes.
    return {**divided, "gathered blocks": 2 * max(map(_own_bytes, _blocks(model)), default=0)}


def _blocks(model: torch.nn.Module) -> Iterator[torch.nn.Module]:
    """Yield the layers that are gathered as one: those in lists, and what has weights outside of them."""
    for module in model.modules():
        if isinstance(module, torch.nn.ModuleList):
            yield from module
        elif isinstance(module, torch.nn.Embedding):
            yield module


def _own_bytes(module: torch.nn.Module) -> int:
    return sum(weight.nbytes for weight in module.parameters())


def _calls(method: type[UnlearningTrainer], name: str) -> bool:
    """Return whether a method's own code calls a function of the trainer's."""
    from mubench_hf.trainers import UnlearningTrainer

    own = (base for base in method.__mro__ if issubclass(base, UnlearningTrainer) and base is not UnlearningTrainer)
    codes = (value.__code__ for base in own for value in vars(base).values() if hasattr(value, "__code__"))
    return any(name in _names(code) for code in codes)


def _names(code: CodeType) -> set[str]:
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return set(code.co_names).union(*map(_names, inner))


def what_would_fit(asked: Request, row: Mapping[str, torch.Tensor], memory: int) -> list[tuple[str, Memory]]:
    """Return flags with which a run fits into a device's memory, and what it takes with them.

    The first are those that leave every update the same but for rounding: autocast, checkpointing, fewer rows at a
    time. Those after that make it another run, or need more devices, and are added to the first.

    Args:
        asked: The run.
        row: A batch of one row.
        memory: Bytes of each device.
    """
    flags: list[str] = []
    for name in ("bf16", "activation_checkpointing"):
        if not (getattr(asked.args, name) or (name == "bf16" and asked.args.fp16)):
            asked, flags = _with(asked, **{name: True}), [*flags, f"--{name}"]
            if (found := memory_of(asked, row)).needed <= memory:
                return [(" ".join(flags), found)]
    smaller = _fewer_rows(asked, row, memory)
    if smaller:
        rows, steps = smaller.args.per_device_train_batch_size, smaller.args.gradient_accumulation_steps
        flags += [f"--per_device_train_batch_size {rows}", f"--gradient_accumulation_steps {steps}"]
        return [(" ".join(flags), memory_of(smaller, row))]
    others: list[tuple[str, Request]] = []
    if not asked.method.replays_recipe:
        adapter = asked.adapter if asked.adapter.peft else AdapterSettings(peft="lora")
        peft = [] if asked.adapter.peft else ["--peft lora"]
        bases: tuple[BaseType, ...] = ("float32", "bfloat16", "4bit")
        for base in bases:
            if WEIGHT_BYTES[base] < WEIGHT_BYTES[asked.base] or not asked.adapter.peft:
                lighter = replace(asked, adapter=adapter, base=base)
                loaded = f", over a {base} model that a script of your own loads" if base != "float32" else ""
                others.append((" ".join([*flags, *peft]) + loaded, lighter))
    for processes in (2, 4, 8) if asked.processes == 1 and not asked.adapter.peft else ():
        together = replace(asked, processes=processes, sharding="fsdp2")
        others.append((" ".join([*flags, f"--processes {processes} --sharding fsdp2"]), together))
    fitting = []
    for text, change in others:
        with suppress(BadInput):  # An adapter whose layers have to be named.
            fitting.append((text, memory_of(change, row)))
    return [(text, found) for text, found in fitting if found.needed <= memory]


def _with(asked: Request, **settings: Any) -> Request:
    args = copy.copy(asked.args)
    for name, value in settings.items():
        setattr(args, name, value)
    return replace(asked, args=args)


def _fewer_rows(asked: Request, row: Mapping[str, torch.Tensor], memory: int) -> Request | None:
    """Return a run of the same updates in more micro-batches, as few as fit; ``None`` if not even single rows do."""
    rows, steps = asked.args.per_device_train_batch_size, asked.args.gradient_accumulation_steps
    single = _with(asked, per_device_train_batch_size=1, gradient_accumulation_steps=steps * rows)
    if rows == 1 or memory_of(single, row).needed > memory:
        return None
    for parts in (parts for parts in range(2, rows) if rows % parts == 0):
        smaller = _with(asked, per_device_train_batch_size=rows // parts, gradient_accumulation_steps=steps * parts)
        if memory_of(smaller, row).needed <= memory:
            return smaller
    return single
