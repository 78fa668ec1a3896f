"""Lists of whole numbers of different lengths, and the collators that pad them, for whole batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import DataCollatorForSeq2Seq, DataCollatorWithPadding

from mubench_hf.tasks.celeb_profile import fill_up


class Ragged:
    """Lists of one column of a batch.

    Args:
        values: Their numbers one after another.
        lengths: How many numbers each list has, int64 ``[rows]``.
    """

    def __init__(self, values: np.ndarray, lengths: np.ndarray):
        self.values, self.lengths = values, lengths

    def padded(self, filler: int, side: str) -> Tensor:
        """Return them as int64 ``[rows, longest]``.

        Args:
            filler: What stands in the place of missing numbers.
            side: Where those are missing, ``right`` or ``left``.
        """
        width = int(self.lengths.max())
        column, lengths = np.arange(width), self.lengths[:, None]
        found = np.full((len(self.lengths), width), filler, np.int64)
        found[column < lengths if side == "right" else column >= width - lengths] = self.values
        return torch.from_numpy(found)


def ragged(values: np.ndarray, starts: np.ndarray, places: np.ndarray) -> Ragged:
    """Return lists of a table.

    Args:
        values: Numbers of all lists, one after another.
        starts: Where each list begins in them, and the end.
        places: Numbers of the lists wanted.
    """
    first = starts[places]
    lengths = starts[places + 1] - first
    before = np.cumsum(lengths) - lengths
    return Ragged(values[np.repeat(first - before, lengths) + np.arange(lengths.sum())], lengths)


def pads(collator: Callable[..., Any]) -> Callable[[Mapping[str, Any]], Mapping[str, Any]] | None:
    """Return what a collator does that pads lists, for a batch of ``Ragged``; ``None`` if this is not known of it."""
    if isinstance(collator, partial) and collator.func is fill_up:
        return partial(_padded, fillers=collator.keywords["fillers"], side="right", only=True)
    if type(collator) not in (DataCollatorWithPadding, DataCollatorForSeq2Seq):
        return None
    usual = (collator.padding, collator.max_length, collator.pad_to_multiple_of, collator.return_tensors)
    if usual != (True, None, None, "pt") or getattr(collator, "model", None) is not None:
        return None
    tokenizer = collator.tokenizer
    fillers = {"input_ids": tokenizer.pad_token_id, "attention_mask": 0, "token_type_ids": tokenizer.pad_token_type_id}
    if type(collator) is DataCollatorForSeq2Seq:
        fillers["labels"] = collator.label_pad_token_id
    return partial(_padded, fillers=fillers, side=tokenizer.padding_side, only=False)


def _padded(batch: Mapping[str, Any], fillers: Mapping[str, int | None], side: str, only: bool) -> dict[str, Any]:
    """Return a batch whose lists are padded; those for which there is nothing to pad with stay lists."""
    found = {}
    for name, value in batch.items():
        filler = fillers.get(name)
        if isinstance(value, Ragged) and filler is not None:
            found[name] = value.padded(filler, side)
        elif not only or name in fillers:
            found[name] = value
    return found
