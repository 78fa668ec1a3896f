"""Models that are not registered: any Hub id or local folder, read by the auto class of the task's kind."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

from mubench_hf.errors import BadInput, unknown_name
from mubench_hf.models.checked import check_folder
from mubench_hf.models.registry import MODELS, Architecture, ModelSpec, Scale, get_model, list_models
from mubench_hf.models.sources import reading, source_of

if TYPE_CHECKING:
    from mubench_hf.tasks import TaskSpec

AUTO_CLASSES = {
    ("classification", "image"): "AutoModelForImageClassification",
    ("classification", "text"): "AutoModelForSequenceClassification",
    ("classification", "audio"): "AutoModelForAudioClassification",
    ("classification", "video"): "AutoModelForVideoClassification",
    ("seq2seq", "text"): "AutoModelForSeq2SeqLM",
    ("causal_lm", "text"): "AutoModelForCausalLM",
    ("diffusion", "prompt and image"): "mubench_hf.models.text_to_image:TextToImage",
}
"""Kind and modality of a task → the class that loads a model for it."""

HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")

BRING_ONE = "package.module:MODEL, path/to/file.py:MODEL"

WEIGHTS = ("*.safetensors", "*.bin")


def resolve_model(reference: str | Path | ModelSpec, task: TaskSpec) -> ModelSpec:
    """Return the model that a person names for a task.

    Args:
        reference: What ``get_model`` takes, any other Hub id, or a folder that ``save_pretrained`` wrote.
        task: The task, whose kind says which auto class reads a model that is not registered.

    Raises:
        BadInput: If it is none of these, or the task's kind has no auto class.
    """
    if isinstance(reference, ModelSpec) or ":" in str(reference) or str(reference).endswith(".py"):
        return get_model(reference)
    name, registered = str(reference), MODELS.aliases()
    if name in list_models():
        return get_model(name)
    if Path(name).is_dir():
        if not any(Path(name, file).is_file() for file in ("config.json", "model_index.json")):
            raise BadInput(f"{name} has no config.json, so it is no model that `save_pretrained` wrote.")
        return foreign_model(Path(name).resolve().name, task, name)
    if name in registered:
        return get_model(registered[name])
    if HUB_ID.fullmatch(name):
        return foreign_model(name.split("/")[1], task, name)
    how = f"Or any Hub id, org/name, a folder that `save_pretrained` wrote, or your own: {BRING_ONE}."
    raise unknown_name("model", name, list_models(), aliases=registered, how=how)


def foreign_model(name: str, task: TaskSpec, reference: str) -> ModelSpec:
    """Return a model that is not registered.

    Args:
        name: What runs are named after.
        task: The task it is for.
        reference: Folder or Hub id that it is loaded from.

    Raises:
        BadInput: If the task's kind has no auto class.
    """
    auto_class = AUTO_CLASSES.get((task.kind, task.modality))
    if auto_class is None:
        raise BadInput(
            f"{reference} is no registered model, and no auto class reads {task.modality} for {task.kind}. "
            f"Choose a model of `mubench list models` for {task.name}."
        )
    # Files are named after it. Another model with the same shortened name has other weights, and so another tag.
    safe = re.sub(r"[^A-Za-z0-9._-]", "-", name).lstrip("._-") or "model"
    architecture = Architecture(
        name=safe,
        title=reference if HUB_ID.fullmatch(reference) and not Path(reference).is_dir() else name,
        modality=task.modality,
        auto_class=auto_class,
        scales={},
        config=_no_config,
        tiny_config=_no_config,
        tiny_processor=_no_config,
        # A speech model for classification has no vocabulary, which AutoProcessor would need.
        processor_class="AutoFeatureExtractor" if task.modality == "audio" else "AutoProcessor",
        kind=task.kind,
    )
    return ModelSpec(architecture, "", Scale(reference, 0, "unknown"))


def writing_kind(reference: str | Path) -> str:
    """Return the kind of a model that writes texts, ``causal_lm`` or ``seq2seq``: as registered, else from its config.

    Raises:
        BadInput: If it writes no texts, or has no config that can be read.
    """
    registered = {name: known for known in map(get_model, list_models()) for name in (known.name, known.hub_id)}
    if str(reference) in registered:
        kind = registered[str(reference)].architecture.kind
        if kind not in ("causal_lm", "seq2seq"):
            raise BadInput(f"The model {reference} is for {kind} and writes no texts.")
        return kind
    from transformers import AutoConfig

    with reading(f"The model {reference} has no config that can be read"):
        source = source_of(reference)
        check_folder(source.folder)
        config = AutoConfig.from_pretrained(source.name, **source.pinned)
    return "seq2seq" if config.is_encoder_decoder else "causal_lm"


def is_foreign(spec: ModelSpec) -> bool:
    """Return whether a model is not registered."""
    return not spec.scale


def weights_digest(reference: str) -> str:
    """Return what identifies a foreign model's weights: a SHA-256 over its files, or its commit on the Hub.

    Raises:
        BadInput: If there are no weights, or the Hub cannot be asked.
    """
    if Path(reference).is_dir():
        found = (file for pattern in WEIGHTS for file in Path(reference).rglob(pattern))
        files = sorted(file for file in found if file.is_file())  # Reading a pipe may never end.
        if not files:
            raise BadInput(f"{reference} holds no weights ({', '.join(WEIGHTS)}).")
        digest = hashlib.sha256()
        for file in files:
            digest.update(f"{file.relative_to(reference).as_posix()}\n".encode())
            with file.open("rb") as stream:
                digest.update(hashlib.file_digest(stream, "sha256").digest())
        return digest.hexdigest()
    with reading(f"{reference} is no folder here, and cannot be read from the Hub"):
        return str(source_of(reference).revision)


def _no_config(*_: object, **__: object) -> None:
    raise BadInput("A model that is not registered is loaded, not made from a configuration.")
