"""Checks of what an unlearning trainer is made of, before anything is done with it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import is_compiled_module
from torch.utils.data import IterableDataset
from transformers import TrainingArguments

from mubench_hf.data.joined import IS_FORGET, ROW, JoinedRows
from mubench_hf.errors import BadInput

if TYPE_CHECKING:
    from mubench_hf.trainers._base import UnlearningTrainer
    from mubench_hf.trainers._config import UnlearningConfig

NOT_TAKEN = {
    "train_dataset": "Give the rows to forget as forget_dataset and those to keep as retain_dataset.",
    "model_init": "Unlearning starts from one original: give that model. For a search, make a trainer for each trial.",
    "compute_loss_func": "A method minimises its own loss: override compute_loss in a subclass.",
}
"""Arguments of ``Trainer`` that would have no effect, and what to do instead."""


def check_not_taken(arguments: Mapping[str, Any]) -> None:
    """Refuse arguments of ``Trainer`` that would have no effect.

    Raises:
        BadInput: If one is given.
    """
    for name, instead in NOT_TAKEN.items():
        if arguments.get(name) is not None:
            raise BadInput(f"{name} has no effect on an unlearning trainer. {instead}")
    collator = arguments.get("data_collator")
    if collator is not None and not callable(collator):
        raise BadInput(f"data_collator is {_what(collator)}; it is called with a list of rows and returns a batch.")


def checked_config(trainer: type[UnlearningTrainer], args: Any) -> UnlearningConfig:
    """Return the method's config, the default one if none is given.

    Raises:
        BadInput: If ``args`` is another's, or what was changed in it since it was made is not allowed.
    """
    wanted = getattr(trainer, "config_class", None)
    if wanted is None:
        raise BadInput(f"{trainer.__name__} is no method: it has no config_class. Use a method, such as ScrubTrainer.")
    if args is None:
        return wanted()
    if isinstance(args, Mapping):
        raise BadInput(f"args is {_what(args)}; give {wanted.__name__}(**args).")
    if not isinstance(args, wanted):
        also = ", which takes the same arguments and the method's own" if type(args) is TrainingArguments else ""
        raise BadInput(f"args is {_what(args)}; {trainer.__name__} takes {wanted.__name__}{also}.")
    unknown = [each.name for each in fields(args) if each.name not in wanted.__dataclass_fields__]
    if unknown:
        raise BadInput(
            f"args is {_what(args)}, but {trainer.__name__} does not read {', '.join(unknown)}. Give {wanted.__name__}."
        )
    args.check()
    return args


def check_model(model: Any) -> None:
    """Refuse what is no single model in memory.

    Raises:
        BadInput: If it is no module, is wrapped for several devices, sharded, or compiled in parts.
    """
    if model is None:
        raise BadInput("model is missing. Give the original model.")
    if not isinstance(model, torch.nn.Module):
        raise BadInput(f"model is {_what(model)}; give a loaded model, as its class's from_pretrained returns it.")
    parallel = (torch.nn.parallel.DistributedDataParallel, torch.nn.DataParallel)
    if isinstance(model, parallel):
        raise BadInput(f"model is {_what(model)}. Give the model inside, model.module; the trainer wraps it.")
    inner = model._orig_mod if is_compiled_module(model) else model
    parts = [name for name, part in inner.named_modules() if name and is_compiled_module(part)]
    if parts:
        raise BadInput(
            f"A part of the model is compiled ({parts[0]}), so its weights would be saved under names that nothing "
            "loads. Compile all of it, torch.compile(model), or set torch_compile."
        )
    if getattr(inner, "is_distributed_loading_by_transformers", False) or (getattr(inner, "_tp_size", None) or 1) > 1:
        raise BadInput(
            f"{type(inner).__name__} is sharded over processes; masks, teachers and fresh weights are made of whole "
            "weights. Load it without a distributed_config or tp_plan."
        )


def check_rows(name: str, rows: Any) -> None:
    """Refuse what is no set of rows that are read by their number.

    Raises:
        BadInput: If it has no length, is several sets, or its rows are no mappings or have a name that a batch needs.
    """
    if isinstance(rows, Mapping):
        raise BadInput(
            f"{name} is {_what(rows)} of {', '.join(map(str, rows)) or 'nothing'}; it is one set of rows. Choose one, "
            f"such as data[{next(iter(rows), 'forget')!r}]."
        )
    streams = isinstance(rows, IterableDataset | Iterator) or (hasattr(rows, "__iter__") and not _is_sized(rows))
    if streams:
        raise BadInput(
            f"{name} is {_what(rows)}, a stream without a length; a method's passes walk through rows by their number. "
            "Load it without streaming, or make a list of its rows."
        )
    if not _is_sized(rows) or not hasattr(rows, "__getitem__") or isinstance(rows, str | bytes):
        raise BadInput(f"{name} is {_what(rows)}; it is a data set with a length, whose rows are read by their number.")
    if not len(rows):
        return  # Whether it may be empty depends on the method.
    try:
        row = rows[0]
    except (KeyError, TypeError) as error:
        raise BadInput(
            f"{name}[0] cannot be read ({type(error).__name__}: {error}); rows are read by number."
        ) from error
    if not isinstance(row, Mapping):
        raise BadInput(
            f"A row of {name} is {_what(row)}; it is a mapping from the names of the model's inputs to values, such as "
            '{"pixel_values": ..., "labels": ...}.'
        )
    taken = [flag for flag in (IS_FORGET, ROW) if flag in row]
    if taken and not isinstance(rows, JoinedRows):
        raise BadInput(
            f"A row of {name} has {' and '.join(taken)}, which a batch needs for the flag of D_f and a row's number. "
            "Give that column another name."
        )


def check_optimizer(model: torch.nn.Module, optimizers: Any) -> None:
    """Refuse an optimizer that trains no weight of the model.

    Raises:
        BadInput: If it holds none of them, or something else is given in its place.
    """
    if not (isinstance(optimizers, tuple | list) and len(optimizers) == 2):
        raise BadInput(f"optimizers is {_what(optimizers)}; give (optimizer, scheduler), each or both None.")
    optimizer, scheduler = optimizers
    if optimizer is None:
        if scheduler is not None:
            raise BadInput("optimizers has a scheduler without the optimizer that it was made for. Give both.")
        return
    weights = {id(weight) for weight in model.parameters() if weight.requires_grad}
    if not any(id(weight) in weights for group in optimizer.param_groups for weight in group["params"]):
        raise BadInput(
            f"The optimizer ({type(optimizer).__name__}) holds none of the model's trainable weights, so nothing would "
            "be unlearned. Make it of model.parameters() of this model."
        )


def _is_sized(rows: Any) -> bool:
    """Return whether a length is known; some wrappers have the method and nothing to ask."""
    try:
        len(rows)
    except (TypeError, NotImplementedError, AttributeError):
        return False
    return True


def _what(value: Any) -> str:
    """Return what a value is, in two words at most."""
    if isinstance(value, str):
        return f"the text {value[:60]!r}"
    return f"the class {value.__name__}" if isinstance(value, type) else f"a {type(value).__name__}"
