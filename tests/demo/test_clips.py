"""Videos to show: what browsers play, like what was there, and not more files than allowed."""

import io
from pathlib import Path

import av
import numpy as np
import pytest

from mubench_hf.demo.clips import Clips
from mubench_hf.demo.rows import LEGIBLE
from mubench_hf.tasks._clips import write_avi

PALETTE = [(level * 17,) * 3 for level in range(16)]


@pytest.fixture
def rng():
    return np.random.default_rng()


def clip(rng, frames=12, side=24, rate=8):
    """Return grey levels of squares, 4 pixels wide, and the video of them."""
    levels = np.kron(rng.integers(0, 16, (frames, side // 4, side // 4)), np.ones((1, 4, 4), int)).astype(np.uint8)
    return levels, write_avi(levels, PALETTE, rate)


def test_a_clip_shows_the_frames(rng):
    levels, data = clip(rng)
    clips = Clips()
    file = clips.file(data)
    with av.open(file) as container:
        stream = container.streams.video[0]
        assert (stream.codec_context.name, stream.pix_fmt, stream.average_rate) == ("h264", "yuv420p", 8)
        frames = np.stack([frame.to_ndarray(format="gray") for frame in container.decode(stream)])
    assert len(frames) == 12 and min(frames.shape[1:]) >= LEGIBLE
    middle = frames.shape[1] // 12  # Of a square.
    shown = frames[:, middle :: 2 * middle, middle :: 2 * middle].astype(float)
    assert np.corrcoef(shown.ravel(), levels[:, ::4, ::4].ravel())[0, 1] > 0.99
    content = Path(file).read_bytes()
    assert content.index(b"moov") < content.index(b"mdat"), "it starts to play before all of it is there"


def test_odd_sides_are_made_even():
    stream = io.BytesIO()
    with av.open(stream, "w", format="avi") as target:
        written = target.add_stream("ffv1", rate=5)
        written.width, written.height, written.pix_fmt = 301, 203, "bgr0"
        pixels = np.zeros((203, 301, 3), np.uint8)
        for packet in (*written.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")), *written.encode()):
            target.mux(packet)
    clips = Clips()
    with av.open(clips.file(stream.getvalue())) as container:
        assert (container.streams.video[0].width, container.streams.video[0].height) == (300, 202)


def test_files_are_few_and_go_with_their_owner(rng):
    clips, contents = Clips(kept=3), [clip(rng, frames=2)[1] for _ in range(5)]
    files = [Path(clips.file(data)) for data in contents[:3]]
    assert clips.file(contents[0]) == str(files[0]) and all(file.is_file() for file in files)
    last = [Path(clips.file(data)) for data in contents[3:]]
    kept = {files[0], *last}
    assert set(files[0].parent.iterdir()) == kept, "the ones shown last"
    del clips
    assert not any(file.exists() for file in kept)


def test_what_is_no_video_leaves_no_file(rng):
    clips = Clips()
    for data in (b"", b"no video", clip(rng)[1][:300]):
        with pytest.raises(ValueError):
            clips.file(data)
    folder = Path(clips.file(clip(rng)[1])).parent
    assert len(list(folder.iterdir())) == 1
