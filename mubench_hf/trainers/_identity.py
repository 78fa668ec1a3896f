"""Which settings of a config affect a run's outcome."""

from __future__ import annotations

import dataclasses
import enum
import json
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import TrainingArguments

NOT_IDENTITY = frozenset(
    [
        "output_dir",
        "teacher_cache_dir",
        "disable_tqdm",
        "run_name",
        "report_to",
        "log_level",
        "log_level_replica",
        "save_total_limit",
        "save_strategy",
        "save_steps",
        "save_minutes",
        "logging_strategy",
        "logging_steps",
        "eval_strategy",
        "eval_steps",
        "push_to_hub",
        "hub_model_id",
        "hub_token",
        "hub_strategy",
        "hub_private_repo",
        "hub_revision",
        "hub_always_push",
        "resume_from_checkpoint",
        "seed",
        "fsdp",
        "fsdp_config",
    ]
)
"""Arguments that do not affect the outcome, only where files go, what is logged and which process holds which weights;
the seed is in the run's name."""


NEUTRAL = NOT_IDENTITY | frozenset((
    "project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id", "log_on_each_node",
    "logging_first_step", "logging_nan_inf_filter", "include_num_input_tokens_seen", "skip_memory_metrics",
    "prediction_loss_only", "eval_do_concat_batches", "eval_use_gather_object", "eval_accumulation_steps",
    "batch_eval_metrics", "per_device_eval_batch_size", "save_only_model", "save_on_each_node",
    "enable_jit_checkpoint", "use_cpu", "local_rank", "ddp_timeout", "ddp_backend", "do_train", "do_eval", "do_predict",
    "dataloader_num_workers", "dataloader_pin_memory", "dataloader_persistent_workers", "dataloader_prefetch_factor",
    "dataloader_multiprocessing_context",
))  # fmt: skip
"""Arguments that a killed run may go on with changed: they move no weight."""


MINUTES = "minutes"
"""The ``save_strategy`` of saving a state whenever so many minutes have passed."""

SELECTING = frozenset(("eval_strategy", "eval_steps", "save_strategy", "save_steps"))
"""Arguments that affect the outcome after all if evaluation chooses the weights."""


def selects(args: TrainingArguments) -> bool:
    """Return whether what is measured on evaluation rows decides which weights a run ends with."""
    return (
        args.load_best_model_at_end
        or args.save_strategy == "best"
        or args.lr_scheduler_type in ("reduce_lr_on_plateau", "greedy")
    )


def changed_arguments(args: TrainingArguments) -> dict[str, Any]:
    """Return the settings of a config that differ from its class's defaults and affect the outcome."""
    default = type(args)(output_dir=args.output_dir, use_cpu=args.use_cpu)
    neutral = NOT_IDENTITY - SELECTING if selects(args) else NOT_IDENTITY
    changed = {}
    for spec in dataclasses.fields(args):
        value, usual = getattr(args, spec.name), getattr(default, spec.name)
        if spec.name == "save_strategy":  # Only read where evaluation chooses the weights, see ``_settle_saving``.
            usual = "epoch"
        if spec.init and spec.name not in neutral and value != usual:
            changed[spec.name] = plain(value)
    return changed


def moving_arguments(args: TrainingArguments) -> dict[str, Any]:
    """Return the settings of a config that a run must go on with as it began, defaults included."""
    neutral = NEUTRAL - SELECTING if selects(args) else NEUTRAL
    names = [spec.name for spec in dataclasses.fields(args) if spec.init and spec.name not in neutral]
    return {name: plain(getattr(args, name)) for name in names}


def plain(value: Any) -> Any:
    """Return a setting as a JSON type."""
    return json.loads(json.dumps(value.value if isinstance(value, enum.Enum) else value, default=str))
