"""Pretrained checkpoints that others published: one commit of them, weights alone, and every weight of the backbone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import transformers

from mubench_hf.errors import BadInput
from mubench_hf.models.checked import CONFIG, PIPELINE, check_built, check_folder
from mubench_hf.models.precision import in_float32
from mubench_hf.models.sources import Source, reading, source_of

COMMIT = re.compile(r"[0-9a-f]{40}")

MAY_BE_NEW = ("pooler", "masked_spec_embed")
"""Parts of a backbone that checkpoints lack if they were trained without them; no others may be drawn afresh."""

LARGEST_HEAD = 2 * 10**7
"""Weights of a new head, beyond those of a checkpoint."""

SENTENCE_PIECES = ("spiece.model", "spm.model", "sentencepiece.bpe.model", "tokenizer.model")
PIECES_NEED = {"sentencepiece": "sentencepiece", "protobuf": "google.protobuf"}
"""Package → module without which such a vocabulary cannot be read."""


def split_reference(reference: str) -> tuple[str, str | None]:
    """Return name and commit of ``org/name@commit``; the commit is ``None`` if it names none."""
    name, _, commit = reference.rpartition("@")
    return (name, commit) if name and COMMIT.fullmatch(commit) and not Path(reference).exists() else (reference, None)


def commit_of(reference: str) -> str | None:
    """Return the commit of a checkpoint on the Hub: the named one, else the newest; ``None`` for a folder.

    Raises:
        BadInput: If it is neither, or the Hub cannot be reached and no copy is kept here.
    """
    name, commit = split_reference(reference)
    if commit:
        return commit
    with reading(f"{name} is no folder here, and cannot be read from the Hub"):
        return source_of(name).revision


def load_pretrained(loader: Any, reference: str, **options: Any) -> Any:
    """Return the backbone that others trained, with a new head where its shapes differ, in float32 to be trained on.

    Args:
        loader: Class, or auto class, whose ``from_pretrained`` loads it.
        reference: Folder, Hub id, or ``org/name@commit``.
        options: Further arguments of ``from_pretrained``: ``config``, or fields of the configuration.

    Raises:
        BadInput: If it cannot be loaded, asks for code of others or for absurd sizes, or lacks weights of the backbone,
            which would then be random.
    """
    with reading(f"{reference} cannot be loaded by {loader.__name__}"):
        source = source_of(*split_reference(reference))
        check_folder(source.folder)
        if not any((source.folder / name).is_file() for name in (CONFIG, PIPELINE)):
            # An adapter's configuration names another model, which would be loaded in its place.
            raise BadInput(f"{reference} has no {CONFIG}, so it is no whole model. Give a whole one.")
        if source.is_safe and hasattr(loader, "from_config") and "config" not in options:
            config = transformers.AutoConfig.from_pretrained(source.name, **source.pinned, **options)
            build = partial(loader.from_config, config, trust_remote_code=False)
            check_built(source.folder, build, spare=LARGEST_HEAD)
        try:
            with _no_conversion_request():
                model, report = loader.from_pretrained(
                    source.name,
                    ignore_mismatched_sizes=True,
                    use_safetensors=source.is_safe,
                    output_loading_info=True,
                    dtype=torch.float32,
                    **source.pinned,
                    **options,
                )
        except Exception as error:
            if type(error).__name__ != "UnpicklingError":  # Its text tells how to run what is in there.
                raise
            raise ValueError("its weights hold something else than tensors, which might run code") from error
    check_backbone(model, report, reference)
    return in_float32(model)


def check_backbone(model: Any, report: Mapping[str, Any], reference: str) -> None:
    """Check that loading gave a model every weight of its backbone.

    Args:
        model: The loaded model.
        report: What ``from_pretrained`` said it missed: ``missing_keys``, ``mismatched_keys``.
        reference: Where it was loaded from.

    Raises:
        BadInput: If a weight of the backbone is not the checkpoint's. In a model that does not say which part is its
            backbone, a head is a module of which no weight is.
    """
    # The second kind of entry is a name with the two shapes.
    mismatched = report.get("mismatched_keys", ())
    drawn = {*report["missing_keys"], *(key if isinstance(key, str) else key[0] for key in mismatched)}
    names = list(model.state_dict())
    base = model.base_model_prefix
    if base and hasattr(model, base):
        backbone = {base}
    else:
        backbone = {name.partition(".")[0] for name in names if name not in drawn}
    lost = [
        name
        for name in names
        if name in drawn
        and (not backbone or name.partition(".")[0] in backbone)
        and not any(part in MAY_BE_NEW for part in name.split("."))
    ]
    if lost:
        raise BadInput(
            f"{reference} lacks {len(lost):,} of the {len(names):,} weights of a {type(model).__name__}, such as "
            f"{lost[0]}: they would be random. Give a checkpoint of this architecture and size."
        )


@contextmanager
def _no_conversion_request() -> Iterator[None]:
    """Keep ``transformers`` from asking the Hub, in the background, to convert weights that are not safetensors."""
    switch = "DISABLE_SAFETENSORS_CONVERSION"
    before = os.environ.get(switch)
    os.environ[switch] = "1"
    try:
        yield
    finally:
        os.environ.pop(switch)
        if before is not None:
            os.environ[switch] = before


def renamed_image_processor(source: Source) -> Any | None:
    """Return the image processor of a checkpoint whose file names it as old versions did, ``ViTFeatureExtractor``.

    Returns:
        ``None`` if the file names no such class.
    """
    try:
        config, _ = transformers.BaseImageProcessor.get_image_processor_dict(source.name, **source.pinned)
    except (OSError, ValueError):
        return None
    called = str(config.get("image_processor_type"))
    if not called.endswith("FeatureExtractor"):
        return None
    found = getattr(transformers, f"{called.removesuffix('FeatureExtractor')}ImageProcessorPil", None)
    return None if found is None else found.from_pretrained(source.name, **source.pinned)


def missing_for_pieces(folder: Path) -> str | None:
    """Return what to say of a checkpoint whose vocabulary needs packages that are not installed; else ``None``."""
    pieces = next((file for file in SENTENCE_PIECES if (folder / file).is_file()), None)
    missing = [package for package, module in PIECES_NEED.items() if not _installed(module)]
    if pieces is None or not missing:
        return None
    return (
        f"Its vocabulary is {pieces}, which needs {' and '.join(PIECES_NEED)}; missing here: {', '.join(missing)}. "
        f"Run: pip install {' '.join(missing)}"
    )


def _installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ModuleNotFoundError:  # A parent package is missing.
        return False
