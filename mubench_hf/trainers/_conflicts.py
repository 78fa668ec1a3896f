"""Arguments that are refused because of what another argument, or this machine, says."""

from __future__ import annotations

import copy
import os
from collections.abc import Iterator
from numbers import Real
from typing import TYPE_CHECKING, Any

import torch
from accelerate.utils import DynamoBackend, str_to_bool
from transformers import TrainingArguments
from transformers.trainer_utils import SchedulerType
from transformers.utils import is_torch_xla_available

from mubench_hf.errors import BadInput
from mubench_hf.trainers._arguments import ARGUMENTS
from mubench_hf.trainers._identity import MINUTES
from mubench_hf.utils.processes import NOT_JOINED, launched_processes

if TYPE_CHECKING:
    from mubench_hf.trainers._config import UnlearningConfig

WITHOUT_WARMUP = (SchedulerType.CONSTANT, SchedulerType.REDUCE_ON_PLATEAU, SchedulerType.GREEDY)
SHARDING = ("ACCELERATE_USE_DEEPSPEED", "ACCELERATE_USE_MEGATRON_LM", "ACCELERATE_USE_PARALLELISM_CONFIG")
"""What a launcher sets for models that are sharded over processes otherwise than by FSDP."""


ONE_FOR_ALL = (
    "one process would divide each batch among these GPUs and make updates of that many times the rows. Start one "
    "for each, accelerate launch --num_processes {count} -m mubench_hf.scripts.unlearn ..., or choose one GPU, "
    "CUDA_VISIBLE_DEVICES=0."
)

MOST_EPOCHS = 10**6
"""Epochs that a run can count before it starts."""


def check_before(config: UnlearningConfig) -> None:
    """Refuse what ``TrainingArguments`` would fail at, or act on at once.

    Raises:
        BadInput: If the run has no length, or processes cannot be joined as they are asked to.
    """
    epochs, steps = config.num_train_epochs, config.max_steps
    if steps == 0:
        raise BadInput("max_steps is 0, so no update would be made; allowed: at least 1, or -1 for whole epochs.")
    if steps < 0 and not (isinstance(epochs, Real) and 0 < epochs <= MOST_EPOCHS):
        why = ARGUMENTS["num_train_epochs"].why
        raise BadInput(f"num_train_epochs is {epochs!r}; allowed: a number above 0 and at most {MOST_EPOCHS:,}. {why}")
    if config.ddp_backend is not None and launched_processes() < 2:
        why = ARGUMENTS["ddp_backend"].why
        raise BadInput(f"ddp_backend is {config.ddp_backend!r}, but there is one process. {why}")
    on_cpu = config.use_cpu or str_to_bool(os.environ.get("ACCELERATE_USE_CPU", "false"))
    if launched_processes() > 1 and not on_cpu and not torch.accelerator.is_available():
        # Trainer would join them by no backend that it reads.
        raise BadInput(f"WORLD_SIZE is {launched_processes()}: {NOT_JOINED}")
    if config.fsdp and launched_processes() < 2:
        raise BadInput(f"fsdp is {config.fsdp!r}, but there is one process. {ARGUMENTS['ddp_backend'].why}")
    if config.fsdp_config and not config.fsdp:
        raise BadInput(f"fsdp_config is {config.fsdp_config!r}, but only fsdp reads it. Set fsdp, or leave it out.")
    for name in SHARDING:
        if str_to_bool(os.environ.get(name, "false")):
            raise BadInput(f"The launcher sets {name}. {ARGUMENTS['deepspeed'].why}")


def check_after(config: UnlearningConfig) -> None:
    """Refuse arguments that do not go with the others, once ``TrainingArguments`` has put them into their usual form.

    Raises:
        BadInput: For the first such argument.
    """
    for name, found, instead in _conflicts(config):
        raise BadInput(f"{name} is {found!r}: {instead}")


