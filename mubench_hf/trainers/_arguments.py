"""Every field of ``TrainingArguments``: what it does in an unlearning trainer, or why it is refused."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import MISSING, dataclass, fields
from types import MappingProxyType
from typing import Any

import transformers
from transformers import TrainingArguments

from mubench_hf.errors import BadInput
from mubench_hf.trainers._settings import MOST_PROCESSES, Range, check_number

COUNT, SEED = Range(least=1, whole=True), Range(least=0, below=2**32, whole=True)


@dataclass(frozen=True)
class Argument:
    """One field of ``TrainingArguments``.

    Attributes:
        name: The field.
        note: What it does here, where that is not what it does in ``Trainer``.
        allowed: The numbers that it may be.
        only: The values that it may have, the default first; nothing if it may have others.
        when: Which other values are refused, in words; ``_conflicts.py`` does.
        why: Why values are refused.
        commands: Whether the commands take it too.
    """

    name: str
    note: str = ""
    allowed: Range | None = None
    only: tuple[Any, ...] = ()
    when: str = ""
    why: str = ""
    commands: bool = True

    def check(self, value: Any, default: Any) -> None:
        """Refuse a value that would have no effect, or not the one it promises.

        Raises:
            BadInput: If ``value`` is such a value.
        """
        if self.allowed:
            check_number(self.name, value, self.allowed, default)
        value = getattr(value, "value", value)
        if self.only and value not in self.only:
            raise BadInput(f"{self.name} is {value!r}. {self.why} Leave it at {self.only[0]!r}.")

    @property
    def refused(self) -> str:
        """Which values are refused, in words; empty if none is."""
        return "; ".join(
            part
            for part in (
                f"other than {', '.join(f'`{value!r}`' for value in self.only if value != '')}" if self.only else "",
                f"not {self.allowed}" if self.allowed else "",
                self.when,
            )
            if part
        )


def _works(*names: str) -> Iterable[Argument]:
    return (Argument(name) for name in names)


def _numbers(allowed: Range, *names: str) -> Iterable[Argument]:
    return (Argument(name, allowed=allowed) for name in names)


_SCRIPT = "For a script of your own to read, as with `Trainer`; the commands refuse it."
_OPTIM = "An optimizer that updates weights in the backward pass does so before an update is checked and masked."
_SHARDED = (
    "Masks, teachers and saved states are proven for weights that are whole, or sharded by FSDP2, and not for these. "
    "Use several processes by `accelerate launch`, with FSDP2 for a model that does not fit."
)
_TRACKIO = ("`report_to` names no trackio", "Nothing else reads it.")

_ALL = (
    Argument("output_dir"),
    Argument("per_device_train_batch_size", "Rows of a micro-batch; a pass may have its own number. A preset's are of "
             "one process; several share them.", COUNT),
    Argument("num_train_epochs", "A method says what an epoch is; see its passes.",
             when="not a number above 0 and at most a million",
             why="A run needs at least a part of one epoch, unless `max_steps` is given."),
    Argument("max_steps", allowed=Range(least=-1, most=10**9, whole=True), when="0", why="No update would be made."),
    *_numbers(Range(least=0, tune=10.0), "learning_rate"),
    *_works("lr_scheduler_type", "lr_scheduler_kwargs"),
    Argument("warmup_steps", allowed=Range(least=0), when="with a schedule that has no warmup",
             why="It would be passed over; `constant_with_warmup` has one."),
    Argument("optim", when="`lomo`, `adalomo` and the layerwise ones; one whose package is missing", why=_OPTIM),
    Argument("optim_args", when="with an optimizer that reads none", why="It would be passed over."),
    Argument("weight_decay", allowed=Range(least=0)),
    *(Argument(name, allowed=Range(least=0, below=1), when="with an optimizer that has none",
               why="It would be passed over.") for name in ("adam_beta1", "adam_beta2")),
    Argument("adam_epsilon", allowed=Range(least=0), when="with an optimizer that has none",
             why="It would be passed over."),
    Argument("optim_target_modules", when="with an optimizer other than galore and apollo",
             why="It would be passed over."),
    Argument("gradient_accumulation_steps", "Micro-batches of an update, whose loss is the mean over all its rows.",
             COUNT),
    Argument("average_tokens_across_devices", only=(True,),
             why="A loss is always the mean over an update's rows on all processes."),
    *_numbers(Range(least=0, finite=False), "max_grad_norm"),
    Argument("label_smoothing_factor", only=(0.0,),
             why="A method minimises its own loss, so it would smooth the evaluation loss alone."),
    Argument("bf16"),
    Argument("fp16", when="on a CPU", why="Its loss scaling needs a GPU; `bf16` works on both."),
    *_works("bf16_full_eval", "fp16_full_eval", "tf32"),
    *_works("activation_checkpointing", "activation_checkpointing_kwargs"),
    *_works("gradient_checkpointing", "gradient_checkpointing_kwargs"),
    Argument("torch_compile", "A model that you compiled yourself, `torch.compile(model)`, is trained like that."),
    *_works("torch_compile_backend", "torch_compile_mode"),
    Argument("use_liger_kernel", only=(False,),
             why="Its kernels compute a loss without logits, and a method computes its own from them."),
    Argument("liger_kernel_config", only=(None,), why="`use_liger_kernel` is refused."),
    Argument("use_cache"),
    *_numbers(Range(above=0), "neftune_noise_alpha"),
    *_numbers(COUNT, "torch_empty_cache_steps"),
    Argument("auto_find_batch_size", "Each try starts from the same weights. Updates have fewer rows, so the commands, "
             "whose runs are named by their settings, refuse it.", commands=False),
    Argument("logging_strategy"),
    *_numbers(Range(least=0), "logging_steps"),
    *_works("logging_first_step", "log_on_each_node"),
    Argument("logging_nan_inf_filter", "For evaluation; training stops at the first loss that is not finite."),
    *_works("include_num_input_tokens_seen", "log_level", "log_level_replica", "disable_tqdm"),
    Argument("report_to", when="an unknown one, or one whose package is missing", why="Nothing would be reported."),
    Argument("run_name"),
    *(Argument(name, when=_TRACKIO[0], why=_TRACKIO[1])
      for name in ("project", "trackio_space_id", "trackio_bucket_id", "trackio_static_space_id")),
    Argument("eval_strategy"),
    *_numbers(Range(least=0), "eval_steps", "eval_delay"),
    *_numbers(COUNT, "per_device_eval_batch_size"),
    *_works("prediction_loss_only", "eval_on_start", "eval_do_concat_batches", "eval_use_gather_object"),
    *_numbers(COUNT, "eval_accumulation_steps"),
    *_works("include_for_metrics", "batch_eval_metrics"),
    Argument("save_only_model", "Such a state cannot be resumed from."),
    Argument("save_strategy", "By `minutes` unless one is given: a state whenever `save_minutes` have passed. Where "
             "evaluation chooses the weights, by epoch."),
    Argument("save_steps", "Given alone, it means `save_strategy=\"steps\"`, as in `Trainer`.", Range(least=0)),
    Argument("save_on_each_node"),
    *_numbers(COUNT, "save_total_limit"),
    Argument("enable_jit_checkpoint", only=(False,), why="The run would end early and be taken for a finished one; "
             "a killed run goes on from its last saved state, so set `save_steps`."),
    Argument("push_to_hub", "Once, when the run has ended."),
    *_works("hub_token", "hub_private_repo", "hub_model_id"),
    Argument("hub_strategy", "`every_save` and `end` both push the finished model.", only=("every_save", "end"),
             why="States to resume from hold pickles and are never pushed; the finished model is."),
    Argument("hub_always_push", only=(False,), why="The finished model is pushed once, and nothing before it."),
    *_works("hub_revision", "load_best_model_at_end", "metric_for_best_model", "greater_is_better"),
    *_works("ignore_data_skip", "restore_callback_states_from_checkpoint", "full_determinism"),
    Argument("seed", "Of everything that a method draws, and of the order of rows unless `data_seed` is given.", SEED),
    Argument("data_seed", "Seed of the order of rows.", SEED),
    Argument("use_cpu", "Several processes on CPUs are joined only with it."),
    Argument("accelerator_config", "`even_batches`, `non_blocking`, `use_configured_state` and `sync_each_batch` work.",
             when="any other key away from its default",
             why="The trainer deals out rows itself, and counts accumulation by `gradient_accumulation_steps`."),
    Argument("parallelism_config", only=(None,), why=_SHARDED),
    Argument("dataloader_drop_last", only=(False,), why="A method's passes leave out no row."),
    *_numbers(Range(least=0, most=MOST_PROCESSES, whole=True), "dataloader_num_workers"),
    Argument("dataloader_pin_memory"),
    Argument("dataloader_persistent_workers", when="without workers", why="There is nothing to keep."),
    *_numbers(COUNT, "dataloader_prefetch_factor"),
    Argument("dataloader_multiprocessing_context"),
    Argument("dataloader_in_order", only=(True,), why="The order of rows is a function of the seed alone."),
    Argument("remove_unused_columns", "In training, evaluation and prediction alike, after rows were prepared; off by "
             "default. A data_collator of your own is then given only what the model takes."),
    Argument("label_names", when="without `labels`", why="Methods read a row's label as `labels`."),
    Argument("train_sampling_strategy", only=("random",), why="A method's passes say which rows an update takes."),
    Argument("length_column_name", only=("length",), why="Rows are not grouped by length."),
    *_works("ddp_find_unused_parameters", "ddp_bucket_cap_mb", "ddp_broadcast_buffers", "ddp_static_graph"),
    Argument("ddp_backend", when="with one process",
             why="There is nothing to join; start several by `accelerate launch`, on CPUs by `torchrun`."),
    *_numbers(COUNT, "ddp_timeout"),
    Argument("fsdp", "FSDP2, whose states can be whole or in parts; see `docs/launch.md`.",
             when="with one process or without GPUs; with adapters, frozen weights, running statistics, an optimizer "
             "of your own, `auto_find_batch_size` or `torch_compile`", why="What is not proven in parts is refused."),
    Argument("fsdp_config", when="version 1, `cpu_ram_efficient_loading`, `activation_checkpointing`, `cpu_offload`, "
             "XLA", why="What is not proven is refused."),
    Argument("deepspeed", only=(None,), why=_SHARDED),
    Argument("debug", when="`tpu_metrics_debug` without a TPU", why="There is nothing to report."),
    Argument("skip_memory_metrics"),
    *(Argument(name, _SCRIPT, commands=False) for name in ("do_train", "do_eval", "do_predict")),
    Argument("resume_from_checkpoint", _SCRIPT + " A run that was killed goes on by itself when its command is given "
             "again.", commands=False),
    Argument("local_rank", "Not read, as by `Trainer`; old launchers pass it."),
)  # fmt: skip

ARGUMENTS = MappingProxyType({each.name: each for each in _ALL})
"""Name of a field of ``TrainingArguments`` → what it does, in their order."""


def check_arguments(config: TrainingArguments) -> None:
    """Refuse values of ``TrainingArguments`` that would have no effect, or not the one they promise.

    A field that a later version of ``transformers`` adds must keep its default.

    Raises:
        BadInput: For the first such value.
    """
    for spec in fields(TrainingArguments):
        value = getattr(config, spec.name)
        default = spec.default if spec.default_factory is MISSING else spec.default_factory()
        if spec.name in ARGUMENTS:
            ARGUMENTS[spec.name].check(value, default)
        elif value != default:
            raise BadInput(
                f"{spec.name} is {value!r}, but what it does in unlearning is not known: transformers "
                f"{transformers.__version__} is newer than this package. Leave it out."
            )


def check_command(config: TrainingArguments) -> None:
    """Refuse what only a script of one's own can use.

    Raises:
        BadInput: If a command was given such an argument.
    """
    # An evaluation strategy sets do_eval.
    usual = type(config)(output_dir=config.output_dir, use_cpu=config.use_cpu, eval_strategy=config.eval_strategy)
    for each in _ALL:
        if not each.commands and (value := getattr(config, each.name)) != getattr(usual, each.name):
            raise BadInput(f"--{each.name} {value}: {each.note} Leave it out.")


def argument_table() -> str:
    """Return all fields as a Markdown table."""
    lines = [("Argument", "Here", "Refused", "Why"), ("---",) * 4]
    for each in _ALL:
        nothing = bool(each.only) and each.name != "hub_strategy"
        does = each.note or ("-" if nothing else "as in `Trainer`")
        lines.append((f"`{each.name}`", does, each.refused or "-", each.why or "-"))
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
