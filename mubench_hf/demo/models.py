"""Models in memory: each loaded once, and only as many as there is room for."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from typing import Any

import torch

from mubench_hf.models.device import model_device, on_device

MODELS, MODEL_BYTES = 100, 4 << 30
"""Most models, and most bytes of weights, kept at once."""

ASKS_FOR_GPU = "MUBENCH_USE_GPU"
"""Variable of the environment that makes the demo's models run where a trainer would, if it is not empty."""

WORKING = threading.RLock()
"""Held while a model is loaded or runs: both touch what a process has one of, such as its random state. So one works at
a time, with all the threads that it wants."""


class ModelCache:
    """The models that were used last.

    Args:
        most: Most models kept.
        most_bytes: Most bytes of their weights; a model larger than that is kept alone.
        device: Where they run; default: on the CPU, or where a trainer would if ``ASKS_FOR_GPU`` is set.
    """

    def __init__(self, most: int = MODELS, most_bytes: int = MODEL_BYTES, device: torch.device | None = None):
        self.most, self.most_bytes = most, most_bytes
        self.device = device or model_device(use_cpu=not os.environ.get(ASKS_FOR_GPU))
        self._models: dict[Hashable, torch.nn.Module] = {}

    def __len__(self) -> int:
        """Return how many models are kept."""
        return len(self._models)

    def get(self, key: Hashable, load: Callable[[], Any]) -> Any:
        """Return a model in eval mode without gradients, loaded by ``load`` unless it is kept under ``key``."""
        with WORKING:
            model = self._models.pop(key, None)
            if model is None:
                model = on_device(load().eval().requires_grad_(False), self.device)
            self._models[key] = model  # The last one in is the last one out.
            while len(self) > 1 and (len(self) > self.most or self._bytes() > self.most_bytes):
                del self._models[next(iter(self._models))]
            return model

    def _bytes(self) -> int:
        weights = (weight for model in self._models.values() for weight in model.state_dict().values())
        return sum(weight.nbytes for weight in weights)


@contextmanager
def working(cpu_threads: int | None) -> Iterator[None]:
    """Have models to oneself for as long as this lasts.

    Args:
        cpu_threads: Threads of an operation, as in the run that is shown; ``None`` leaves their number as it is.
    """
    with WORKING:
        before = torch.get_num_threads()
        torch.set_num_threads(cpu_threads or before)
        try:
            yield
        finally:
            torch.set_num_threads(before)
