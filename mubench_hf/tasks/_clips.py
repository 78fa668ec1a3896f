"""Video files as bytes: reads frames from any format that FFmpeg knows, and writes small uncompressed files."""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from mubench_hf.errors import BadInput

if TYPE_CHECKING:
    import av
    from PIL import Image

MISSING = 0.1
"""Share of the announced frames that may be missing: some encoders count too many."""


def read_frames(data: bytes, count: int) -> list[Image.Image]:
    """Decode frames at even distances over a video, including the first and the last.

    A video with fewer frames gives some of them several times. Only the chosen frames are kept while it is decoded.

    Args:
        data: The video file.
        count: Number of frames, at least 2.

    Returns:
        ``count`` RGB images in order of time.

    Raises:
        ValueError: If the bytes are not a video, are cut off or damaged, or lack over a tenth of their frames.
        BadInput: If PyAV is not installed.
    """
    try:
        import av
    except ImportError as error:
        raise BadInput("Videos are read with PyAV, which is missing. Run: pip install 'mubench_hf[video]'") from error

    try:
        with av.open(io.BytesIO(data)) as container:
            if not container.streams.video:
                raise ValueError("there is no video stream")
            stream = container.streams.video[0]
            total = stream.frames or sum(packet.size > 0 for packet in container.demux(stream))
        with av.open(io.BytesIO(data)) as container:
            return _pick(container, total, count)
    except av.error.FFmpegError as error:
        raise ValueError(error.strerror) from error


def _pick(container: av.container.InputContainer, total: int, count: int) -> list[Image.Image]:
    wanted = [(total - 1) * number // (count - 1) for number in range(count)]
    found, last, position = {}, None, -1
    for packet in container.demux(container.streams.video[0]):
        if packet.is_corrupt:
            raise ValueError(f"it is cut off after {position + 1} of {total} frames")
        for last in packet.decode():
            position += 1
            if position in wanted:
                found[position] = last.to_image()
    if position + 1 < max(1, (1 - MISSING) * total):
        raise ValueError(f"it has {position + 1} of {total} frames")
    return [found[place] if place in found else last.to_image() for place in wanted]


def write_avi(frames: np.ndarray, palette: Sequence[tuple[int, int, int]], rate: int) -> bytes:
    """Return an uncompressed AVI file; its bytes depend on no encoder, and every player shows it.

    Args:
        frames: Palette numbers, uint8 ``[frames, height, width]``; the width is a multiple of 4.
        palette: Colours (red, green, blue) from 0 to 255, at most 256.
        rate: Frames per second.

    Raises:
        ValueError: If the width is not a multiple of 4.
    """
    count, height, width = frames.shape
    if width % 4:
        raise ValueError(f"Frames of width {width} need padding. Give a multiple of 4.")
    size = height * width
    colours = b"".join(bytes((blue, green, red, 0)) for red, green, blue in palette)
    picture = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, 0, size, 0, 0, len(palette), 0) + colours
    stream = b"vidsDIB " + struct.pack("<IHHIIIIIIII4h", 0, 0, 0, 0, 1, rate, 0, count, size, 2**32 - 1, 0, 0, 0, width,
                                       height)  # fmt: skip
    # 16 says that there is an index, and marks each frame in it as a key frame.
    main = struct.pack("<14I", 10**6 // rate, size * rate, 0, 16, count, 0, 1, size, width, height, 0, 0, 0, 0)
    header = b"hdrl" + _chunk(b"avih", main)
    header += _chunk(b"LIST", b"strl" + _chunk(b"strh", stream) + _chunk(b"strf", picture))
    # Pictures are stored from the bottom line up.
    movie = b"".join(_chunk(b"00db", frame[::-1].astype(np.uint8).tobytes()) for frame in frames)
    index = b"".join(b"00db" + struct.pack("<III", 16, 4 + number * (size + 8), size) for number in range(count))
    return _chunk(
        b"RIFF",
        b"AVI " + _chunk(b"LIST", header) + _chunk(b"LIST", b"movi" + movie) + _chunk(b"idx1", index),
    )


def _chunk(name: bytes, content: bytes) -> bytes:
    return name + struct.pack("<I", len(content)) + content + b"\0" * (len(content) % 2)
