"""Sequence to sequence: an encoder reads the input, a decoder writes the target, as in summaries."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES

from mubench_hf.kinds._tokens import TokenKind


class Seq2Seq(TokenKind):
    """The target's tokens are the label positions."""

    key = "seq2seq"

    def reads(self, model: Any) -> bool:
        """Return whether the model's class writes a sequence for a sequence."""
        return type(model).__name__ in MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES.values()

    def run(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Any, Tensor, Tensor]:
        """Return outputs, logits ``[rows, positions, tokens]`` and labels ``[rows, positions]``."""
        given = {name: value for name, value in inputs.items() if name != "labels"}
        bare = getattr(model, "module", model)
        shifted = bare.prepare_decoder_input_ids_from_labels(labels=inputs["labels"])
        outputs = model(**{**given, "decoder_input_ids": shifted})
        return outputs, outputs.logits, inputs["labels"]

    def retarget(self, row: Mapping[str, Any], drawn: int, rows: Dataset, num_labels: int | None) -> dict[str, Any]:
        """Return the row with the target of row ``drawn``."""
        return {**row, "labels": rows[drawn]["labels"]}

    def prompt(self, row: Mapping[str, Any]) -> list[int]:
        """Return the encoder's input."""
        return list(row["input_ids"])
