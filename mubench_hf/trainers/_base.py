"""``UnlearningTrainer``: a ``Trainer`` over one data set of D_f and D_r rows with a flag."""

from __future__ import annotations

import copy
import re
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from accelerate.utils import is_compiled_module, send_to_device
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Subset
from transformers import PreTrainedModel
from transformers.trainer_utils import seed_worker

from mubench_hf.data.batches import for_loader
from mubench_hf.data.columns import first_label
from mubench_hf.data.joined import IS_FORGET, ROW, FlaggedCollator, JoinedRows
from mubench_hf.data.overlap import check_disjoint
from mubench_hf.data.pixels import made_of_stored
from mubench_hf.errors import BadInput
from mubench_hf.kinds import kind_of
from mubench_hf.models.adapters import carry_gradients, check_trainable
from mubench_hf.models.bare import uncompiled
from mubench_hf.models.device import usable_threads
from mubench_hf.models.outputs import cached_row_outputs, row_outputs
from mubench_hf.models.precision import check_precision
from mubench_hf.trainers._batch import Batch
from mubench_hf.trainers._clock import Clock
from mubench_hf.trainers._columns import is_own, with_columns
from mubench_hf.trainers._config import UnlearningConfig
from mubench_hf.trainers._first_seen import check_labels, check_reading
from mubench_hf.trainers._inputs import check_model, check_not_taken, check_optimizer, check_rows, checked_config
from mubench_hf.trainers._objective import in_training
from mubench_hf.trainers._passes import Pass, PassSampler
from mubench_hf.trainers._pushing import Pushing
from mubench_hf.trainers._sharding import check_before_sharding, check_sharding, check_wrapped, spread
from mubench_hf.trainers._teachers import LiveTeacher, StartTeacher, TableTeacher, Teacher


