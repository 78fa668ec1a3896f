"""Which models the benchmark knows: architecture x scale -> Hub checkpoint, processor and a tiny configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import Any

from mubench_hf.errors import unknown_name


@dataclass(frozen=True)
class Architecture:
    """One architecture at its published scales, and a tiny one that trains on a CPU in seconds.

    Attributes:
        name: Key, ``vit``.
        title: Name for tables.
        modality: What it reads (``image``).
        auto_class: Name of the ``transformers`` auto class that loads it with a head.
        scales: Scale → Hub id of the pretrained backbone.
        tiny_config: Makes the tiny configuration.
        tiny_processor: Called with the train set's texts (none for a task without), makes the processor that goes with
            the tiny configuration.
        tiny_scale: What the tiny scale is called; differs from ``tiny`` only where a published scale has that name.
        processor_class: Name of the ``transformers`` auto class that loads its processor.
    """

    name: str
    title: str
    modality: str
    auto_class: str
    scales: Mapping[str, str]
    tiny_config: Callable[[], Any]
    tiny_processor: Callable[[Sequence[str]], Any]
    tiny_scale: str = "tiny"
    processor_class: str = "AutoProcessor"

    def __post_init__(self) -> None:
        """Freeze the scales: an architecture is a constant."""
        object.__setattr__(self, "scales", MappingProxyType(dict(self.scales)))


@dataclass(frozen=True)
class ModelSpec:
    """One registered model: an architecture at one scale. A tiny one has no ``hub_id``; it is made from its config."""

    architecture: Architecture
    scale: str
    hub_id: str | None

    @property
    def name(self) -> str:
        """Key of the model, ``vit-base``."""
        return f"{self.architecture.name}-{self.scale}"


@cache
def _models() -> Mapping[str, ModelSpec]:
    """Collect the models declared in ``models/architectures``, one file a modality."""
    models = []
    for file in sorted(Path(__file__).parent.glob("architectures/[!_]*.py")):
        for arch in import_module(f"mubench_hf.models.architectures.{file.stem}").ARCHITECTURES:
            models += [ModelSpec(arch, scale, hub_id) for scale, hub_id in arch.scales.items()]
            models.append(ModelSpec(arch, arch.tiny_scale, None))
    return MappingProxyType({model.name: model for model in models})


def list_models() -> list[str]:
    """Return the keys of all registered models, by architecture and then scale."""
    return list(_models())


def get_model(name: str) -> ModelSpec:
    """Return the model called ``name``.

    Raises:
        BadInput: If there is no such model; the nearest name is suggested.
    """
    if name not in _models():
        raise unknown_name("model", name, _models())
    return _models()[name]
