"""Models whose weights are dealt out to several processes, as FSDP2 does: parts of a tensor, and the whole of it."""

from __future__ import annotations

import torch
import torch.distributed as dist
from torch import Tensor


def local(tensor: Tensor) -> Tensor:
    """Return this process's part of a tensor, which shares its memory; the tensor itself if it is not dealt out."""
    return tensor.detach().to_local() if _is_dealt_out(tensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """Return all of a tensor; if it is dealt out, every process has to ask for it at the same time."""
    return tensor.detach().full_tensor() if _is_dealt_out(tensor) else tensor


@torch.no_grad()
def fill(tensor: Tensor, values: Tensor) -> None:
    """Copy all values of a tensor, which every process has, into it, whether it is dealt out or not."""
    if _is_dealt_out(tensor):
        from torch.distributed.tensor import distribute_tensor  # A second to import, and only then needed.

        mesh = tensor.device_mesh
        values = distribute_tensor(values.to(tensor.device), mesh, tensor.placements, src_data_rank=None).to_local()
    local(tensor).copy_(values)


def is_sharded(model: torch.nn.Module) -> bool:
    """Return whether FSDP2 deals out the weights of a model."""
    return hasattr(model, "set_reshard_after_forward")


def sharing(model: torch.nn.Module) -> dist.ProcessGroup | None:
    """Return the processes that the weights of a model are dealt out to, or ``None`` if each has the whole model."""
    if not is_sharded(model):
        return None
    give_back(model)
    return next(weight.device_mesh.get_group() for weight in model.parameters())


def give_back(model: torch.nn.Module) -> None:
    """Free the whole weights that a sharded model keeps after a forward pass, so that its own are its parts again."""
    for module in model.modules():
        if is_sharded(module):
            module.reshard()


def _is_dealt_out(tensor: Tensor) -> bool:
    # A DTensor, whose class takes a second to import.
    return hasattr(tensor, "full_tensor")
