"""Fresh values for the weights that a model trains, which is what ``retrain`` starts from."""

from __future__ import annotations

import copy

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor

from mubench_hf.errors import BadInput
from mubench_hf.models.adapters import active_adapters, trained_copies
from mubench_hf.models.bare import bare_model
from mubench_hf.models.loading import reinitialised
from mubench_hf.models.sharded import fill, is_sharded

WRAPPED = ("base_layer", "original_module", "token_adapter")
"""What ``peft`` calls, inside its own layers, the layer that the model had."""


@torch.no_grad()
def renew(model: torch.nn.Module, seed: int, init_from: str | None = None) -> None:
    """Put values of a model that has learned nothing into all weights of ``model`` that are trained.

    Frozen weights keep their values, and so do running statistics of frozen modules. Trained are, of a model with
    adapters, the adapter's own weights, which start as its configuration says, and whole modules that it trains a copy
    of (``modules_to_save``, layer norms), which start as the model's configuration says.

    Args:
        model: The model; changed in place.
        seed: Seed of the values; the caller's random state does not change.
        init_from: See ``reinitialised``.

    Raises:
        BadInput: If adapted weights are quantised, or the adapter starts from values computed from the base's weights
            which it then changed, such as PiSSA's, so that they cannot be computed again.
    """
    model = extract_model_from_parallel(model, keep_torch_compile=False)
    fresh = reinitialised(bare_model(model), seed, init_from)
    if all(weight.requires_grad for weight in model.parameters()):
        if not is_sharded(model):
            model.load_state_dict(fresh.state_dict())
            return
        new = fresh.state_dict()
        for name, tensor in model.state_dict().items():
            fill(tensor, new[name])
        return
    names = active_adapters(model)
    fresh = _adapted_alike(model, fresh, names[0], seed) if names else fresh
    new = {**dict(fresh.named_parameters()), **dict(fresh.named_buffers())}
    for name, weight in model.named_parameters():
        if weight.requires_grad:
            weight.copy_(new[name])
    saved = model.state_dict().keys()  # A buffer that is not saved is computed, not learned.
    for name, buffer in model.named_buffers():
        if name in saved and _is_of_trained(model, name):
            buffer.copy_(new[name])


def _is_of_trained(model: torch.nn.Module, buffer: str) -> bool:
    """Return whether a buffer belongs to a module that is trained: the nearest one around it that has weights."""
    *path, _ = buffer.split(".")
    while True:
        weights = list(model.get_submodule(".".join(path)).parameters())
        if weights or not path:
            return any(weight.requires_grad for weight in weights)
        path.pop()


def _adapted_alike(model: torch.nn.Module, fresh: torch.nn.Module, name: str, seed: int) -> torch.nn.Module:
    """Give a fresh base the frozen weights of ``model`` and a fresh adapter like its own, whose start may need them."""
    if getattr(bare_model(model), "is_quantized", False):
        raise BadInput(
            f"{type(bare_model(model)).__name__} is quantised, and a fresh adapter cannot be started on a copy of it. "
            "Give retrain the model in its own precision."
        )
    kept = _frozen(model)
    own = dict(fresh.named_parameters())
    for plain, weight in kept.items():
        if plain in own:
            own[plain].copy_(weight)
    config = copy.deepcopy(model.peft_config[name])
    with torch.random.fork_rng(), torch.enable_grad():
        torch.manual_seed(seed)
        if bare_model(model) is model:
            fresh.add_adapter(config, name)
        else:
            fresh = type(model)(fresh, config, name)
    changed = [plain for plain, weight in _frozen(fresh).items() if plain in kept and not weight.equal(kept[plain])]
    if changed:
        raise BadInput(
            f"A fresh adapter of this kind ({config.peft_type.value}) changes the weights that it is added to, such as "
            f"{changed[0]}, so that of this model cannot be made again from them. Retrain with adapters that start "
            "without effect, such as LoRA with init_lora_weights=True."
        )
    return fresh


def _frozen(model: torch.nn.Module) -> dict[str, Tensor]:
    """Return the frozen weights of the model inside adapters that it computes with, under the names that they had."""
    bare = bare_model(model)
    replaced = tuple(f"{name}." for name in trained_copies(bare))
    return {
        ".".join(part for part in name.split(".") if part not in WRAPPED): weight
        for name, weight in bare.named_parameters()
        if not weight.requires_grad and not name.startswith(replaced)
    }
