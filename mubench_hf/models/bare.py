"""The model itself, inside what wraps it for training or adapts it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from accelerate.utils import extract_model_from_parallel, is_compiled_module
from transformers.trainer_utils import unwrap_peft_model


def bare_model(model: torch.nn.Module) -> torch.nn.Module:
    """Return the model whose class and ``forward`` say what it is: without DDP, ``torch.compile`` and ``peft``.

    Adapters stay inside its layers; ``model`` is not changed.
    """
    inner = unwrap_peft_model(extract_model_from_parallel(model, keep_torch_compile=False))
    return model if inner is model else bare_model(inner)


def uncompiled(model: torch.nn.Module) -> tuple[torch.nn.Module, Callable[[torch.nn.Module], torch.nn.Module] | None]:
    """Return a model without ``torch.compile``, and what compiles a module as it was compiled, or ``None``."""
    return (model._orig_mod, model.dynamo_ctx) if is_compiled_module(model) else (model, None)
