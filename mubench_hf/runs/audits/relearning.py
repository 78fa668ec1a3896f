"""Trains a copy of a model on a few rows, a step at a time, and looks what comes back of D_f."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, fields
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import torch
from transformers import PrinterCallback, TrainerCallback

from mubench_hf.errors import BadInput
from mubench_hf.models.device import exact_arithmetic, give_back_memory, model_device, on_device, usable_threads
from mubench_hf.models.precision import in_float32
from mubench_hf.runs.audits.curves import Curve, Points
from mubench_hf.runs.audits.rows import FORGET, TuningRows, tuning_rows
from mubench_hf.runs.audits.scoring import RowsScore, mean_loss, score_rows
from mubench_hf.trainers import get_method
from mubench_hf.trainers._settings import ALLOWED, check_number, range_of, setting

if TYPE_CHECKING:
    from mubench_hf.data.prepare import TaskData

WITHIN = 0.05
"""How far above the original's loss on D_f, as a share of it, a model has relearned D_f."""


@dataclass(frozen=True)
class Relearning:
    """How a model is trained in an audit, the same for all models that are compared.

    The learning rate stays as it is from the first step to the last, so what a model is after k steps does not hang on
    how many are made.

    Args:
        steps: The numbers of steps after which the task's own score is taken, besides 0.
        most_steps: Steps after which D_f counts as not relearned.
        learning_rate: Learning rate; default: the task's preset for fine-tuning.
        batch_size: Rows of a step; default: the task's.
        seed: Seed of the order of rows, and of which tenth of D_f is shown.
    """

    steps: tuple[int, ...] = (1, 2, 5, 10, 20)
    most_steps: int = setting(100, least=1)
    learning_rate: float | None = setting(None, above=0)
    batch_size: int | None = setting(None, least=1)
    seed: int = setting(0, least=0, most=2**32 - 1)

    def __post_init__(self) -> None:
        """Check the numbers, and sort the steps.

        Raises:
            BadInput: If one is not allowed.
        """
        steps = tuple(self.steps)
        if not steps or any(type(step) is not int or step < 1 for step in steps):
            raise BadInput(f"steps are {list(steps)}; allowed: one or more whole numbers, 1 or above.")
        object.__setattr__(self, "steps", tuple(sorted(set(steps))))
        for spec in fields(self):
            if allowed := range_of(spec, spec.metadata.get(ALLOWED)):
                check_number(spec.name, getattr(self, spec.name), allowed, spec.default)
        if self.most_steps < self.steps[-1]:
            raise BadInput(
                f"most_steps is {self.most_steps}, and scores are asked for after {self.steps[-1]} steps. Make it as "
                "many, or leave out those steps."
            )

    def arguments(self, data: TaskData) -> dict[str, Any]:
        """Return the training arguments that it comes to for a task: the task's own for fine-tuning, with these."""
        source = data.task.source(data.variant)
        preset = {**source.settings, **source.presets.get("finetune", {})}
        for name in ("num_train_epochs", "warmup_steps", "warmup_ratio", "lr_scheduler_kwargs"):
            preset.pop(name, None)
        own = {"learning_rate": self.learning_rate, "per_device_train_batch_size": self.batch_size}
        return {
            **preset,
            **{name: value for name, value in own.items() if value is not None},
            "lr_scheduler_type": "constant",
        }


def relearn(
    model: Any,
    data: TaskData,
    *,
    on: str = FORGET,
    settings: Relearning | None = None,
    target: float | None = None,
    use_cpu: bool = False,
    callbacks: Sequence[TrainerCallback] = (),
) -> Curve:
    """Train a copy of a model on D_f, D_r, unrelated rows or a tenth of D_f, and return what became of D_f.

    Equal models and settings give equal curves: the order of rows hangs on the settings' seed alone.

    Args:
        model: The model, of any method; it is not changed. All weights are trained that it leaves unfrozen.
        data: The task's rows, prepared for it.
        on: What to train on, see ``tuning_rows``.
        settings: How; default: ``Relearning()``.
        target: The loss on D_f that is to be reached. If given, the loss is taken after every step, and training goes
            on beyond the last of ``settings.steps`` until it is reached, for at most ``settings.most_steps``.
        use_cpu: Train on the CPU, whatever else there is.
        callbacks: Passed to the trainer.

    Raises:
        BadInput: If there are no such rows, nothing is measured of this kind of task, or nothing of the model can be
            trained.
    """
    settings = settings or Relearning()
    rows = tuning_rows(data, on, settings.seed)
    arguments = settings.arguments(data)
    threads = arguments.setdefault("cpu_threads", usable_threads())
    device = model_device(use_cpu or bool(arguments.get("use_cpu")))
    trainer_class = get_method("finetune")
    copied = in_float32(on_device(copy.deepcopy(model), device))
    with TemporaryDirectory() as folder, exact_arithmetic(device, threads), torch.random.fork_rng():
        args = trainer_class.config_class(
            **{
                **arguments,
                "output_dir": folder,
                "max_steps": settings.most_steps if target is not None else settings.steps[-1],
                "seed": settings.seed,
                "save_strategy": "no",
                "logging_strategy": "no",
                "report_to": "none",
                "disable_tqdm": True,
                "use_cpu": device.type == "cpu",
            }
        )
        watch = _Watch(rows, data, settings, target)
        trainer = trainer_class(
            copied,
            args,
            retain_dataset=rows.rows,
            data_collator=data.collator,
            processing_class=data.processor,
            callbacks=[watch, *callbacks],
        )
        trainer.remove_callback(PrinterCallback)
        watch.look(trainer.model, 0)
        if not watch.done(0):
            trainer.train()
    stopped = trainer.status_reason
    del trainer, copied
    give_back_memory(circles=False)
    return Curve(on, rows.meaning, {name: Points(*zip(*found, strict=True)) for name, found in watch.found.items()},
                 stopped)  # fmt: skip


class _Watch(TrainerCallback):
    """Looks at D_f between steps, and ends training when nothing more is to be seen."""

    def __init__(self, rows: TuningRows, data: TaskData, settings: Relearning, target: float | None):
        self.rows, self.data, self.settings, self.target = rows, data, settings, target
        self.found: dict[str, list[tuple[int, float, float | None]]] = {name: [] for name in rows.watched}

    def look(self, model: Any, step: int) -> None:
        """Note loss and, where it is asked for, score after a number of steps."""
        scored = step == 0 or step in self.settings.steps
        if not scored and self.target is None:
            return
        for name, rows in self.rows.watched.items():
            at = score_rows(model, rows, self.data) if scored else RowsScore(mean_loss(model, rows, self.data), None)
            self.found[name].append((step, at.loss, at.score))

    def done(self, step: int) -> bool:
        """Return whether the target is reached and no further score is asked for."""
        if self.target is None or step < self.settings.steps[-1]:
            return False
        first = next(iter(self.found.values()))
        return any(loss <= self.target for _, loss, _ in first)

    def on_step_end(self, args: Any, state: Any, control: Any, model: Any = None, **kwargs: Any) -> None:
        """Look at D_f after an update."""
        self.look(model, state.global_step)
        control.should_training_stop = control.should_training_stop or self.done(state.global_step)