class UnlearningTrainer(Pushing):
    """Base of all methods: gives a method its rows, and stops, times and resumes it.

    A method sets the class attributes below, says in ``passes`` which rows an epoch walks through, and overrides
    ``compute_loss``, which ``over_batch`` makes a function of one ``Batch``. It is called only in training, where
    inputs carry the flag ``is_forget``; ``evaluate`` and ``predict`` always use the task's own loss.

    Args:
        model: The original model; trained in place.
        args: The method's config.
        forget_dataset: Map-style data set of D_f: model inputs with ``labels``, or chats, prompts with completions and
            texts, which become tokens (see ``docs/kinds.md``).
        retain_dataset: Map-style data set of D_r.
        eval_dataset: As for ``Trainer``.
        processing_class: As for ``Trainer``; saved with the model.
        kwargs: Everything else ``Trainer`` takes, such as ``data_collator`` or ``callbacks``.

    Attributes:
        key: The method's key, after which its runs are named.
        aliases: Other names by which it is found.
        config_class: Its config.
        title: Its name in tables.
        measurement: What it looks at, in the words of the taxonomy: ``loss`` or ``logits``.
        corruption: How it makes the model forget D_f.
        retention: How it keeps D_r.
        source: The paper.
        kinds: Keys of the kinds of tasks that it supports; ``None`` for every kind.
        needs_forget: Whether it reads D_f at all.
        replays_recipe: Whether it is trained with the original's recipe.
        caveat: What a reader of its scores must know, for cards; empty if there is nothing.
        status: ``ok``, or ``diverged`` after a loss that was not finite or too large; the weights are then those
            before that update.
        status_reason: Why, if not ``ok``.
        unlearn_seconds: Wall seconds of unlearning, including its preparation, without evaluation and saving.

    Raises:
        BadInput: If the model is of no kind or the method not for its kind, nothing of the model can be trained or its
            adapter's checkpoint would not hold all that is (see ``check_trainable``), a set is empty, the sets share
            rows (see ``check_disjoint``), or a label is out of the model's range.
    """

    key: ClassVar[str]
    aliases: ClassVar[tuple[str, ...]] = ()
    config_class: ClassVar[type[UnlearningConfig]]
    title: ClassVar[str]
    measurement: ClassVar[str]
    corruption: ClassVar[str]
    retention: ClassVar[str]
    source: ClassVar[str]
    kinds: ClassVar[tuple[str, ...] | None] = None
    needs_forget: ClassVar[bool] = True
    replays_recipe: ClassVar[bool] = False
    caveat: ClassVar[str] = ""

    loss_is_scaled_for_ga = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Restrict an overridden ``compute_loss`` to training."""
        super().__init_subclass__(**kwargs)
        cls.compute_loss = in_training(cls.compute_loss, UnlearningTrainer.compute_loss)

    def __init__(
        self,
        model: PreTrainedModel | None = None,
        args: UnlearningConfig | None = None,
        forget_dataset: Dataset | None = None,
        retain_dataset: Dataset | None = None,
        **kwargs: Any,
    ):
        check_not_taken(kwargs)
        args = checked_config(type(self), args)
        check_model(model)
        self._check_sets(forget_dataset, retain_dataset)
        model, self._compiler = uncompiled(model)
        self.kind = kind_of(model)
        if self.kind.of_problem:
            self.kind = kind_of(model, first_label(retain_dataset))
        self._check_kind(model)
        check_trainable(model)
        check_optimizer(model, kwargs.get("optimizers", (None, None)))
        brings_optimizer = kwargs.get("optimizers", (None, None))[0] or kwargs.get("optimizer_cls_and_kwargs")
        check_precision(model, None if brings_optimizer else args.learning_rate)
        check_before_sharding(args, model, any(kwargs.get("optimizers", ())))
        collator = kwargs.get("data_collator") or self.kind.collator(kwargs.get("processing_class"))
        kwargs["data_collator"] = collator
        sets = {"forget_dataset": forget_dataset, "retain_dataset": retain_dataset}
        self._has_own_collator = collator is not None and is_own(collator)
        check_labels(self.kind, model, sets, own_collator=self._has_own_collator)
        self.rows = JoinedRows(*(self._readable(rows, kwargs.get("processing_class")) for rows in sets.values()))
        if forget_dataset is not None:
            check_disjoint(forget_dataset, retain_dataset)
        kwargs["eval_dataset"] = self._readable(kwargs.get("eval_dataset"), kwargs.get("processing_class"))
        given = {"forget": forget_dataset, "retain": retain_dataset}
        self.sets = {name: rows for name, rows in given.items() if rows is not None}
        super().__init__(model, args, train_dataset=self.rows, **kwargs)
        check_sharding(self)
        if args.bf16_full_eval or args.fp16_full_eval:
            # Trainer moves such a model late, and what is prepared before training runs it.
            self._move_model_to_device(self.model, args.device)
        # One collator for training, evaluation and prediction: what one of them leaves out, all of them do.
        self.data_collator = with_columns(
            self.data_collator, self.model, self.label_names, only_inputs=args.remove_unused_columns
        )
        if args.gradient_checkpointing and (args.gradient_checkpointing_kwargs or {}).get("use_reentrant"):
            carry_gradients(self.model)
        if self.args.device.type == "cpu":
            torch.set_num_threads(args.cpu_threads or usable_threads())
        self.sampler = PassSampler(
            self.rows.is_forget,
            self.passes,
            seed=args.seed if args.data_seed is None else args.data_seed,
            batch_size=self._train_batch_size,
            accumulation=args.gradient_accumulation_steps,
            world_size=args.world_size,
            rank=args.process_index,
        )
        self.clock = Clock(torch.accelerator.synchronize if self.args.device.type != "cpu" else None)
        self._loss_is_checked = False
        self.status, self.status_reason = "ok", None

    def _readable(self, rows: Any, processing_class: Any) -> Any:
        """Return rows, or a dict of them, as the model's inputs; a collator of one's own is given them as they are."""
        if isinstance(rows, dict):
            return {name: self._readable(part, processing_class) for name, part in rows.items()}
        if self._has_own_collator or rows is None or isinstance(rows, str) or not hasattr(rows, "__len__"):
            return rows
        return self.kind.readable(rows, processing_class)

    def _check_kind(self, model: PreTrainedModel) -> None:
        if not self.is_for(self.kind.key):
            raise BadInput(
                f"{type(self).__name__} is for {', '.join(self.kinds or ())}, but {type(model).__name__} is of kind "
                f"{self.kind.key}. Use it with a model that it is for, or use another method."
            )

    def _check_sets(self, forget: Dataset | None, retain: Dataset | None) -> None:
        for name, rows, needed in (("forget", forget, self.needs_forget), ("retain", retain, True)):
            if rows is not None:
                check_rows(f"{name}_dataset", rows)
            if (rows is None and needed) or (rows is not None and len(rows) == 0):
                raise BadInput(
                    f"{name}_dataset is {'missing' if rows is None else 'empty'}; {type(self).__name__} needs at least "
                    "one row in it. Load both sets from one configuration, such as df_5pct."
                )

    # What a method says of itself ------------------------------------------------------------------------------------

    @classmethod
    def method_key(cls) -> str:
        """Return the key that runs are named after: the class's own ``key``, else its name in snake case.

        A class that extends a method is a new method, so it does not inherit the key.
        """
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", cls.__name__.removesuffix("Trainer"))
        return vars(cls).get("key") or words.strip("_").lower() or "custom"

    @classmethod
    def is_for(cls, kind: str) -> bool:
        """Return whether the method is for a kind of tasks; without ``kinds`` it is for all."""
        return cls.kinds is None or kind in cls.kinds

    @classmethod
    def kept_beside(cls, weights: int, args: UnlearningConfig) -> dict[str, int]:
        """Return what the method keeps on the device beside model, gradients, optimizer and teachers: name → bytes.

        Args:
            weights: Number of weights that are trained.
            args: The method's config.
        """
        return {}

    def passes(self, epoch: int) -> tuple[Pass, ...]:
        """Return the passes of epoch ``epoch`` (from 0), in order.

        Raises:
            NotImplementedError: If the method does not define them.
        """
        raise NotImplementedError

    # Batches ---------------------------------------------------------------------------------------------------------

    def get_train_dataloader(self) -> DataLoader:
        """Return this process's batches in the order of ``self.sampler``."""
        rows, collate = for_loader(self.training_rows(), self.collator)
        return DataLoader(
            rows,
            batch_sampler=self.sampler,
            collate_fn=collate,
            num_workers=self.args.dataloader_num_workers,
            pin_memory=self.args.dataloader_pin_memory and self.args.device.type == "cuda",
            persistent_workers=self.args.dataloader_persistent_workers,
            prefetch_factor=self.args.dataloader_prefetch_factor,
            multiprocessing_context=self.args.dataloader_multiprocessing_context,
            worker_init_fn=partial(
                seed_worker, num_workers=self.args.dataloader_num_workers, rank=self.args.process_index
            ),
        )

    def _prepare_inputs(self, inputs: dict[str, Any]) -> dict[str, Any]:
        inputs = made_of_stored(inputs, self.args.device)
        if self.accelerator.non_blocking:
            inputs = send_to_device(inputs, self.args.device, non_blocking=True)
        return super()._prepare_inputs(inputs)

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> tuple[torch.nn.Module, DataLoader]:
        model, loader = super()._prepare_for_training(*args, **kwargs)
        if self._compiler and not is_compiled_module(model):
            # As with `torch_compile`: outside of what processes and mixed precision wrap around the model.
            model = self.model_wrapped = self._compiler(model)
        return model, loader

    def training_rows(self) -> Dataset:
        """Return the rows as the student sees them in training: ``self.rows``, unless a method changes them."""
        return self.rows

    @property
    def collator(self) -> FlaggedCollator:
        """Collates rows of the joined data set."""
        return FlaggedCollator(self.data_collator)

    def _remove_unused_columns(self, dataset: Any, description: str | None = None) -> Any:
        """Return a table with all its columns: its transform may read them, and ``data_collator`` leaves them out."""
        return dataset

    def _get_collator_with_removed_columns(self, data_collator: Any, description: str | None = None) -> Any:
        """Return the collator, which has been given the columns meant for it once and for all."""
        return data_collator

    def forward(
        self, model: torch.nn.Module, inputs: dict[str, Any], num_items_in_batch: Tensor | None
    ) -> tuple[Batch, Any]:
        """Run the student once; return the batch and the model's outputs.

        Raises:
            BadInput: If what the model returns does not fit its kind, or is not one row for each.
        """
        inputs = dict(inputs)
        is_forget, rows = inputs.pop(IS_FORGET), inputs.pop(ROW)
        inputs = self.kind.noised(inputs, self._draw_keys(rows))
        if not self._loss_is_checked:
            with self.clock.paused():
                in_16_bits = self.accelerator.mixed_precision != "no"
                check_reading(self.kind, model, inputs, in_16_bits=in_16_bits)
            self._loss_is_checked = True
        outputs, predictions, labels = self.kind.run(model, inputs)
        if len(predictions) != len(is_forget):
            raise BadInput(
                f"The data_collator made {len(predictions)} rows of {len(is_forget)}, so a row's loss cannot be told. "
                "Use one that makes one row of each, and none that packs several texts into one."
            )
        counts = num_items_in_batch
        if counts is None:
            counts = torch.stack([(~is_forget).sum(), is_forget.sum()])
        scale = self.accelerator.num_processes
        at_once = self.is_fsdp_enabled
        batch = Batch(inputs, predictions, labels, is_forget, rows, counts, scale, self.kind, at_once=at_once)
        return batch, outputs

    def compute_loss(
        self,
        model: torch.nn.Module,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: Tensor | None = None,
    ) -> Any:
        """Return the task's own loss of rows in evaluation; a method overrides this with what it minimises in training.

        Raises:
            NotImplementedError: If it does not override it.
        """
        if IS_FORGET in inputs:
            raise NotImplementedError(f"{type(self).__name__} does not say what it minimises: override compute_loss.")
        return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)

    def _draw_keys(self, rows: Tensor) -> Tensor:
        """Return each row's key for random draws in this epoch, int64 ``[rows]``; it does not depend on the batch."""
        return (self.args.seed * 1_000_003 + self.sampler.epoch) * len(self.rows) + rows

    def _get_num_items_in_batch(self, batch_samples: list, device: torch.device) -> Tensor | None:
        """Count the D_r and the D_f rows of an update over its micro-batches and processes."""
        if not batch_samples or IS_FORGET not in batch_samples[0]:
            return None
        is_forget = torch.cat([batch[IS_FORGET] for batch in batch_samples])
        counts = torch.stack([(~is_forget).sum(), is_forget.sum()]).to(device)
        return self.accelerator.reduce(counts, "sum") if self.args.world_size > 1 else counts

    def evaluate(self, eval_dataset: Any = None, *args: Any, **kwargs: Any) -> dict[str, float]:
        """Evaluate as ``Trainer`` does, also on rows of texts."""
        check_wrapped(self, self.model)
        with self.clock.paused():  # Also where a callback evaluates, or ``eval_on_start``.
            return super().evaluate(self._readable(eval_dataset, self.processing_class), *args, **kwargs)

    def predict(self, test_dataset: Any, *args: Any, **kwargs: Any) -> Any:
        """Predict as ``Trainer`` does, also on rows of texts."""
        check_wrapped(self, self.model)
        with self.clock.paused():
            return super().predict(self._readable(test_dataset, self.processing_class), *args, **kwargs)

    def prediction_step(self, model: torch.nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        """Evaluate rows without their flags, since a flag marks a batch of training."""
        inputs = {name: value for name, value in inputs.items() if name not in (IS_FORGET, ROW)}
        return super().prediction_step(model, inputs, *args, **kwargs)

    # Teachers --------------------------------------------------------------------------------------------------------

    @property
    def _keeps_outputs(self) -> bool:
        return self.args.cache_teacher_outputs and self.kind.keeps_outputs

    def original_teacher(self, served: np.ndarray | None = None) -> Teacher:
        """Return the original as a teacher of the rows where ``served`` (bool ``[rows]``) is true; for ``prepare``.

        Without ``served`` it teaches all rows. A table may come from an earlier run and covers all rows, so the clock
        is charged only for the rows that this run reads, at the rate at which the table was computed.
        """
        if not self._keeps_outputs:
            if all(weight.requires_grad for weight in self.model.parameters()) and not self.is_fsdp_enabled:
                return LiveTeacher(copy.deepcopy(self.model), self.kind, self.accelerator.autocast)
            return StartTeacher(self.model, self.kind)
        with self.clock.paused():
            # A table of a sharded model is made by all processes at once, for which all must find it missing.
            place, collate = None if self.is_fsdp_enabled else self.args.teacher_cache_dir, self.collator.without_flags
            outputs = self.fitting_outputs(partial(cached_row_outputs, self.model, self.rows, place, collate))
        epochs, max_steps = self._length()
        updates = [update for epoch in range(epochs) for update in self.sampler.updates(epoch)]
        read = np.zeros(len(self.rows), dtype=bool)
        read[np.concatenate(updates[:max_steps])] = True
        self.clock.charge(outputs.spent.times(float((read if served is None else read & served).mean())))
        return TableTeacher(outputs.logits)

    def forget_teacher(self, model: PreTrainedModel) -> Teacher:
        """Return ``model`` as a teacher of only the D_f rows; for ``prepare``."""
        model = spread(self, model)
        if not self._keeps_outputs:
            return LiveTeacher(model, self.kind, self.accelerator.autocast)
        rows = np.flatnonzero(self.rows.is_forget)
        taught = Subset(self.rows, rows.tolist())
        outputs = self.fitting_outputs(partial(row_outputs, model, taught, self.collator.without_flags))
        return TableTeacher(outputs.logits, rows)
