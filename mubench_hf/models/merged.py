"""Adapters merged into the weights of their base, for what is done to weights."""

from __future__ import annotations

from pathlib import Path

import torch

from mubench_hf.errors import BadInput
from mubench_hf.models.adapted_checkpoints import base_of, holds_adapter
from mubench_hf.models.loading import load_model


def load_merged(folder: Path, auto_class: str, *, base_sha256: str | None = None) -> tuple[torch.nn.Module, bool]:
    """Return a checkpoint as a whole model, and whether it is an adapter that was merged into its base for that.

    The same weights can be trained as of the base: what its class freezes stays frozen.

    Args:
        folder: The checkpoint.
        auto_class: See ``load_model``.
        base_sha256: See ``load_model``.

    Raises:
        BadInput: As ``load_model`` does, or if an adapter of this kind cannot be merged.
    """
    model = load_model(folder, auto_class, base_sha256=base_sha256)
    if not holds_adapter(folder):
        return model, False
    try:
        whole = model.merge_and_unload()
    except (AttributeError, NotImplementedError, ValueError) as error:
        raise BadInput(f"The adapter in {folder} cannot be merged into its base: {error}") from error
    base = dict(load_model(base_of(folder), auto_class).named_parameters())
    for name, weight in whole.named_parameters():
        weight.requires_grad_(base[name].requires_grad)
    return whole, True
