"""One's own input: what is allowed, what is refused before it is decoded, and what it is turned into."""

import io
import resource
import struct
import time
import zipfile
import zlib
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from datasets import Audio, ClassLabel, Value, Video
from datasets import Image as ImageFeature
from PIL import Image

from mubench_hf.demo import own
from mubench_hf.demo.clips import Clips
from mubench_hf.demo.own import read_own
from mubench_hf.demo.rows import Field
from mubench_hf.errors import BadInput

FEATURES = {
    "image": ImageFeature(),
    "audio": Audio(sampling_rate=16_000),
    "video": Video(),
    "text": Value("string"),
    "choice": ClassLabel(names=["cat", "dog"]),
}


@pytest.fixture
def rng():
    return np.random.default_rng()


@pytest.fixture
def bring(tmp_path):
    """Bring bytes as a file, or a value as it is."""

    def bring(medium, value, name="file"):
        if isinstance(value, bytes):
            (tmp_path / name).write_bytes(value)
            value = str(tmp_path / name)
        return read_own(Field("x", medium, "This", ("cat", "dog")), FEATURES[medium], value)

    return bring


def saved(image, kind, **settings):
    stream = io.BytesIO()
    image.save(stream, kind, **settings)
    return stream.getvalue()


def sound(samples, rate, kind="WAV"):
    stream = io.BytesIO()
    soundfile.write(stream, samples, rate, format=kind)
    return stream.getvalue()


