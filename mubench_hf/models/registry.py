"""Which models the benchmark knows: architecture x scale -> Hub checkpoint, size and configuration."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from mubench_hf.errors import BadInput
from mubench_hf.utils.registry import Registry

if TYPE_CHECKING:
    from mubench_hf.tasks import TaskSpec


@dataclass(frozen=True)
class Scale:
    """A published size of an architecture.

    Attributes:
        hub_id: Hub id of the pretrained checkpoint.
        parameters: Number of parameters of the model with the task's head; for a classifier, with two classes.
        licence: The checkpoint's licence as the Hub names it; ``unknown`` if none is established.
        config: Configuration fields that differ from the defaults of the config class, so that a model of this size
            can be made offline. Most settings that affect only training, such as dropout, are left out.
        revision: Commit of ``hub_id`` that is loaded; ``None`` if none is established, and the one that is loaded is
            recorded with the run.
        options: Configuration fields that the benchmark sets, whatever the checkpoint's own file says.
        processor_options: The same of its processor.
        pickled: Whether it is published without safetensors, so that PyTorch's weights-only loader reads it.
    """

    hub_id: str
    parameters: int
    licence: str
    config: Mapping[str, Any] = field(default_factory=dict)
    revision: str | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    processor_options: Mapping[str, Any] = field(default_factory=dict)
    pickled: bool = False

    def __post_init__(self) -> None:
        """Freeze the fields: a scale is a constant."""
        for name in ("config", "options", "processor_options"):
            object.__setattr__(self, name, MappingProxyType(dict(getattr(self, name))))


@dataclass(frozen=True)
class Architecture:
    """One architecture at its published scales, and a tiny one that trains on a CPU in seconds.

    Attributes:
        name: Key, ``vit``.
        title: Name for tables.
        modality: What it reads (``image``).
        auto_class: Name of the ``transformers`` auto class that loads it with a head.
        scales: Scale's name → the published size.
        config: Called with a scale's fields, makes its configuration.
        tiny_config: Makes the tiny configuration.
        tiny_processor: Called with the train set's texts (an empty list if it has none), makes the processor that goes
            with the tiny configuration.
        tiny_scale: Name of the tiny scale; differs from ``tiny`` only if a published scale has that name.
        processor_class: Name of the ``transformers`` auto class that loads its processor.
        real_processor: Makes the processor of the published input size; ``None`` if it needs a vocabulary.
        kind: What it is trained to do, as tasks name it: ``classification``, ``seq2seq``, ``causal_lm``, ``diffusion``.
    """

    name: str
    title: str
    modality: str
    auto_class: str
    scales: Mapping[str, Scale]
    config: Callable[..., Any]
    tiny_config: Callable[[], Any]
    tiny_processor: Callable[[Sequence[str]], Any]
    tiny_scale: str = "tiny"
    processor_class: str = "AutoProcessor"
    real_processor: Callable[[], Any] | None = None
    kind: str = "classification"

    def __post_init__(self) -> None:
        """Freeze the scales: an architecture is a constant."""
        object.__setattr__(self, "scales", MappingProxyType(dict(self.scales)))


@dataclass(frozen=True)
class ModelSpec:
    """One registered model: an architecture at one scale.

    Attributes:
        architecture: The architecture.
        scale: The scale's name; empty for a model that is not registered.
        published: The published size; ``None`` for the tiny one, which is made from its configuration.
    """

    architecture: Architecture
    scale: str
    published: Scale | None

    @property
    def name(self) -> str:
        """Key of the model, such as ``vit-base``; if it is not registered, the name that runs are named after."""
        return f"{self.architecture.name}-{self.scale}" if self.scale else self.architecture.name

    @property
    def hub_id(self) -> str | None:
        """Hub id of the pretrained checkpoint; ``None`` for a tiny model."""
        return self.published.hub_id if self.published else None

    @property
    def reference(self) -> str | None:
        """Where its weights are: its Hub id, with ``@commit`` if one is pinned; ``None`` for a tiny model."""
        pinned = self.published and self.published.revision
        return f"{self.hub_id}@{pinned}" if pinned else self.hub_id

    def at(self, commit: str) -> ModelSpec:
        """Return this model at one commit of its checkpoint."""
        return replace(self, published=self.published and replace(self.published, revision=commit))

    def config(self) -> Any:
        """Return a new configuration of this size, from which a model with random weights can be made offline."""
        if self.published is None:
            return self.architecture.tiny_config()
        return self.architecture.config(**{**self.published.config, **self.published.options})


@cache
def _models() -> Mapping[str, ModelSpec]:
    """Collect the models declared in ``models/architectures``, one file per modality."""
    models = []
    for file in sorted(Path(__file__).parent.glob("architectures/[!_]*.py")):
        for arch in import_module(f"mubench_hf.models.architectures.{file.stem}").ARCHITECTURES:
            models += [ModelSpec(arch, name, scale) for name, scale in arch.scales.items()]
            models.append(ModelSpec(arch, arch.tiny_scale, None))
    return MappingProxyType({model.name: model for model in models})


@cache
def _own() -> Mapping[str, Callable[[], ModelSpec]]:
    return MappingProxyType({name: partial(_models().__getitem__, name) for name in _models()})


@cache
def _hub_ids() -> Mapping[str, str]:
    return MappingProxyType({model.hub_id: name for name, model in _models().items() if model.hub_id})


MODELS: Registry[ModelSpec] = Registry(
    "model",
    group="mubench_hf.models",
    own=_own,
    accept=lambda found: found if isinstance(found, ModelSpec) else None,
    key=lambda model: model.name,
    defined_in=lambda model: getattr(model.architecture.config, "func", model.architecture.config),
    aliases=_hub_ids,
)
"""All models: those of this package, those that installed packages add, and what was brought to this process."""


def list_models() -> list[str]:
    """Return the keys of all registered models: this package's by architecture and scale, then installed ones."""
    return [*_models(), *(name for name in MODELS.names() if not MODELS.owns(name))]


def get_model(reference: str | Path | ModelSpec) -> ModelSpec:
    """Return a registered model.

    Args:
        reference: Its key, the Hub id of its checkpoint, the model itself, ``"package.module:MODEL"``,
            ``"path/to/file.py:MODEL"`` or the name of an entry point of the group ``mubench_hf.models``.

    Raises:
        BadInput: If there is no such model; the nearest name is suggested.
    """
    return MODELS.get(reference)


def check_fits(task: TaskSpec, spec: ModelSpec) -> None:
    """Check that a model reads a task's rows and does what the task asks.

    Raises:
        BadInput: If it does not; the models that do are listed.
    """
    needed = (task.modality, task.kind)
    if _reads(spec) != needed:
        fitting = ", ".join(name for name, each in _models().items() if _reads(each) == needed)
        raise BadInput(
            f"Model {spec.name!r} is for {' '.join(_reads(spec))}, but {task.name} needs {' '.join(needed)}. "
            f"Allowed: {fitting or 'no registered model'}."
        )


def _reads(spec: ModelSpec) -> tuple[str, str]:
    return spec.architecture.modality, spec.architecture.kind
