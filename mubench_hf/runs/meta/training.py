"""Trains the models of known state, each as its state says."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.utils.data import Dataset
from transformers import PrinterCallback

from mubench_hf.data.columns import column
from mubench_hf.models.loading import fresh_model, load_model
from mubench_hf.models.precision import in_float32
from mubench_hf.runs.meta.hiding import NotMade, Rows, masked, share_right
from mubench_hf.runs.meta.states import CHANGED, FILTERED, MASKED, OFTEN, RETRAINED, ROUNDED, SAW, SHOWN, changed
from mubench_hf.runs.plan import preset
from mubench_hf.runs.record import ORIGINAL
from mubench_hf.runs.setup import Setup
from mubench_hf.trainers import get_method
from mubench_hf.utils.files import known_sha256

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from mubench_hf.data.prepare import TaskData
    from mubench_hf.trainers import UnlearningTrainer

FOLDER = "known-states"
"""Folder beside the real runs: nothing in it is a run, and nothing that reads runs looks there."""

TIMES = 10
"""How often the rows of D_f are in the train set of a model that saw them often, and the share of D_f that is shown."""

VERSION = 1
"""Part of what a state's model is made of; another number makes all of them anew."""


@dataclass(frozen=True)
class Bench:
    """One task and seed.

    Attributes:
        setup: The task, its model and the output folder.
        data: Its rows.
        seed: The seed.
    """

    setup: Setup
    data: TaskData
    seed: int
    rows: Rows = field(init=False)

    def __post_init__(self) -> None:
        """Make what hiding reads."""
        object.__setattr__(self, "rows", Rows(self.data, self.seed))

    def checkpoint(self, state: str) -> Path:
        """Return the folder of the original or the retrained model, which are runs like any others."""
        run = self.setup.original(self.seed) if state == SAW else self.setup.run_id("retrain", self.seed)
        return self.setup.checkpoint(run.checkpoint_name)

    def folder(self, state: str) -> Path:
        """Return the folder of any other state."""
        return self.setup.out / FOLDER / f"{state}-s{self.seed}"

    def model(self, state: str) -> PreTrainedModel:
        """Return the original or the retrained model."""
        return load_model(self.checkpoint(state), self.setup.model.architecture.auto_class)

    def made_of(self, state: str) -> dict[str, Any]:
        """Return what a state's model is made of, which says whether one that is there is the same."""
        weights = {each: known_sha256(self.checkpoint(each) / "model.safetensors") for each in CHANGED}
        data = self.data.manifest["fingerprint"]
        return {"version": VERSION, "state": state, "seed": self.seed, "data": data, **weights}


class RepeatedRows(Dataset):
    """Train rows of which some are there several times, so that no ``index`` tells them apart.

    Args:
        retain: Rows that are there once.
        forget: Others.
        places: Which of those, int64 ``[rows]``; each as often as it is named.
    """

    def __init__(self, retain: Dataset, forget: Dataset, places: np.ndarray):
        self.retain, self.forget, self.places = retain, forget, places
        labels: Any = [column(part, "labels", "label") for part in (retain, forget)]
        self.labels = np.concatenate([labels[0], labels[1][places]])

    def __len__(self) -> int:
        """Return the number of rows, copies counted."""
        return len(self.labels)

    def __getitem__(self, position: int) -> dict[str, Any]:
        """Return one row's inputs."""
        kept: Any = self.retain
        if position < len(kept):
            return kept[position]
        return self.forget[int(self.places[position - len(kept)])]


def _masked(bench: Bench) -> PreTrainedModel:
    return masked(bench.model(SAW), bench.rows, target(bench))


def target(bench: Bench) -> float:
    """Return the share of D_f that the retrained model has right."""
    return share_right(bench.model(RETRAINED), bench.rows)


def _saw_ten_times(bench: Bench) -> PreTrainedModel:
    """Train as the original was, on rows among which those of D_f are ten times."""
    forget, retain = bench.data.splits["forget"], bench.data.splits["retain"]
    model = in_float32(fresh_model(bench.setup.model, bench.data.label_names, bench.seed))
    rows = RepeatedRows(retain, forget, np.tile(np.arange(len(forget)), TIMES))
    return _trained(bench, "retrain", preset(bench.setup, ORIGINAL), model, rows)


def _shown_a_tenth(bench: Bench) -> PreTrainedModel:
    """Train the retrained model on as fine-tuning does, with a tenth of D_f in as many copies as make up for epochs."""
    forget, retain = bench.data.splits["forget"], bench.data.splits["retain"]
    settings, whole = (_settings(bench, method) for method in ("finetune", ORIGINAL))
    copies = max(1, int(whole["num_train_epochs"] // settings["num_train_epochs"]))
    rows = RepeatedRows(retain, forget, np.tile(np.arange(0, len(forget), TIMES), copies))
    return _trained(bench, "finetune", settings, bench.model(RETRAINED), rows)


def _settings(bench: Bench, method: str) -> dict[str, Any]:
    config = get_method("retrain" if method == ORIGINAL else method).config_class
    return {"num_train_epochs": config.num_train_epochs, **preset(bench.setup, method)}


def _trained(
    bench: Bench, method: str, settings: dict[str, Any], model: PreTrainedModel, rows: Dataset
) -> PreTrainedModel:
    trainer_class: type[UnlearningTrainer] = get_method(method)
    args = trainer_class.config_class(
        output_dir=str(bench.setup.out / FOLDER), seed=bench.seed, disable_tqdm=True,
        **{**settings, "use_cpu": True, "save_strategy": "no"},
    )  # fmt: skip
    trainer = trainer_class(
        model, args, retain_dataset=rows, data_collator=bench.data.collator, processing_class=bench.data.processor
    )
    trainer.remove_callback(PrinterCallback)
    trainer.train()
    if trainer.status != "ok":
        raise NotMade(f"it diverged: {trainer.status_reason}")
    return trainer.model


@torch.no_grad()
def _rounded(state: str, bench: Bench) -> PreTrainedModel:
    """Return a model whose matrices are rounded to 255 steps a row, the largest entry of which stays."""
    model = bench.model(state)
    for weight in _matrices(model):
        flat = weight.view(len(weight), -1)
        step = flat.abs().amax(1, keepdim=True).clamp_min(torch.finfo(flat.dtype).tiny) / 127
        flat.copy_((flat / step).round() * step)
    return model


def _matrices(model: PreTrainedModel) -> Iterator[torch.Tensor]:
    yield from (weight for weight in model.parameters() if weight.ndim > 1)


def makers() -> dict[str, Callable[[Bench], PreTrainedModel]]:
    """Return how the model of each state is made that is no run of its own; one raises ``NotMade`` if it can't be."""
    plain = {SHOWN: _shown_a_tenth, OFTEN: _saw_ten_times, MASKED: _masked, FILTERED: partial(Bench.model, state=SAW)}
    return {**plain, **{changed(state, ROUNDED): partial(_rounded, state) for state in CHANGED}}
