"""Causal language models: the target continues the prompt, as in biographies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor
from torch.utils.data import Dataset
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from mubench_hf.kinds._losses import IGNORED
from mubench_hf.kinds._tokens import TokenKind


class CausalLM(TokenKind):
    """A prepared row is prompt and target together; its labels are -100 over the prompt.

    The logits at a position predict the next token, so they are compared with the label one position later.
    """

    key = "causal_lm"

    def reads(self, model: Any) -> bool:
        """Return whether the model's class continues a text."""
        return type(model).__name__ in MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.values()

    def run(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Any, Tensor, Tensor]:
        """Return outputs, logits ``[rows, positions - 1, tokens]`` and the next label at each position."""
        outputs = model(**{name: value for name, value in inputs.items() if name != "labels"})
        return outputs, outputs.logits[:, :-1], inputs["labels"][:, 1:]

    def retarget(self, row: Mapping[str, Any], drawn: int, rows: Dataset, num_labels: int | None) -> dict[str, Any]:
        """Return the row's prompt with the target of row ``drawn``."""
        prompt, donor = self.prompt(row), rows[drawn]
        target = [label for label in donor["labels"] if label != IGNORED]
        ids = [*prompt, *target]
        labels = [IGNORED] * len(prompt) + target
        return {**row, "input_ids": ids, "attention_mask": [1] * len(ids), "labels": labels}

    def prompt(self, row: Mapping[str, Any]) -> list[int]:
        """Return the tokens before the target."""
        return [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label == IGNORED]
