"""Adapters of ``peft`` on a model: which are active, what of them is saved, and what cannot be trained right."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from accelerate.utils import extract_model_from_parallel
from torch import Tensor

from mubench_hf.errors import BadInput
from mubench_hf.models.bare import bare_model

REFUSED = {
    "ADALORA": "its ranks change by calls that Trainer does not make, and it adds a loss of its own",
    "POLY": "its rows name tasks of their own",
    "XLORA": "it mixes adapters that are trained already",
}
"""Kinds of adapters that a trainer cannot train right, and why; those that learn a prompt are refused as well."""


def is_adapted(model: torch.nn.Module) -> bool:
    """Return whether a model carries adapters that it knows, by ``get_peft_model`` or by its own ``add_adapter``."""
    from peft import PeftMixedModel, PeftModel

    return isinstance(model, PeftModel | PeftMixedModel) or getattr(model, "_hf_peft_config_loaded", False)


def active_adapters(model: torch.nn.Module) -> list[str]:
    """Return the names of the adapters that a model computes with; none if it has no adapters."""
    if not is_adapted(model):
        return []
    # `peft` has a property where `transformers` has a method.
    names = model.active_adapters
    return list(names() if callable(names) else names)


def check_trainable(model: torch.nn.Module) -> None:
    """Check that something of a model can be trained and, if it has adapters, that their checkpoint will hold it all.

    Raises:
        BadInput: If every weight is frozen, an adapter is merged or switched off, its kind is not supported, or a
            weight or statistic that training changes is no part of the adapter.
    """
    model = extract_model_from_parallel(model, keep_torch_compile=False)
    layers = _adapter_layers(model)
    if layers and not is_adapted(model):
        raise BadInput(
            f"{type(model).__name__} has adapter layers and does not know them, so it would not save them. Add them "
            "by `get_peft_model` or by the model's own `add_adapter`."
        )
    if is_adapted(model):
        _check_adapters(model, layers)
    if not any(weight.requires_grad for weight in model.parameters()):
        hint = " Load the adapter with is_trainable=True." if layers else ""
        raise BadInput(
            f"Every weight of {type(model).__name__} is frozen (requires_grad is False), so nothing can be "
            f"unlearned. Unfreeze what is to be trained.{hint}"
        )


def _check_adapters(model: torch.nn.Module, layers: list[torch.nn.Module]) -> None:
    from peft import PeftMixedModel

    names = active_adapters(model)
    if isinstance(model, PeftMixedModel) or len(names) != 1:
        raise BadInput(
            f"{len(names)} adapters are active ({', '.join(names)}{', mixed' if len(names) == 1 else ''}), and one is "
            "trained and saved at a time. Choose it: model.set_adapter(NAME) of a model that is not mixed."
        )
    config = model.peft_config[names[0]]
    kind = str(getattr(config.peft_type, "value", config.peft_type))
    if config.is_prompt_learning or kind in REFUSED:
        why = REFUSED.get(kind, "they put tokens of their own before a row's, so logits and labels stand apart")
        raise BadInput(f"Adapters of the kind {kind} are not supported: {why}. Use LoRA, IA3 or layer-norm tuning.")
    if any(layer.merged for layer in layers if hasattr(layer, "merged")):
        raise BadInput("The adapter is merged into the weights, so training it changes nothing. Unmerge it first.")
    if any(layer.disable_adapters for layer in layers):
        raise BadInput("The adapter is switched off, so training it changes nothing. Call enable_adapters() first.")
    saved = {tensor.data_ptr() for tensor in adapter_state(model, names[0]).values()}
    trained = {name: weight.data_ptr() for name, weight in model.named_parameters() if weight.requires_grad}
    lost = [name for name, place in trained.items() if place not in saved]
    if lost:
        raise BadInput(
            f"{len(lost)} weights are trained that are no part of the adapter, such as {lost[0]}, so its checkpoint "
            "would not hold them. Name their modules in modules_to_save, or freeze them."
        )
    moving = [
        name
        for name, buffer in model.named_buffers()
        if name.endswith(("running_mean", "running_var")) and buffer.data_ptr() not in saved and not _switched_off(name)
    ]
    if moving:
        raise BadInput(
            f"{len(moving)} running statistics change in training and are no part of the adapter, such as {moving[0]}, "
            "so its checkpoint would not hold them. Name their modules in modules_to_save."
        )


def _switched_off(name: str) -> bool:
    """Return whether a module's name says that an adapter's copy of it takes its place."""
    return ".original_module." in f".{name}"


def _adapter_layers(model: torch.nn.Module) -> list[torch.nn.Module]:
    from peft.tuners.tuners_utils import BaseTunerLayer
    from peft.utils import AuxiliaryTrainingWrapper

    return [module for module in model.modules() if isinstance(module, BaseTunerLayer | AuxiliaryTrainingWrapper)]


def adapter_state(model: torch.nn.Module, name: str) -> dict[str, Tensor]:
    """Return what a checkpoint of one adapter holds, by the names in it."""
    from peft import get_peft_model_state_dict

    return get_peft_model_state_dict(model, adapter_name=name, save_embedding_layers=False)


def adapter_settings(model: torch.nn.Module) -> dict[str, Any]:
    """Return how the active adapters of a model compute, which their weights alone do not say, as plain JSON types.

    Args:
        model: The model; one without adapters has no such settings.
    """
    return {name: plain_settings(model.peft_config[name].to_dict()) for name in active_adapters(model)}


def plain_settings(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the fields of an adapter's configuration that say how it computes, as plain JSON types."""
    places = ("base_model_name_or_path", "revision", "auto_mapping", "inference_mode", "peft_version")
    plain = json.loads(json.dumps(_plain(dict(config)), default=str))
    return {key: value for key, value in plain.items() if key not in places}


def _plain(value: Any) -> Any:
    """Return a setting whose names are in one order and named once: `peft` adds some to a user's own list."""
    if isinstance(value, dict):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple | set):
        return sorted({str(part) for part in value})
    return value


def trained_copies(model: torch.nn.Module) -> Iterator[str]:
    """Yield the names of those modules of a bare model in whose place an adapter trains a copy of the whole module."""
    from peft.tuners.ln_tuning.layer import LNTuningLayer
    from peft.utils import ModulesToSaveWrapper

    for name, module in model.named_modules():
        if isinstance(module, ModulesToSaveWrapper | LNTuningLayer):
            yield name


def carry_gradients(model: torch.nn.Module) -> None:
    """Let gradients reach trained weights behind frozen ones under re-entrant gradient checkpointing.

    Such a checkpoint passes gradients only if one of its inputs needs them, and the output of frozen embeddings does
    not: without this, the layers' weights are silently left as they are.

    Raises:
        BadInput: If the model does not say which its embeddings are.
    """
    try:
        bare_model(model).enable_input_require_grads()
    except (AttributeError, NotImplementedError) as error:
        raise BadInput(
            f"{type(model).__name__} is partly frozen and does not say which its embeddings are, so that re-entrant "
            "gradient checkpointing would leave weights untrained. Leave use_reentrant out."
        ) from error
