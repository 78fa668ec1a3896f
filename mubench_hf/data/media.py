"""Checks that stored images, sounds and videos can be decoded, before a data set is written."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from mubench_hf.errors import BadInput
from mubench_hf.tasks._clips import read_frames
from mubench_hf.tasks._sounds import read_sound


def first_unreadable(feature: Any, values: Sequence[dict[str, Any]]) -> tuple[int, str] | None:
    """Decode values of a column to their end; return the position of the first that cannot be decoded, and why.

    Args:
        feature: The column's feature; only ``Image``, ``Audio`` and ``Video`` are decoded.
        values: Encoded ``bytes`` of each row, and the ``path`` they came from.
    """
    decode = _decoder(feature)
    if decode is None:
        return None
    with ThreadPoolExecutor() as pool:  # The decoders let other threads run.
        reasons = pool.map(lambda value: _reason(decode, value["bytes"]), values)
        return next(((place, reason) for place, reason in enumerate(reasons) if reason), None)


def _decoder(feature: Any) -> Callable[[bytes], Any] | None:
    from datasets import Audio, Image, Video

    if isinstance(feature, Audio):
        return lambda data: _decode_audio(data, feature.sampling_rate)
    decoders = {Image: _decode_image, Video: lambda data: read_frames(data, 2)}
    return next((decode for kind, decode in decoders.items() if isinstance(feature, kind)), None)


def _reason(decode: Callable[[bytes], Any], data: bytes) -> str | None:
    try:
        decode(data)
    except BadInput:  # The decoder itself is missing.
        raise
    except (OSError, ValueError, SyntaxError) as error:
        return str(error).splitlines()[0]
    return None


def _decode_image(data: bytes) -> None:
    from PIL import Image

    try:
        with Image.open(io.BytesIO(data)) as image:
            image.load()
    except Image.DecompressionBombError as error:
        raise ValueError(error) from error


def _decode_audio(data: bytes, needed_rate: int | None) -> None:
    _, rate = read_sound(data)
    announced = int.from_bytes(data[4:8], "little") + 8
    # A WAV file that is cut off can still be read; one written as a stream announces no length, or the largest one.
    if data[:4] == b"RIFF" and len(data) < announced and announced not in (8, 2**32 + 7):
        raise ValueError(f"it is cut off after {len(data):,} of {announced:,} bytes")
    if needed_rate not in (None, rate):
        raise ValueError(f"it has {rate} samples per second, not {needed_rate}")
