"""Which files below a folder may be sent to a Hub: an allow-list, for whatever else lies there is nobody's business."""

from __future__ import annotations

from collections.abc import Iterator
from fnmatch import fnmatchcase
from pathlib import Path

from mubench_hf.runs.plan import RECIPE
from mubench_hf.runs.record import RECORD

CARD = "README.md"
WEIGHTS = ("model*.safetensors", "diffusion_pytorch_model*.safetensors", "adapter_model.safetensors")
CONFIGS = (
    "config.json", "generation_config.json", "adapter_config.json", "scheduler_config.json", "model_index.json",
    "model.safetensors.index.json", "diffusion_pytorch_model.safetensors.index.json", "preprocessor_config.json",
    "processor_config.json", "video_preprocessor_config.json", "tokenizer.json", "tokenizer_config.json",
    "special_tokens_map.json", "added_tokens.json", "vocab.json", "vocab.txt", "merges.txt", "normalizer.json",
    "spiece.model", "sentencepiece.bpe.model", "tokenizer.model", "chat_template.jinja", "chat_template.json",
)  # fmt: skip
PIPELINE_PARTS = ("unet", "vae", "text_encoder", "tokenizer", "scheduler")


def of_model(path: str, pipeline: bool) -> bool:
    """Return whether a path below a checkpoint is one of the allowed ones."""
    *folders, name = path.split("/")
    if folders == ["plots"]:
        return fnmatchcase(name, "*.png")
    allowed = any(fnmatchcase(name, pattern) for pattern in WEIGHTS) or name in CONFIGS
    if not folders:
        return allowed or name in (RECORD, RECIPE)
    return pipeline and len(folders) == 1 and folders[0] in PIPELINE_PARTS and allowed


def plain_files(folder: Path) -> tuple[dict[str, Path], list[str]]:
    """Return the files of a folder by their path in it, and what is a link: that may lead anywhere."""
    files, links = {}, []
    for entry in _walk(folder):
        path = entry.relative_to(folder).as_posix()
        if entry.is_symlink():
            links.append(f"{path} (a link)")
        elif entry.is_file():
            files[path] = entry
    return files, links


def _walk(folder: Path) -> Iterator[Path]:
    for entry in sorted(folder.iterdir()):
        if entry.is_dir() and not entry.is_symlink():
            yield from _walk(entry)
        else:
            yield entry
