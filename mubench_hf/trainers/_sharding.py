"""Models that FSDP2 deals out to several processes: what of it is supported, and a teacher dealt out alike."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

import torch
from accelerate.utils import str_to_bool
from transformers import PreTrainedModel

from mubench_hf.errors import BadInput
from mubench_hf.models.adapters import is_adapted
from mubench_hf.models.loading import frozen
from mubench_hf.models.sharded import is_sharded

if TYPE_CHECKING:
    from accelerate.utils import FullyShardedDataParallelPlugin

    from mubench_hf.trainers._base import UnlearningTrainer
    from mubench_hf.trainers._config import UnlearningConfig

LAUNCHED = "ACCELERATE_USE_FSDP"
"""What ``accelerate launch`` sets for a configuration with FSDP."""


def asks_for_fsdp(config: UnlearningConfig) -> bool:
    """Return whether the arguments or the launcher ask for FSDP."""
    return bool(config.fsdp) or bool(str_to_bool(os.environ.get(LAUNCHED, "false")))


def check_before_sharding(config: UnlearningConfig, model: PreTrainedModel, has_optimizer: bool) -> None:
    """Refuse what cannot be dealt out, or would not be trained right in parts.

    Raises:
        BadInput: For the first such thing.
    """
    if asks_for_fsdp(config):
        for what in _unsupported(config, model, has_optimizer):
            raise BadInput(f"FSDP shards the model over processes, but {what}")


def _unsupported(config: UnlearningConfig, model: PreTrainedModel, has_optimizer: bool) -> Iterator[str]:
    if is_adapted(model):
        yield "this one has adapters, whose saved states are not proven in parts. Train it without FSDP, or whole."
    if not isinstance(model, PreTrainedModel):
        yield f"{type(model).__name__} is no PreTrainedModel, which alone says where it can be cut. Make it one."
    if any(not weight.requires_grad for weight in model.parameters()):
        yield "a part of this one is frozen, which is not proven in parts. Unfreeze it, or train it without FSDP."
    if any(name.endswith(("running_mean", "running_var")) for name, _ in model.named_buffers()):
        yield "its running statistics would be those of one process's rows. Train it without FSDP."
    if has_optimizer:
        yield "an optimizer that you made holds the whole weights. Give its class, as optimizer_cls_and_kwargs."
    if config.auto_find_batch_size:
        yield "auto_find_batch_size would try again on one process alone. Set per_device_train_batch_size."
    if config.torch_compile:
        yield "torch_compile of it is not proven in parts. Leave it out."


def check_sharding(trainer: UnlearningTrainer) -> None:
    """Refuse settings of FSDP that are not supported, whether arguments or the launcher gave them.

    Raises:
        BadInput: If FSDP would not be used although it was asked for, or one of its settings is not supported.
    """
    if not trainer.is_fsdp_enabled:
        if asks_for_fsdp(trainer.args):
            raise BadInput(
                f"FSDP is asked for, but there is {trainer.args.world_size} process on {trainer.args.device.type}: it "
                "takes two or more, each with a GPU of its own. Start them by `accelerate launch`, or leave FSDP out."
            )
        return
    plugin = trainer.accelerator.state.fsdp_plugin
    refused = {
        "version 1": (plugin.fsdp_version != 2, "set version 2"),
        "cpu_ram_efficient_loading": (
            plugin.cpu_ram_efficient_loading,
            "set it to false, so that every process can check the original's weights",
        ),
        "activation_checkpointing": (
            plugin.activation_checkpointing,
            "set gradient_checkpointing instead, which draws dropout again as it was",
        ),
        "cpu_offload": (bool(plugin.cpu_offload) and _offloads(plugin.cpu_offload), "leave it out"),
        "ignored_modules": (plugin.ignored_modules is not None, "leave it out, so that all gradients are averaged"),
    }
    for name, (found, instead) in refused.items():
        if found:
            raise BadInput(f"FSDP with {name} is not supported: {instead}.")


def _offloads(policy: object) -> bool:
    return type(policy).__name__ == "CPUOffloadPolicy" or getattr(policy, "offload_params", False)


def check_optimizer_state(plugin: FullyShardedDataParallelPlugin, optimizer: torch.optim.Optimizer) -> None:
    """Refuse to save what could not be read again.

    Raises:
        BadInput: If a state is to be whole and the optimizer keeps nothing: torch then cannot tell where to put it.
    """
    if "FULL" in str(plugin.state_dict_type) and not optimizer.state:
        raise BadInput(
            "FSDP cannot put back a whole state of an optimizer that keeps none, such as SGD without momentum. Set "
            "fsdp_config's state_dict_type to SHARDED_STATE_DICT, or save_strategy to no."
        )


def spread(trainer: UnlearningTrainer, model: PreTrainedModel) -> PreTrainedModel:
    """Return a frozen model, dealt out as the student is; as it is if the student is whole."""
    if not trainer.is_fsdp_enabled:
        return model
    from accelerate.utils.fsdp_utils import fsdp2_prepare_model

    return fsdp2_prepare_model(trainer.accelerator, frozen(model))


def check_wrapped(trainer: UnlearningTrainer, model: torch.nn.Module) -> None:
    """Refuse to run a model that is not dealt out yet, which only training does.

    Raises:
        BadInput: If FSDP is on and the model is still whole.
    """
    if trainer.is_fsdp_enabled and not is_sharded(model):
        raise BadInput("FSDP deals out a model as it is trained, so it can be evaluated only then. Call train() first.")
