"""What the files of this folder share: making objects of ``transformers``, and sizes that recur."""

from __future__ import annotations

import copy
from collections.abc import Callable
from functools import partial
from typing import Any

LARGE = {"hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096}
"""The large transformer of BERT, which many others adopted; their base one is the default of their config class."""


HALF = {"image_mean": [0.5, 0.5, 0.5], "image_std": [0.5, 0.5, 0.5]}
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}
"""How pixels are centred and scaled: to [-1, 1], or by the mean and deviation of ImageNet's channels."""


def maker(name: str, **values: Any) -> Callable[..., Any]:
    """Return a function that makes an object of the ``transformers`` class ``name``.

    The class is imported when the object is made, so that listing models does not import torch.

    Args:
        name: Name of a configuration or processor class.
        values: Its keyword arguments; a caller of the function may add others.
    """
    return partial(_make, name, values)


def _make(name: str, values: dict[str, Any], **others: Any) -> Any:
    import transformers

    # Copied, because a configuration keeps the lists it is given.
    return getattr(transformers, name)(**copy.deepcopy({**values, **others}))


def without_texts(make: Callable[[], Any]) -> Callable[[Any], Any]:
    """Return ``make`` as a tiny processor of an architecture that reads no text: the train set's texts are ignored."""
    return partial(_ignore_texts, make)


def _ignore_texts(make: Callable[[], Any], texts: Any) -> Any:
    return make()
