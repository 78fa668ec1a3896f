"""Sequence to sequence: an encoder reads the input, a decoder writes the target, as in summaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from mubench_hf.kinds._donors import other_target
from mubench_hf.kinds._hierarchy import tasks_of, writes
from mubench_hf.kinds._labels import label_name
from mubench_hf.kinds._losses import IGNORED
from mubench_hf.kinds._reading import classes_in, labels_in, position_logits, without_labels
from mubench_hf.kinds._texts import answered
from mubench_hf.kinds._tokens import TokenKind
from mubench_hf.models.bare import bare_model

HEARING = frozenset(("SPEECH_SEQ_2_SEQ",))
"""Lists of models that write a text for a recording."""


class Seq2Seq(TokenKind):
    """The target's tokens are the label positions."""

    key = "seq2seq"

    def reads(self, model: Any, label: Any = None) -> bool:
        """Return whether the model writes a sequence for a sequence of tokens or for an image."""
        return writes(model, with_encoder=True) and not tasks_of(model) & HEARING

    def run(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Any, Tensor, Tensor]:
        """Return outputs, logits ``[rows, positions, tokens]`` and labels ``[rows, positions]``."""
        labels, given, bare = labels_in(inputs), without_labels(inputs), bare_model(model)
        if "decoder_input_ids" not in given:
            if hasattr(bare, "prepare_decoder_input_ids_from_labels"):
                given["decoder_input_ids"] = bare.prepare_decoder_input_ids_from_labels(labels=labels)
            else:
                # Whisper and others make the decoder's input of the labels in their forward pass only.
                given["labels"] = labels
        outputs = model(**given)
        logits = position_logits(outputs, model, labels, self.key)
        return outputs, logits, classes_in(labels, logits.shape[-1], self.key, ignored=True)

    def retarget(self, row: Mapping[str, Any], drawn: int, rows: Dataset, num_labels: int | None) -> dict[str, Any]:
        """Return the row with the target of row ``drawn``, or of the next whose target is another."""
        name = label_name(row)
        donor = other_target(rows, drawn, lambda other: _target(other[name]), _target(row[name]))
        # What a row says of the decoder's input belongs to its target.
        kept = {column: value for column, value in row.items() if not column.startswith("decoder_")}
        taken = {column: value for column, value in donor.items() if column.startswith("decoder_")}
        return {**kept, **taken, name: donor[name]}

    def tokenised(self, row: Mapping[str, Any], tokenizer: Any) -> dict[str, Any]:
        """Return tokens and labels of a prompt with its completion."""
        return answered(row, tokenizer)

    def prompt(self, row: Mapping[str, Any]) -> list[int]:
        """Return the encoder's input."""
        return list(row["input_ids"])


def _target(labels: Any) -> np.ndarray:
    labels = np.asarray(labels)
    return labels[labels != IGNORED]
