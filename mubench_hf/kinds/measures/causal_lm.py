"""Causal language models: a text continues its prompt."""

from __future__ import annotations

from torch import Tensor

from mubench_hf.kinds.measures._tokens import TokenMeasure


class CausalLMMeasure(TokenMeasure):
    """Generates what comes after the prompt."""

    key = "causal_lm"
    fill_before = True

    def continuation(self, generated: Tensor, prompt_length: int) -> Tensor:
        """Return what comes after the prompt."""
        return generated[:, prompt_length:]
