"""The training loop of a run that is timed, stops when it diverges, and resumes where it was killed."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PreTrainedModel, Trainer, set_seed
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, TrainOutput

from mubench_hf.errors import BadInput
from mubench_hf.trainers._clock import Clock
from mubench_hf.trainers._config import UnlearningConfig
from mubench_hf.trainers._passes import PassSampler

STATE_FILE = "unlearning_state.json"
"""File written last into a saved state: a folder without it is incomplete and is not resumed from."""


class Diverged(RuntimeError):
    """The loss left the range that training can come back from."""


class RunLoop(Trainer):
    """A ``Trainer`` over the passes of a ``PassSampler``.

    Attributes:
        sampler: Which rows each update takes; epochs may differ in length.
        clock: Counts wall seconds of preparation and training, without evaluation and saving.
        status: ``ok``, or ``diverged`` after a loss that was not finite or too large; the weights are then those before
            that update.
        status_reason: Why, if not ``ok``.
    """

    sampler: PassSampler
    clock: Clock
    status: str
    status_reason: str | None

    def prepare(self) -> None:
        """Do what must be done before the first step, while ``self.model`` is still the original; this is timed."""

    @property
    def unlearn_seconds(self) -> float:
        """Wall seconds of unlearning so far."""
        return self.clock.seconds

    def train(self, resume_from_checkpoint: str | bool | None = None, **kwargs: Any) -> TrainOutput:
        """Unlearn.

        Args:
            resume_from_checkpoint: A saved state's folder, or ``True`` for the last complete one in ``output_dir``
                (from the start if there is none). ``self.model`` must hold the original's weights either way.
            kwargs: As for ``Trainer.train``.

        Raises:
            BadInput: If the folder holds no complete state.
        """
        if resume_from_checkpoint is True:
            resume_from_checkpoint = last_complete_state(self.args.output_dir)
        if resume_from_checkpoint and not Path(resume_from_checkpoint, STATE_FILE).is_file():
            raise BadInput(
                f"{resume_from_checkpoint} has no {STATE_FILE}, so it was not saved to its end by an unlearning "
                "trainer. Give another state, or True for the last complete one."
            )
        with self.clock.running():
            self.prepare()
            if resume_from_checkpoint:
                self.clock.set(json.loads((Path(resume_from_checkpoint) / STATE_FILE).read_text())["seconds"])
            # Random numbers drawn since the trainer was made must not affect the weights.
            set_seed(self.args.seed)
            self._update_loss = 0.0
            self.status, self.status_reason = "ok", None
            try:
                output = super().train(resume_from_checkpoint or None, **kwargs)
            except Diverged as error:
                output = self._stop_diverged(str(error))
        if self.status == "ok" and not all(weight.isfinite().all() for weight in self.model.parameters()):
            self.status, self.status_reason = "diverged", "weights are not finite after the last update"
        return output

    def training_step(self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> Tensor:
        """Do one micro-batch; stop the run before the update if the update's loss is not finite or too large.

        Raises:
            Diverged: If that is so; ``train`` catches it.
        """
        loss = super().training_step(model, inputs, num_items_in_batch)
        self._update_loss += loss
        if not self.accelerator.sync_gradients:
            return loss
        update_loss, self._update_loss = self._update_loss, 0.0
        if self.args.world_size > 1:
            update_loss = self.accelerator.reduce(update_loss, "mean")
        if not update_loss.isfinite() or abs(update_loss) > self.args.max_abs_loss:
            raise Diverged(
                f"loss {update_loss.item():.4g} at update {self.state.global_step + 1} of {self.state.max_steps}; "
                f"allowed: finite and at most {self.args.max_abs_loss:g} in absolute value"
            )
        return loss

    def _stop_diverged(self, reason: str) -> TrainOutput:
        self.status, self.status_reason = "diverged", reason
        self.model.zero_grad()
        self.is_in_train = False
        self.control = self.callback_handler.on_train_end(self.args, self.state, self.control)
        return TrainOutput(self.state.global_step, float("nan"), {})

    def _maybe_log_save_evaluate(self, *args: Any, **kwargs: Any) -> None:
        with self.clock.paused():
            super()._maybe_log_save_evaluate(*args, **kwargs)

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            folder = Path(self.args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}")
            part = folder / f"{STATE_FILE}.part"
            part.write_text(json.dumps({"seconds": self.unlearn_seconds}))
            part.replace(folder / STATE_FILE)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        model = model or self.model
        if not isinstance(model, PreTrainedModel):
            super()._load_from_checkpoint(resume_from_checkpoint, model)
            return
        # Some classes save weights under other names than they have in memory. Trainer would leave those it does
        # not find as they are and only warn; `from_pretrained` knows both names.
        saved = type(model).from_pretrained(resume_from_checkpoint, dtype=model.dtype)
        model.load_state_dict(saved.state_dict())

    # Epochs of unequal length: Trainer takes every epoch to be as long as the first, and these are its only uses. -----

    def set_initial_training_values(self, args: UnlearningConfig, dataloader: DataLoader) -> tuple:
        """Return the numbers that ``Trainer`` derives from the loader's length, for epochs that differ in length."""
        epochs, max_steps = self._length()
        batch = self.get_total_train_batch_size(args)
        samples = sum(len(update) for epoch in range(epochs) for update in self.sampler.updates(epoch))
        updates = self.sampler.update_count(0)
        return epochs, updates, len(self.rows), samples, batch, updates * args.gradient_accumulation_steps, max_steps

    def _length(self) -> tuple[int, int]:
        """Return the number of epochs, the last perhaps cut short, and of updates of the run."""
        if self.args.max_steps > 0:
            epochs, updates = 0, 0
            while updates < self.args.max_steps:
                epochs, updates = epochs + 1, updates + self.sampler.update_count(epochs)
            return epochs, self.args.max_steps
        if self.args.num_train_epochs <= 0:
            raise BadInput(
                f"num_train_epochs is {self.args.num_train_epochs}; a run needs at least a part of one epoch."
            )
        epochs = math.ceil(self.args.num_train_epochs)
        updates = [self.sampler.update_count(epoch) for epoch in range(epochs)]
        missing = epochs - self.args.num_train_epochs
        return epochs, math.ceil(sum(updates) - missing * updates[-1])

    def _init_training_state(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        super()._init_training_state(*args, **kwargs)
        epoch, left = 0, self.state.global_step
        while left >= self.sampler.update_count(epoch):
            left, epoch = left - self.sampler.update_count(epoch), epoch + 1
        return epoch, 0 if self.args.ignore_data_skip else left * self.args.gradient_accumulation_steps

    def _run_epoch(self, *, epoch: int, **kwargs: Any) -> None:
        self.sampler.set_epoch(epoch)
        updates = self.sampler.update_count(epoch)
        lengths = {
            "num_update_steps_per_epoch": updates,
            "steps_in_epoch": updates * self.args.gradient_accumulation_steps,
        }
        super()._run_epoch(epoch=epoch, **{**kwargs, **lengths})


def last_complete_state(output_dir: str | Path) -> str | None:
    """Return the folder of the last complete state in ``output_dir``, or ``None``."""
    files = Path(output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*/{STATE_FILE}")
    folders = sorted((file.parent for file in files), key=lambda folder: int(folder.name.rsplit("-", 1)[1]))
    return str(folders[-1]) if folders else None
