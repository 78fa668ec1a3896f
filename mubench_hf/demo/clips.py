"""Videos of any format as small files that browsers play, in a temporary folder that keeps the last ones."""

from __future__ import annotations

import hashlib
import io
import tempfile
import threading
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mubench_hf.demo.rows import LEGIBLE

if TYPE_CHECKING:
    import av

KEPT = 64
"""Files kept: those shown last."""

SECONDS, FRAMES, PIXELS = 60, 3600, 1920 * 1080
"""Most seconds and frames of a video, and most pixels of a frame."""

USUAL = 25
"""Frames a second of a video that does not say."""

ALLOWED = f"at most {SECONDS} s, {FRAMES:,} frames and {PIXELS:,} pixels a frame (1920 x 1080)"


class Clips:
    """MP4 files (H.264) made of videos, named after their content.

    Args:
        kept: Most files kept.
    """

    def __init__(self, kept: int = KEPT):
        self._folder = tempfile.TemporaryDirectory(prefix="mubench-demo-")
        self._kept, self._lock, self._files = kept, threading.Lock(), {}

    def file(self, data: bytes) -> str:
        """Return the path of a video as MP4 without sound.

        Args:
            data: The video, in any format that FFmpeg knows.

        Raises:
            ValueError: If it is no video, is damaged, or is larger than allowed.
        """
        name = hashlib.sha256(data).hexdigest()[:32]
        with self._lock:
            file = self._files.pop(name, None)
            if file is None:
                file = Path(self._folder.name, f"{name}.mp4")
                try:
                    write_mp4(data, file)
                except BaseException:
                    file.unlink(missing_ok=True)
                    raise
            self._files[name] = file  # The last one in is the last one out.
            while len(self._files) > self._kept:
                self._files.pop(next(iter(self._files))).unlink(missing_ok=True)
        return str(file)


def check_video(data: bytes) -> None:
    """Check what a video's header announces, and count its frames, before any is decoded.

    Raises:
        ValueError: If it is no video, or larger than allowed.
    """
    import av

    try:
        with av.open(io.BytesIO(data)) as container:
            stream = _stream(container)
            seconds = (container.duration or 0) / av.time_base
            if seconds > SECONDS:
                raise ValueError(f"it is {seconds:,.0f} s long")
            if stream.width * stream.height > PIXELS:
                raise ValueError(f"its frames are {stream.width} x {stream.height}")
            frames = 0
            for packet in container.demux(stream):
                frames += packet.size > 0
                if frames > FRAMES:
                    raise ValueError(f"it has more than {FRAMES:,} frames")
    except av.error.FFmpegError as error:
        raise ValueError(error.strerror) from error


def write_mp4(data: bytes, file: Path) -> None:
    """Write a video as H.264 at its own rate, its sides even numbers of pixels as the format wants.

    Raises:
        ValueError: If it is no video, is damaged, or is larger than allowed.
    """
    import av

    check_video(data)
    try:
        with (
            av.open(io.BytesIO(data)) as source,
            av.open(str(file), "w", format="mp4", options={"movflags": "faststart"}) as target,
        ):
            stream = _stream(source)
            rate = Fraction(stream.average_rate or 0).limit_denominator(1001)
            written = target.add_stream(
                "h264", rate=rate if 1 <= rate <= 120 else USUAL, options={"preset": "veryfast"}
            )
            factor = -(-LEGIBLE // min(stream.width, stream.height))
            written.width, written.height = (side * factor // 2 * 2 for side in (stream.width, stream.height))
            written.pix_fmt = "yuv420p"
            for number, frame in enumerate(source.decode(stream)):
                if frame.width * frame.height > PIXELS:
                    raise ValueError(f"a frame is {frame.width} x {frame.height}")
                target.mux(written.encode(_fitted(frame, written, number)))
            target.mux(written.encode())
    except av.error.FFmpegError as error:
        raise ValueError(error.strerror) from error


def _stream(container: av.container.InputContainer) -> Any:
    if not container.streams.video:
        raise ValueError("there is no video stream")
    stream = container.streams.video[0]
    # Where a file ends within its header, a stream may be named and nothing said of it.
    if stream.codec_context is None or not (stream.width and stream.height):
        raise ValueError("its frames have no size")
    return stream


def _fitted(frame: av.VideoFrame, written: Any, number: int) -> av.VideoFrame:
    """Return a frame in the size and colours of the written stream, shown as the ``number``-th."""
    fitted = frame.reformat(written.width, written.height, "yuv420p", interpolation="POINT")
    fitted.pts, fitted.time_base = number, 1 / written.codec_context.framerate
    return fitted