def film(rng, frames=30, side=48, codec="h264", kind="mp4", rate=10):
    stream = io.BytesIO()
    with av.open(stream, "w", format=kind) as target:
        written = target.add_stream(codec, rate=rate)
        written.width = written.height = side
        written.pix_fmt = "yuv420p"
        for _ in range(frames):
            pixels = rng.integers(0, 256, (side, side, 3), dtype=np.uint8)
            target.mux(written.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        target.mux(written.encode())
    return stream.getvalue()


def zipped():
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a.png", b"a" * 5000)
    return stream.getvalue()


def png(width, height):
    """Return a PNG file that announces a size and holds almost nothing."""

    def chunk(name, content):
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_an_image_is_what_was_brought(bring, rng, kind):
    pixels = rng.integers(0, 256, (30, 40, 3), dtype=np.uint8)
    found = bring("image", saved(Image.fromarray(pixels), kind, lossless=True))
    assert found.mode == "RGB" and np.array_equal(np.asarray(found), pixels)


def test_an_image_is_turned_upright_and_brought_down(bring, rng):
    image = Image.fromarray(rng.integers(0, 256, (1500, 3000, 3), dtype=np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6  # To be turned by a quarter.
    found = bring("image", saved(image, "JPEG", exif=exif))
    assert found.size == (own.IMAGE_SIDE // 2, own.IMAGE_SIDE)


def test_transparent_and_grey_images_are_read(bring):
    for mode in ("RGBA", "L", "P", "1", "I;16"):
        assert bring("image", saved(Image.new(mode, (9, 5)), "PNG")).mode == "RGB"


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (png(20_000, 20_000), "far too many pixels"),
        (png(8_000, 8_000), "8,000 x 8,000 pixels"),
        (zipped(), "no such image"),
        (b"", "0 bytes"),
        (b"<svg onload='alert(1)'/>", "no such image"),
        (saved(Image.new("RGB", (50, 50)), "TIFF"), "no such image"),
        (saved(Image.effect_noise((90, 90), 50), "JPEG")[:900], "truncated"),
    ],
)
def test_images_that_are_refused(bring, content, reason):
    with pytest.raises(BadInput, match=rf"This cannot be used: .*{reason}.* Allowed: a file of PNG.* 40 megapixels"):
        bring("image", content, "picture.png")


def test_a_bomb_is_refused_by_its_header(bring):
    """As the real thing: 20,000 x 20,000 pixels that pack into a small file."""
    data = saved(Image.new("1", (20_000, 20_000)), "PNG")
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.perf_counter()
    with pytest.raises(BadInput, match="far too many pixels"):
        bring("image", data)
    assert time.perf_counter() - start < 1
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50_000, "KiB; decoded it takes 400,000"


@pytest.mark.parametrize("kind", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_sound_gets_the_data_sets_rate(bring, kind):
    times = np.arange(48_000) / 48_000
    found = bring("audio", sound(0.5 * np.sin(2 * np.pi * 440 * times), 48_000, kind))
    samples, rate = soundfile.read(io.BytesIO(found["bytes"]))
    assert rate == 16_000 and abs(len(samples) - 16_000) < 2000
    spectrum = np.abs(np.fft.rfft(samples[4000:12_000]))
    assert abs(spectrum.argmax() * 16_000 / 8000 - 440) <= 2, "Hz"


def test_a_sound_of_the_right_rate_is_not_touched(bring, rng):
    samples = rng.uniform(-1, 1, (800, 2)).astype("f4")
    stream = io.BytesIO()
    soundfile.write(stream, samples, 16_000, format="WAV", subtype="FLOAT")
    found = soundfile.read(io.BytesIO(bring("audio", stream.getvalue())["bytes"]), dtype="float32")[0]
    assert np.array_equal(found, samples)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (sound(np.zeros(8000 * 600), 8000), "600 s long"),
        (sound(np.zeros(100), 8000)[:60], "cut off after 60 of 244 bytes"),
        (zipped(), "no such sound"),
        (b"", "0 bytes"),
        (sound(np.zeros((1_700_000, 8)), 48_000, "FLAC"), "1,700,000 samples in 8 channels"),
    ],
)
def test_sounds_that_are_refused(bring, content, reason):
    with pytest.raises(BadInput, match=rf"This cannot be used: .*{reason}.* Allowed: a sound .* 20 MB and 60 s"):
        bring("audio", content, "sound.wav")


def test_a_long_sound_is_refused_by_its_header(bring, monkeypatch):
    monkeypatch.setattr(own, "read_sound", lambda data: pytest.fail("decoded"))
    with pytest.raises(BadInput, match="61 s long"):
        bring("audio", sound(np.zeros(61 * 8000), 8000, "FLAC"))


@pytest.mark.parametrize(("codec", "kind"), [("h264", "mp4"), ("vp8", "webm"), ("mpeg4", "avi")])
def test_a_video_is_kept_as_it_is(bring, rng, codec, kind):
    data = film(rng, codec=codec, kind=kind)
    assert bring("video", data) == {"bytes": data, "path": None}


def test_videos_that_are_refused(bring, rng, monkeypatch):
    short = film(rng, kind="avi", codec="mpeg4")
    noisy = bytearray(film(rng))
    noisy[len(noisy) // 2 : len(noisy) // 2 + 2000] = rng.bytes(2000)
    cases = {
        "61 s long": film(rng, frames=61, rate=1),
        "2000 x 2000": film(rng, frames=1, side=2000),
        "0 bytes": b"",
        "Invalid data": zipped(),
        "Invalid data ": bytes(noisy),
        "cut off": short[: len(short) // 2],
        "no video stream": sound(np.zeros(800), 8000),
    }
    for reason, content in cases.items():
        with pytest.raises(BadInput, match=rf"This cannot be used: .*{reason.strip()}.* Allowed: a video .* 50 MB"):
            bring("video", content, "film.mp4")
    clips = Clips()
    header_first = Path(clips.file(short)).read_bytes()
    for size in (100, 400, *rng.integers(1, len(header_first) - 1, 20)):
        with pytest.raises(BadInput, match="Allowed: a video"):
            bring("video", header_first[:size], f"torn-{size}.mp4")
    monkeypatch.setattr("mubench_hf.demo.clips.FRAMES", 20)
    with pytest.raises(BadInput, match="more than 20 frames"):
        bring("video", short)


def test_texts_are_kept_as_they_are(bring):
    for text in ("<script>alert(1)</script> **bold** {0} %s", " a\n\tb ", "äöü 漢字 🙂", "x" * 10_000):
        assert bring("text", text) == text


@pytest.mark.parametrize("value", ["", " \n", "x" * 10_001, "a" * 1_000_000, "half \ud800", 5, None, ["a"]])
def test_texts_that_are_refused(bring, value):
    with pytest.raises(BadInput, match="This cannot be used: .* Allowed: text of 1 to 10,000 characters"):
        bring("text", value)


def test_choices(bring):
    assert [bring("choice", name) for name in ("cat", "dog")] == [0, 1]
    for value in ("dgo", 0, None, ["cat"]):
        with pytest.raises(BadInput, match="Allowed: cat, dog"):
            bring("choice", value)
    with pytest.raises(BadInput) as refused:
        bring("choice", "x" * 1_000_000)
    assert len(str(refused.value)) < 200


@pytest.mark.parametrize("medium", ["image", "audio", "video"])
def test_what_is_no_file_is_refused(bring, medium, tmp_path, monkeypatch):
    for value in ("/nowhere/x.png", str(tmp_path), 3, None, ["a"]):
        with pytest.raises(BadInput, match="there is no file"):
            bring(medium, value)
    monkeypatch.setattr(own, f"{dict(image='IMAGE', audio='SOUND', video='VIDEO')[medium]}_BYTES", 10)
    with pytest.raises(BadInput, match="the file has 11 bytes"):
        bring(medium, b"x" * 11)
