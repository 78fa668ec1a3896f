"""The training loop of a run that is timed, stops when it diverges, and resumes where it was killed."""

from __future__ import annotations

import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import Trainer, set_seed
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, SaveStrategy, TrainOutput

from mubench_hf.data.fingerprint import rows_sha256
from mubench_hf.models.adapters import adapter_settings
from mubench_hf.models.loading import weights_sha256
from mubench_hf.models.restoring import moving_tensors, restore_weights, save_weights
from mubench_hf.models.sharded import give_back, local
from mubench_hf.trainers._clock import Clock
from mubench_hf.trainers._config import UnlearningConfig
from mubench_hf.trainers._identity import MINUTES, moving_arguments
from mubench_hf.trainers._passes import PassSampler
from mubench_hf.trainers._sharding import check_optimizer_state
from mubench_hf.trainers._states import (
    START_FILE,
    STATE_FILE,
    WEIGHTS_FILE,
    SavedState,
    last_state,
    mark_state,
    read_state,
    state_of,
)
from mubench_hf.utils.processes import apart, together


class Diverged(RuntimeError):
    """The loss left the range that training can come back from."""


class RunLoop(Trainer):
    """A ``Trainer`` over the passes of a ``PassSampler``.

    Attributes:
        sampler: Which rows each update takes; epochs may differ in length.
        clock: Counts wall and processor seconds of preparation and training, without evaluation and saving.
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
            resume_from_checkpoint: A saved state's folder, or ``True`` for the last whole one in ``output_dir`` (from
                the start if there is none). ``self.model`` must hold the original's weights either way.
            kwargs: As for ``Trainer.train``.

        Raises:
            BadInput: If the state is damaged, or another run's: of another method, with other settings, rows, seed or
                original.
        """
        keeps_states = self.args.save_strategy != SaveStrategy.NO
        self.identity = self._identify() if keeps_states or resume_from_checkpoint else {}
        state = self._state_to_resume(resume_from_checkpoint)
        self._take_start(state)
        with self.clock.running():
            self._preparation = partial(self._prepare, state)
            if not self.is_fsdp_enabled:
                self._prepare_once()
            self._update_loss, self._saved_at = 0.0, time.monotonic()
            self.status, self.status_reason = "ok", None
            try:
                output = super().train(str(state.folder) if state else None, **kwargs)
            except Diverged as error:
                output = self._stop_diverged(str(error))
        if self.status == "ok" and not self._is_finite():
            self.status, self.status_reason = "diverged", "weights are not finite after the last update"
        return output

    def _prepare(self, state: SavedState | None) -> None:
        # A sharded model runs on all processes at once, in the same batches.
        with apart() if self.is_fsdp_enabled else together():
            self.prepare()
        if self.is_fsdp_enabled:
            give_back(self.model)
        if state:
            self.clock.set(state.spent)
        # Random numbers drawn since the trainer was made must not affect the weights.
        set_seed(self.args.seed)

    def _prepare_once(self) -> None:
        """Prepare at the original's weights: a sharded model once it is wrapped, before a state is put into it."""
        preparation, self._preparation = self._preparation, None
        if preparation:
            preparation()

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> tuple[torch.nn.Module, DataLoader]:
        prepared = super()._prepare_for_training(*args, **kwargs)
        self._prepare_once()
        return prepared

    def _is_finite(self) -> bool:
        finite = torch.tensor(
            all(bool(local(weight).isfinite().all()) for weight in self.model.parameters()), device=self.args.device
        )
        return bool(self.accelerator.reduce(finite.float(), "mean") == 1 if self.is_fsdp_enabled else finite)

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
        if self.args.save_strategy == MINUTES and self._state_is_due():
            self.control.should_save = True
        if not (self.control.should_log or self.control.should_save or self.control.should_evaluate):
            return  # A pause would wait for the device after each update.
        with self.clock.paused():
            super()._maybe_log_save_evaluate(*args, **kwargs)

    def _finalize_training(self, *args: Any, **kwargs: Any) -> TrainOutput:
        with self.clock.paused():  # A summary is logged, the best weights are read, and old states are removed.
            return super()._finalize_training(*args, **kwargs)

    def _state_is_due(self) -> bool:
        """Return whether a state is to be saved by minutes; all processes say the same."""
        if self.state.global_step >= self.state.max_steps:
            return False  # The run has ended, and is about to be saved itself.
        due = time.monotonic() - self._saved_at >= 60 * self.args.save_minutes
        if self.args.world_size > 1:
            due = self.accelerator.reduce(torch.tensor(float(due), device=self.args.device), "sum").item() > 0
        return due

    def _save_checkpoint(self, model: torch.nn.Module, trial: Any) -> None:
        folder = Path(self._get_output_dir(trial=trial), f"{PREFIX_CHECKPOINT_DIR}-{self.state.global_step}")
        if self.is_fsdp_enabled:
            check_optimizer_state(self.accelerator.state.fsdp_plugin, self.optimizer)
        if self.args.should_save:
            (folder / STATE_FILE).unlink(missing_ok=True)  # An earlier run's, whose files are about to be replaced.
        super()._save_checkpoint(model, trial)
        self.accelerator.wait_for_everyone()
        if self.args.should_save:
            if not self.is_fsdp_enabled:
                save_weights(self._in_memory, folder / WEIGHTS_FILE)
            if self._start:
                save_file(self._start, folder / START_FILE)
            mark_state(folder, self.identity, self.clock.spent)
        self._saved_at = time.monotonic()

    # Whose a state is, and putting one back ---------------------------------------------------------------------------

    @property
    def _in_memory(self) -> torch.nn.Module:
        """The model as its author wrote it, without what processes and compilation wrap around it."""
        return self.accelerator.unwrap_model(self.model, keep_torch_compile=False)

    def _identify(self) -> dict[str, Any]:
        """Return what two runs have in common if one may go on from the other's states, as plain JSON types."""
        model = self._in_memory
        # Adapters may have been drawn a moment ago: a state brings those that its run started from.
        brought = moving_tensors(model).keys() if getattr(model, "peft_config", None) else ()
        return {
            "method": self.method_key(),
            "settings": moving_arguments(self.args),
            "seed": self.args.seed,
            "processes": self.args.world_size,
            "rows": {name: rows_sha256(rows) for name, rows in self.sets.items()},
            "original": weights_sha256(model, leave_out=brought),
            **({"adapters": adapters} if (adapters := adapter_settings(model)) else {}),
            **({"sharded": self.accelerator.state.fsdp_plugin.state_dict_type.name} if self.is_fsdp_enabled else {}),
        }

    def _state_to_resume(self, asked: str | bool | None) -> SavedState | None:
        if not asked:
            return None
        return last_state(self.args.output_dir, self.identity) if asked is True else state_of(asked, self.identity)

    def _take_start(self, state: SavedState | None) -> None:
        """Note the adapters that the run starts from; if it goes on, put those in that it started from."""
        model = self._in_memory
        self._start: dict[str, Tensor] = {}
        if not getattr(model, "peft_config", None):
            return
        if state:
            restore_weights(model, state.folder / START_FILE)
        self._start = {name: tensor.detach().cpu().clone() for name, tensor in moving_tensors(model).items()}

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: torch.nn.Module | None = None) -> None:
        if self.is_fsdp_enabled:
            self._prepare_once()
            super()._load_from_checkpoint(resume_from_checkpoint, model)
        else:
            restore_weights(self._in_memory, Path(resume_from_checkpoint, WEIGHTS_FILE))

    def _load_best_model(self) -> None:
        state = read_state(self.state.best_model_checkpoint)
        if self.is_fsdp_enabled:
            super()._load_best_model()
        else:
            restore_weights(self._in_memory, state.folder / WEIGHTS_FILE)

    def whole_state(self) -> dict[str, Tensor] | None:
        """Return all weights and buffers of a sharded model, on the CPU of the first process; else ``None``.

        Every process has to ask at the same time; those other than the first get an empty dict.
        """
        return self.accelerator.get_state_dict(self.model) if self.is_fsdp_enabled else None

    def _find_best_state(self) -> None:
        """Find the best state of a run that goes on in a folder that was moved; ``Trainer`` would forget about it."""
        best = self.state.best_global_step
        if not self.args.load_best_model_at_end or not best or self.state.best_model_checkpoint:
            return
        folder = Path(self.args.output_dir, f"{PREFIX_CHECKPOINT_DIR}-{best}")
        read_state(folder)
        self.state.best_model_checkpoint = str(folder)

    # Epochs of unequal length: Trainer takes every epoch to be as long as the first, and these are its only uses. -----

    def set_initial_training_values(self, args: UnlearningConfig, dataloader: DataLoader) -> tuple:
        """Return the numbers that ``Trainer`` derives from the loader's length, for epochs that differ in length."""
        epochs, max_steps = self._length()
        batch = self.get_total_train_batch_size(args)
        samples = sum(len(update) for epoch in range(epochs) for update in self.sampler.updates(epoch))
        updates = self.sampler.update_count(0)
        return epochs, updates, len(self.rows), samples, batch, updates * args.gradient_accumulation_steps, max_steps

    @property
    def epochs(self) -> int:
        """Number of epochs of the run, the last perhaps cut short."""
        return self._length()[0]

    def _length(self) -> tuple[int, int]:
        """Return the number of epochs, the last perhaps cut short, and of updates of the run."""
        if self.args.max_steps > 0:
            epochs, updates = 0, 0
            while updates < self.args.max_steps:
                epochs, updates = epochs + 1, updates + self.sampler.update_count(epochs)
            return epochs, self.args.max_steps
        epochs = math.ceil(self.args.num_train_epochs)
        updates = [self.sampler.update_count(epoch) for epoch in range(epochs)]
        missing = epochs - self.args.num_train_epochs
        return epochs, math.ceil(sum(updates) - missing * updates[-1])

    def _init_training_state(self, *args: Any, **kwargs: Any) -> tuple[int, int]:
        super()._init_training_state(*args, **kwargs)
        self._find_best_state()
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
