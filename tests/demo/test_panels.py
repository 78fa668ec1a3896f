"""The demo's HTML: exact numbers, every medium, and nothing of what it shows is HTML itself."""

import base64
import io
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image

from mubench_hf.demo import Answer, Sample, Shown
from mubench_hf.demo.panels import alert, answers_panel, sample_panel

EVIL = "<script>alert(1)</script><img src=x onerror=alert(1)> **bold** [a](javascript:alert(1)) \"'&"


class Page(HTMLParser):
    """Tags with their attributes, and the text of a piece of HTML; tags must close in order."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("img", "meter"):
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag != "meter":
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data

    def of(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


def answer(**given):
    blank = dict.fromkeys(("probabilities", "text", "marked", "image", "membership", "membership_reason", "loss"))
    return Answer(**{"method": "scrub", "seed": 7, **blank, "membership_reason": "no truth", **given})


def sample(*shown, truth=None, split="forget", index=3):
    return Sample(split, index, shown, truth, row={}, position=0, scored=truth is not None, key="x")


def test_what_is_shown_is_never_html():
    evil = answer(text=EVIL, probabilities={EVIL: 1.0}, marked=[(EVIL, True), (EVIL, False)], membership_reason=EVIL)
    row = sample(Shown(EVIL, "text", EVIL), truth=EVIL)
    for html in (sample_panel(row), answers_panel([evil], row, EVIL), alert(EVIL)):
        page = Page(html)
        assert EVIL in page.text
        assert {"script", "a", "img"}.isdisjoint(name for name, _ in page.tags)
        assert not [name for _, attrs in page.tags for name in attrs if name.startswith("on")]


def test_numbers_are_exact_and_the_truth_is_always_there():
    values = np.sort(np.random.default_rng().dirichlet(np.ones(9)))
    probabilities = {f"class {place}": float(value) for place, value in enumerate(values)}
    given = answer(probabilities=probabilities, membership=0.123456789012345)
    page = Page(answers_panel([given], sample(truth="class 0"), "It changed."))
    shown = [float(attrs["value"]) for attrs in page.of("data") if "class" not in attrs]
    assert shown == [*sorted(probabilities.values(), reverse=True)[:4], probabilities["class 0"]]
    assert [float(a["value"]) for a in page.of("data") if a.get("class") == "membership"] == [0.123456789012345]
    assert page.of("tr")[-1] == {"class": "truth"} and "It changed." in page.text
    assert all(attrs["aria-label"] for attrs in page.of("meter"))


def test_text_is_marked_where_it_deviates():
    page = Page(answers_panel([answer(text="a b c", marked=[("a ", False), ("b", True), (" c", False)])], sample(), ""))
    assert len(page.of("mark")) == 1 and "a b c" in page.text
    assert "(nothing)" in Page(answers_panel([answer(text="", marked=[])], sample(), "")).text


def test_media_travel_inside_the_page(tmp_path):
    pixels = np.random.default_rng().integers(0, 256, (5, 6, 3), dtype=np.uint8)
    sound, film = np.random.default_rng().uniform(-0.5, 0.5, 400).astype(np.float32), tmp_path / "clip.mp4"
    film.write_bytes(b"any bytes")
    page = Page(
        sample_panel(
            sample(
                Shown("picture", "image", Image.fromarray(pixels)),
                Shown("sound", "audio", (8000, sound)),
                Shown("film", "video", str(film)),
            )
        )
    )
    content = {}
    for tag in ("img", "audio", "video"):
        ((attrs),) = page.of(tag)
        assert attrs.get("alt") or attrs.get("aria-label")
        kind, data = re.fullmatch(r"data:([a-z0-9/]+);base64,(.*)", attrs["src"]).groups()
        content[kind] = base64.b64decode(data)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(content["image/png"]))), pixels)
    assert content["video/mp4"] == b"any bytes"
    soundfile = pytest.importorskip("soundfile")
    read, rate = soundfile.read(io.BytesIO(content["audio/wav"]))
    assert rate == 8000 and np.abs(read - sound).max() < 1e-4


def test_where_a_row_is_from():
    assert "deleted (D_f), row 3" in sample_panel(sample())
    assert "your own" in sample_panel(sample(split=None, index=None))
