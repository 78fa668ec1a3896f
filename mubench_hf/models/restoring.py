"""What training changes in a model, written to a file and put back, every tensor of it or none."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from mubench_hf.errors import BadInput


def moving_tensors(model: torch.nn.Module) -> dict[str, Tensor]:
    """Return the trainable weights and the buffers of a model, each under one of its names in memory.

    These are what a run changes, whatever the model is: weights that are tied have one entry, and of a model with
    adapters only what is trained is held.

    Raises:
        BadInput: If a module keeps a state that is no tensor.
    """
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if not isinstance(tensor, Tensor):
            raise BadInput(
                f"{type(model).__name__} keeps {name} as {type(tensor).__name__}; only tensors can be saved to resume "
                "from. Set save_strategy='no'."
            )
        frozen = isinstance(tensor, torch.nn.Parameter) and not tensor.requires_grad
        if not frozen and id(tensor) not in seen:
            seen.add(id(tensor))
            found[name] = tensor
    return found


def save_weights(model: torch.nn.Module, file: Path) -> None:
    """Write ``moving_tensors`` to ``file``, in their own types and under their names in memory.

    Published files name weights otherwise for many classes, and merge or split some, so that what one class writes need
    not go back by name.
    """
    # Clones: tensors that share memory cannot be written.
    save_file({name: tensor.detach().cpu().clone() for name, tensor in moving_tensors(model).items()}, file)


@torch.no_grad()
def restore_weights(model: torch.nn.Module, file: Path) -> None:
    """Put the tensors of a file that ``save_weights`` wrote into ``model``, in place; if one does not fit, none is.

    Raises:
        BadInput: If the file cannot be read, lacks a tensor that is trained, or holds one that the model does not have
            in this shape and type.
    """
    try:
        saved = load_file(file)
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{file} cannot be read: {error}. Start the run afresh, or from another state.") from error
    needed, there = moving_tensors(model), model.state_dict()
    wrong = [f"{name} is missing" for name in sorted(needed.keys() - saved.keys())]
    for name, tensor in sorted(saved.items()):
        if name not in there:
            wrong.append(f"{name} is not in the model")
        elif (tensor.shape, tensor.dtype) != (there[name].shape, there[name].dtype):
            found, has = (f"{each.dtype} {tuple(each.shape)}" for each in (tensor, there[name]))
            wrong.append(f"{name} is {found}, but {has} in the model")
    if wrong:
        more = f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise BadInput(
            f"{file} does not fit this {type(model).__name__}: {'; '.join(wrong[:3])}{more}. Give the model that the "
            "state was saved from, or start afresh."
        )
    for name, tensor in saved.items():
        there[name].copy_(tensor)