def _conflicts(config: UnlearningConfig) -> Iterator[tuple[str, Any, str]]:
    """Yield name and value of each argument that does not go with the others, and what to do."""
    if config.fp16 and config.device.type == "cpu":
        yield "fp16", True, "its loss scaling needs a GPU. Use bf16."
    if config.warmup_steps and config.lr_scheduler_type in WITHOUT_WARMUP:
        schedule = config.lr_scheduler_type.value
        yield "warmup_steps", config.warmup_steps, f"{schedule} has no warmup. Leave it out, or use another schedule."
    yield from _optimizer_conflicts(config)
    if config.save_minutes != type(config).__dataclass_fields__["save_minutes"].default:
        strategy = getattr(config.save_strategy, "value", config.save_strategy)
        if strategy != MINUTES:
            why = f"states are saved by save_strategy {strategy}. Leave it out, or use save_strategy {MINUTES}."
            yield "save_minutes", config.save_minutes, why
    if config.dataloader_persistent_workers and not config.dataloader_num_workers:
        yield "dataloader_persistent_workers", True, "there are no workers. Set dataloader_num_workers too."
    if config.label_names is not None and "labels" not in config.label_names:
        yield "label_names", config.label_names, "methods read a row's label as `labels`. Name it too."
    backends = [backend.value.lower() for backend in DynamoBackend]
    if config.torch_compile and str(config.torch_compile_backend).lower() not in backends:
        yield "torch_compile_backend", config.torch_compile_backend, f"there is no such one. Use {', '.join(backends)}."
    if "tpu_metrics_debug" in config.debug and not is_torch_xla_available():
        yield "debug", "tpu_metrics_debug", "there is no TPU. Leave it out."
    yield from _process_conflicts(config)
    yield from _launch_conflicts(config)
    yield from _report_conflicts(config)


def _optimizer_conflicts(config: UnlearningConfig) -> Iterator[tuple[str, Any, str]]:
    usual, optim = TrainingArguments.__dataclass_fields__, config.optim.value
    if optim in ("lomo", "adalomo") or optim.endswith("layerwise"):
        yield "optim", optim, f"{ARGUMENTS['optim'].why} Use another, such as {usual['optim'].default}."
    if config.optim_target_modules is not None and not optim.startswith(("galore", "apollo")):
        yield "optim_target_modules", config.optim_target_modules, f"{optim} does not read it. Leave it out."
    read = ("optim_args", "adam_beta1", "adam_beta2", "adam_epsilon")
    changed = [name for name in read if getattr(config, name) != usual[name].default]
    if not changed and optim == usual["optim"].default:
        return
    made = _made(config)
    for name in changed:
        plain = copy.copy(config)
        setattr(plain, name, usual[name].default)
        if made == _made(plain):
            yield name, getattr(config, name), f"{optim} does not read it. Leave it out."


def _made(config: UnlearningConfig) -> Any:
    """Return the optimizer's class and arguments, or ``None`` if only a model says what they are.

    Raises:
        BadInput: If it cannot be made.
    """
    from transformers import Trainer

    try:
        return Trainer.get_optimizer_cls_and_kwargs(config, None)
    except (ImportError, ValueError, TypeError) as error:
        if "model" in str(error) and "optim_target_modules" not in str(error):
            return object()
        raise BadInput(f"optim is {config.optim.value!r}, which cannot be made: {error}") from error


def _process_conflicts(config: UnlearningConfig) -> Iterator[tuple[str, Any, str]]:
    if config.world_size == 1 and launched_processes() > 1:
        yield "WORLD_SIZE", launched_processes(), NOT_JOINED
    if config.n_gpu > 1:
        yield "n_gpu", config.n_gpu, ONE_FOR_ALL.format(count=config.n_gpu)


def _launch_conflicts(config: UnlearningConfig) -> Iterator[tuple[str, Any, str]]:
    asked, why = config.accelerator_config, ARGUMENTS["accelerator_config"].why
    usual = {"split_batches": False, "dispatch_batches": None, "use_seedable_sampler": True}
    for key, value in usual.items():
        if getattr(asked, key) != value:
            yield "accelerator_config", {key: getattr(asked, key)}, f"{why} Leave it out."
    # Trainer itself puts num_steps there, as 1.
    for key, value in (asked.gradient_accumulation_kwargs or {}).items():
        if key != "sync_each_batch" and (key, value) != ("num_steps", 1):
            yield "accelerator_config", {"gradient_accumulation_kwargs": {key: value}}, f"{why} Leave it out."


def _report_conflicts(config: UnlearningConfig) -> Iterator[tuple[str, Any, str]]:
    usual = TrainingArguments.__dataclass_fields__
    for name in ("project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id"):
        value = getattr(config, name)
        if value != usual[name].default and "trackio" not in config.report_to:
            yield name, value, "only trackio reads it, and report_to does not name trackio. Leave it out."
    if not config.report_to:
        return
    from transformers.integrations import integration_utils

    known = integration_utils.INTEGRATION_TO_CALLBACK
    for name in config.report_to:
        if name not in known:
            yield "report_to", name, f"allowed: none, all, {', '.join(sorted(known))}."
        elif name not in integration_utils.get_available_reporting_integrations():
            try:
                known[name]()
            except Exception as error:
                yield "report_to", name, f"{error} Install it, or leave it out."
