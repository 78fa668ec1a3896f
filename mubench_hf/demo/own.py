"""One's own input: checked against its bounds before it is decoded, then made into what a row of the task holds."""

from __future__ import annotations

import io
import math
import os
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mubench_hf.data.media import first_unreadable
from mubench_hf.demo import clips
from mubench_hf.demo.rows import Field, medium_of
from mubench_hf.errors import BadInput, unknown_name
from mubench_hf.tasks._sounds import read_sound

if TYPE_CHECKING:
    from PIL.Image import Image

MEGABYTE = 1 << 20
IMAGE_BYTES, IMAGE_PIXELS, IMAGE_SIDE = 20 * MEGABYTE, 40_000_000, 1024
"""Most bytes and pixels of an image; and to how many pixels its longer side is brought: no model reads more."""

IMAGE_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "BMP")
SOUND_BYTES, SOUND_SECONDS, SOUND_SAMPLES = 20 * MEGABYTE, 60, 12_000_000
VIDEO_BYTES = 50 * MEGABYTE
CHARACTERS = 10_000

ALLOWED = {
    "image": f"a file of {', '.join(IMAGE_FORMATS)}, at most {IMAGE_BYTES // MEGABYTE} MB and "
    f"{IMAGE_PIXELS // 1_000_000} megapixels",
    "audio": f"a sound such as WAV, FLAC, OGG or MP3, at most {SOUND_BYTES // MEGABYTE} MB and {SOUND_SECONDS} s",
    "video": f"a video such as MP4, WebM or AVI, at most {VIDEO_BYTES // MEGABYTE} MB, and {clips.ALLOWED}",
    "text": f"text of 1 to {CHARACTERS:,} characters",
}

_DECODING = threading.Lock()
"""Large files are decoded one after the other: bounds of one file bound the whole then."""


def read_own(field: Field, feature: Any, value: Any) -> Any:
    """Return what a row of the task holds for a value that somebody brought.

    Args:
        field: What was asked for.
        feature: The column's feature.
        value: Path of a file for an image, a sound or a video; the text, or the choice.

    Raises:
        BadInput: If it cannot be used, saying what is allowed.
    """
    read = {
        "image": lambda: _image(_file(value, IMAGE_BYTES)),
        "audio": lambda: _sound(_file(value, SOUND_BYTES), feature.sampling_rate),
        "video": lambda: _video(_file(value, VIDEO_BYTES)),
        "text": lambda: _text(value),
        "choice": lambda: _choice(field, feature, value),
    }
    try:
        with _DECODING:
            return read[field.medium]()
    except BadInput:
        raise
    except (OSError, ValueError, SyntaxError) as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BadInput(f"{field.label} cannot be used: {reason}. Allowed: {ALLOWED[field.medium]}.") from error


def stand_in(feature: Any) -> Any:
    """Return what stands in a row where nothing was brought; it is only ever prepared, never scored or shown."""
    from PIL import Image

    stand_ins = {"image": lambda: Image.new("RGB", (8, 8)), "choice": lambda: 0, "text": lambda: ""}
    return stand_ins[medium_of(feature)]()


def _file(value: Any, most: int) -> bytes:
    if not isinstance(value, str | os.PathLike) or not Path(value).is_file():
        raise ValueError("there is no file")
    size = Path(value).stat().st_size
    if not 0 < size <= most:
        raise ValueError(f"the file has {size:,} bytes")
    return Path(value).read_bytes()


def _image(data: bytes) -> Image:
    from PIL import Image, ImageOps, UnidentifiedImageError

    try:
        # Only the header is read here.
        with Image.open(io.BytesIO(data), formats=IMAGE_FORMATS) as image:
            if math.prod(image.size) > IMAGE_PIXELS:
                raise ValueError(f"it is {image.width:,} x {image.height:,} pixels")
            image.thumbnail((IMAGE_SIDE, IMAGE_SIDE))
            return ImageOps.exif_transpose(image).convert("RGB")
    except UnidentifiedImageError as error:
        raise ValueError("it is no such image") from error
    except Image.DecompressionBombError as error:
        raise ValueError("it has far too many pixels") from error


def _sound(data: bytes, needed_rate: int | None) -> dict[str, Any]:
    """Return the stored form of a sound, with the data set's samples a second."""
    import soundfile
    from datasets import Audio

    try:
        # Only the header is read here.
        header = soundfile.info(io.BytesIO(data))
    except soundfile.SoundFileError as error:
        raise ValueError("it is no such sound") from error
    seconds = header.frames / header.samplerate
    if seconds > SOUND_SECONDS:
        raise ValueError(f"it is {seconds:,.0f} s long" if seconds < 1e6 else "it does not say how long it is")
    if header.frames * header.channels > SOUND_SAMPLES:
        raise ValueError(f"it has {header.frames:,} samples in {header.channels} channels")
    _check_decodes(Audio(), data)
    sound, rate = read_sound(data)
    if needed_rate not in (None, rate):
        from scipy.signal import resample_poly

        sound, rate = resample_poly(sound, needed_rate, rate, axis=0), needed_rate
    stored = io.BytesIO()
    soundfile.write(stored, sound, rate, format="WAV", subtype="FLOAT")
    return {"bytes": stored.getvalue(), "path": None}


def _video(data: bytes) -> dict[str, Any]:
    from datasets import Video

    clips.check_video(data)
    _check_decodes(Video(), data)
    return {"bytes": data, "path": None}


def _check_decodes(feature: Any, data: bytes) -> None:
    """Check that a file is whole, as is checked of the data sets' own."""
    wrong = first_unreadable(feature, [{"bytes": data, "path": None}])
    if wrong:
        raise ValueError(wrong[1])


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise ValueError("there is no text")
    if len(value) > CHARACTERS:
        raise ValueError(f"it has {len(value):,} characters")
    if any(0xD800 <= ord(character) < 0xE000 for character in value):  # No tokenizer takes half a pair.
        raise ValueError("it holds a half of a surrogate pair, which is no character")
    return value


def _choice(field: Field, feature: Any, value: Any) -> Any:
    """Return the number of a class; the name itself where the column holds names."""
    if value not in field.choices:
        raise unknown_name(field.label.lower(), f"{value!s:.80}", field.choices)  # It may be a megabyte.
    return feature.str2int(value) if hasattr(feature, "str2int") else value
