"""Causal language models: the target continues the prompt, as in biographies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor
from torch.utils.data import Dataset

from mubench_hf.kinds._donors import other_target
from mubench_hf.kinds._hierarchy import reads_both_ways, tasks_of, writes
from mubench_hf.kinds._losses import IGNORED
from mubench_hf.kinds._reading import classes_in, labels_in, position_logits, without_labels
from mubench_hf.kinds._splice import answers_of, token_row, with_answers
from mubench_hf.kinds._texts import continued
from mubench_hf.kinds._tokens import TokenKind


class CausalLM(TokenKind):
    """A prepared row is prompt and target together; its labels are -100 over the prompt.

    The logits at a position predict the next token, so they are compared with the label one position later. A chat
    has several answers, each with its labels.
    """

    key = "causal_lm"

    def reads(self, model: Any, label: Any = None) -> bool:
        """Return whether the model continues a text."""
        return writes(model, with_encoder=False) and not tasks_of(model) & SEEING and not reads_both_ways(model)

    def run(self, model: Any, inputs: Mapping[str, Any]) -> tuple[Any, Tensor, Tensor]:
        """Return outputs, logits ``[rows, positions - 1, tokens]`` and the next label at each position."""
        labels = labels_in(inputs)
        outputs = model(**without_labels(inputs))
        logits = position_logits(outputs, model, labels, self.key)
        labels = classes_in(labels, logits.shape[-1], self.key, ignored=True)
        return outputs, logits[:, :-1], labels[:, 1:]

    def retarget(self, row: Mapping[str, Any], drawn: int, rows: Dataset, num_labels: int | None) -> dict[str, Any]:
        """Return the row with the answers of row ``drawn``, or of the next whose answers are others."""
        return with_answers(row, other_target(rows, drawn, _answers, _answers(row)))

    def tokenised(self, row: Mapping[str, Any], tokenizer: Any) -> dict[str, Any]:
        """Return tokens and labels of a chat, a prompt with its completion, or a text."""
        return continued(row, tokenizer)

    def prompt(self, row: Mapping[str, Any]) -> list[int]:
        """Return the tokens before the target."""
        return [token for token, label in zip(row["input_ids"], row["labels"], strict=True) if label == IGNORED]


SEEING = frozenset(("IMAGE_TEXT_TO_TEXT", "MULTIMODAL_LM"))
"""Lists of models that continue a text and see images or hear sounds beside it."""


def _answers(row: Mapping[str, Any]) -> np.ndarray:
    """Return the tokens of a row's answers, with a mark between two."""
    answers = [np.append(answer["labels"], IGNORED) for answer in answers_of(token_row(row))]
    return np.concatenate([[], *answers])
