"""The inputs of a model on a task's longest rows, without the data and without the weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mubench_hf.errors import BadInput
from mubench_hf.models.foreign import is_foreign

if TYPE_CHECKING:
    from mubench_hf.models import ModelSpec
    from mubench_hf.runs.setup import Setup

LONG_TEXT = "word " * 5000
"""More tokens than any task reads, so that each cuts it at its own limit."""


def example_inputs(setup: Setup) -> dict[str, Tensor]:
    """Return a batch of one row as a model is given it, on the ``meta`` device: shapes and types, and no values.

    A row of the mini source, or of the data set under ``setup.out`` if there is none, is prepared as in training, its
    texts as long as the task reads them.

    Args:
        setup: Task, variant and model.

    Raises:
        BadInput: If there is no such row, or the model's processor is nowhere to be had.
    """
    from transformers import default_data_collator

    task, row = setup.task, _row(setup)
    texts = {name: LONG_TEXT for name in (*task.inputs, task.label) if isinstance(row.get(name), str)}
    processor = _processor(setup.model, [LONG_TEXT, *(str(row[name]) for name in texts)])
    collate = task.collator(processor) if task.collator else default_data_collator
    batch: Mapping[str, Any] = collate([task.prepare({**row, **texts}, processor)])
    return {
        name: torch.empty(value.shape, dtype=value.dtype, device="meta")
        for name, value in batch.items()
        if isinstance(value, Tensor)
    }


def repeated(row: Mapping[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return a batch of ``count`` such rows."""
    return {name: value.new_empty((count, *value.shape[1:])) for name, value in row.items()}


def _row(setup: Setup) -> dict[str, Any]:
    """Return a raw row of train."""
    from mubench_hf.data.loading import load_split
    from mubench_hf.data.prepare import _undecoded

    if setup.task.mini is not None:
        rows = setup.task.mini.load(None)["train"]
    else:
        rows = load_split(setup.task, variant=setup.variant, ratio=setup.del_ratio, out=setup.out)["retain"]
    return dict(_undecoded(rows.select([0]))[0])


def _processor(spec: ModelSpec, texts: list[str]) -> Any:
    """Return a processor that makes inputs of the published size: the model's own, or one without its vocabulary."""
    from mubench_hf.models.loading import load_processor, saved_processor, text_positions

    if is_foreign(spec):
        return saved_processor(str(spec.hub_id), processor_class=spec.architecture.processor_class)
    if spec.published is None:
        return load_processor(spec, texts)
    if spec.architecture.real_processor is not None:
        return spec.architecture.real_processor()
    if spec.architecture.modality != "text":
        return load_processor(spec)
    tokenizer = spec.architecture.tiny_processor(texts)
    positions = text_positions(spec.config().get_text_config())
    tokenizer.model_max_length = positions if positions > 0 else 2**20
    return tokenizer


def model_config(spec: ModelSpec) -> Any:
    """Return a model's configuration, without its weights.

    Raises:
        BadInput: If it is nowhere to be had.
    """
    if not is_foreign(spec):
        return spec.config()
    from transformers import AutoConfig

    from mubench_hf.models.checked import check_folder
    from mubench_hf.models.sources import reading

    name = str(spec.hub_id)
    with reading(f"The model {name} has no config that can be read"):
        if Path(name).is_dir():
            check_folder(Path(name))
        return AutoConfig.from_pretrained(name, trust_remote_code=False)


def meta_model(spec: ModelSpec, config: Any, classes: int) -> torch.nn.Module:
    """Return a model on the ``meta`` device, which takes no memory.

    Args:
        spec: The model.
        config: Its configuration.
        classes: Number of classes, for a classifier; 0 leaves it as it is.

    Raises:
        BadInput: If its class cannot be made of a configuration.
    """
    from mubench_hf.models.loading import named_class, random_model

    labels = {"id2label": {number: str(number) for number in range(classes)}} if classes else {}
    with torch.device("meta"):
        if not is_foreign(spec):
            return random_model(spec, **labels).to("meta")
        for name, value in labels.items():
            setattr(config, name, value)
        auto_class = named_class(spec.architecture.auto_class)
        if not hasattr(auto_class, "from_config"):
            raise BadInput(f"{spec.hub_id} is made of several parts, whose memory cannot be planned.")
        return auto_class.from_config(config, trust_remote_code=False).to("meta")
