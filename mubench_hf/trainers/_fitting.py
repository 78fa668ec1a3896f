"""``auto_find_batch_size``: fewer rows at a time, each try from the same beginning."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from accelerate.utils.memory import should_reduce_batch_size
from torch import Tensor
from transformers import set_seed
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR, TrainOutput, find_executable_batch_size

from mubench_hf.errors import BadInput
from mubench_hf.models.restoring import moving_tensors
from mubench_hf.trainers._loop import RunLoop
from mubench_hf.trainers._states import STATE_FILE
from mubench_hf.utils.spent import Spent

Made = TypeVar("Made")


@dataclass(frozen=True)
class Beginning:
    """What a try begins with.

    Attributes:
        weights: Name → a copy of what training moves.
        optimizers: Copies of the states of an optimizer and a scheduler that were there before, if any.
        spent: What the clock showed.
        states: Saved states that lay in the folder.
    """

    weights: dict[str, Tensor]
    optimizers: tuple[dict[str, Any] | None, dict[str, Any] | None]
    spent: Spent
    states: frozenset[Path]


class Fitting(RunLoop):
    """Tries smaller batches where memory runs out, as ``Trainer`` does, but each time from the original's weights.

    ``Trainer`` goes on from the weights and the optimizer that a failed try leaves behind, if it failed late.
    """

    def train(
        self,
        resume_from_checkpoint: str | bool | None = None,
        trial: Any = None,
        ignore_keys_for_eval: list[str] | None = None,
    ) -> TrainOutput:
        """Unlearn; see ``RunLoop.train``.

        Raises:
            BadInput: If ``trial`` is given, or not even single rows fit into memory.
        """
        if trial is not None:
            raise BadInput(
                "trial is of a hyperparameter search, which an unlearning trainer does not do. Leave it out."
            )
        self.args.check()
        self._beginning: Beginning | None = None
        try:
            return super().train(resume_from_checkpoint, ignore_keys_for_eval=ignore_keys_for_eval)
        except RuntimeError as error:
            if "No executable batch size found" not in str(error):
                raise
            raise BadInput(
                "auto_find_batch_size: not even one row at a time fits into memory. Use a smaller model, shorter rows, "
                "activation_checkpointing or a larger device."
            ) from error
        finally:
            self._beginning = None
            if (noise := getattr(self, "neftune_hook_handle", None)) is not None:
                noise.remove()  # Trainer leaves it there if training ends early.

    def hyperparameter_search(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: a search would have to choose by a score, of which a trainer has none.

        Raises:
            BadInput: Always.
        """
        raise BadInput(
            "hyperparameter_search is not supported: it makes a new model for each trial, while unlearning starts from "
            "one original. Make a trainer for each trial, and compare the runs."
        )

    def fitting(self, make: Callable[..., Made]) -> Made:
        """Return ``make(batch_size=...)``; with ``auto_find_batch_size``, of fewer rows where memory runs out."""
        return find_executable_batch_size(make, self._train_batch_size, self.args.auto_find_batch_size)()

    def fitting_outputs(self, make: Callable[..., Made]) -> Made:
        """Return ``make()``, which runs a model on as many rows at a time as it likes; if they do not fit, as above."""
        try:
            return make()
        except RuntimeError as error:
            if not (self.args.auto_find_batch_size and should_reduce_batch_size(error)):
                raise
        return self.fitting(make)

    def _inner_training_loop(self, batch_size: int | None = None, **kwargs: Any) -> TrainOutput:
        if self.args.auto_find_batch_size:
            if self._beginning is None:
                self._beginning = self._begin()
            elif kwargs.get("resume_from_checkpoint"):
                raise BadInput(
                    "auto_find_batch_size: memory ran out at the number of rows that the saved state was made with, "
                    "and a run cannot go on with fewer. Start it afresh."
                )
            else:
                self._begin_again(self._beginning)
            self.sampler.tried = batch_size
        return super()._inner_training_loop(batch_size, **kwargs)

    def _begin(self) -> Beginning:
        weights = {name: tensor.detach().cpu().clone() for name, tensor in moving_tensors(self.model).items()}
        optimizer, scheduler = (
            copy.deepcopy(each.state_dict()) if each is not None else None
            for each in (self.optimizer, self.lr_scheduler)
        )
        return Beginning(weights, (optimizer, scheduler), self.clock.spent, self._states())

    @torch.no_grad()
    def _begin_again(self, beginning: Beginning) -> None:
        there = self.model.state_dict()
        for name, tensor in beginning.weights.items():
            there[name].copy_(tensor)
        optimizer, scheduler = beginning.optimizers
        if optimizer is None:
            self.optimizer = None
        else:
            self.optimizer.load_state_dict(copy.deepcopy(optimizer))
        if scheduler is None:
            self.lr_scheduler = None
        else:
            self.lr_scheduler.load_state_dict(copy.deepcopy(scheduler))
        for state in self._states() - beginning.states:
            state.unlink()  # Its steps took other rows.
        self.clock.set(beginning.spent)
        self._update_loss = 0.0
        set_seed(self.args.seed)

    def _states(self) -> frozenset[Path]:
        return frozenset(Path(self.args.output_dir).glob(f"{PREFIX_CHECKPOINT_DIR}-*/{STATE_FILE}"))
