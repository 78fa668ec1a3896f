"""Sequence to sequence: the decoder writes the whole text."""

from __future__ import annotations

from torch import Tensor

from mubench_hf.kinds.measures._tokens import TokenMeasure


class Seq2SeqMeasure(TokenMeasure):
    """Generates the target from the encoder's input."""

    key = "seq2seq"
    # Some encoders count positions from the first one, whether padded or not.
    fill_before = False

    def continuation(self, generated: Tensor, prompt_length: int) -> Tensor:
        """Return all of it: the decoder starts with nothing."""
        return generated
