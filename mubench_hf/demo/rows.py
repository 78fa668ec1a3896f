"""Rows as people see them: which medium a column is, and its value as something that can be shown."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mubench_hf.tasks._sounds import read_sound

if TYPE_CHECKING:
    from PIL.Image import Image

    from mubench_hf.demo.clips import Clips

LEGIBLE = 192
"""Pixels that the shorter side of a shown image or video has at least; smaller ones are enlarged, square by square."""


@dataclass(frozen=True)
class Field:
    """Something that one can bring oneself.

    Attributes:
        name: Column of the task.
        medium: ``image``, ``text``, ``audio``, ``video`` or ``choice``.
        label: What to call it.
        choices: What can be chosen, for a ``choice``.
        optional: Whether it can be left out: it is the truth, which only losses and membership need.
        example: What such a text looks like: that of the first test row.
    """

    name: str
    medium: str
    label: str
    choices: tuple[str, ...] = ()
    optional: bool = False
    example: str | None = None


@dataclass(frozen=True)
class Shown:
    """One column of a row, to be shown.

    Attributes:
        name: The column.
        medium: ``image``, ``text``, ``audio``, ``video`` or ``choice``.
        value: An RGB ``PIL.Image``; a text, to be shown as it is; for audio, samples a second and int16 samples
            ``[samples]`` or ``[samples, channels]``; for video, the path of an MP4 file (H.264).
    """

    name: str
    medium: str
    value: Any


@dataclass(frozen=True)
class Sample:
    """One row that models can be asked about.

    Attributes:
        split: ``forget``, ``retain`` or ``test``; ``None`` for one's own.
        index: Its upstream index; ``None`` for one's own.
        shown: Its input columns.
        truth: Name of its class, or the text to write; ``None`` where it is not known.
        row: Its columns as the task's preparation reads them.
        position: Its place in the split, in upstream order; 0 for one's own.
        scored: Whether it has all that a loss is taken of.
        key: Names the sample among all that were made.
    """

    split: str | None
    index: int | None
    shown: tuple[Shown, ...]
    truth: str | None
    row: Mapping[str, Any] = field(repr=False)
    position: int
    scored: bool
    key: str


def medium_of(feature: Any) -> str:
    """Return the medium of a column with this feature."""
    from datasets import Audio, ClassLabel, Image, Video

    media = {Image: "image", Audio: "audio", Video: "video", ClassLabel: "choice"}
    return next((medium for kind, medium in media.items() if isinstance(feature, kind)), "text")


def title_of(column: str) -> str:
    """Return what people call a column: ``image_left`` is "Image left"."""
    return column.replace("_", " ").capitalize()


def show(name: str, feature: Any, value: Any, clips: Clips) -> Shown:
    """Return a column's value as it can be shown.

    Args:
        name: The column.
        feature: Its feature; audio and video are not decoded by it.
        value: Its value in a row.
        clips: Where videos are written to.
    """
    show_it = {
        "image": lambda: enlarged(value.convert("RGB")),
        "audio": lambda: _sound(value),
        "video": lambda: clips.file(value["bytes"]),
        "choice": lambda: feature.names[value],
        "text": lambda: value,
    }
    medium = medium_of(feature)
    return Shown(name, medium, show_it[medium]())


def enlarged(image: Image) -> Image:
    """Return an image of which every pixel is a square large enough that the whole can be seen."""
    factor = -(-LEGIBLE // min(image.size))
    return image.resize((image.width * factor, image.height * factor), 0) if factor > 1 else image


def _sound(value: Mapping[str, Any]) -> tuple[int, np.ndarray]:
    sound, rate = read_sound(value["path"] if value["bytes"] is None else value["bytes"])
    # Whole numbers are played as they are; players bring others to full volume.
    samples = np.round(np.clip(sound, -1, 1) * 32767).astype(np.int16)
    return rate, samples[:, 0] if samples.shape[1] == 1 else samples
