"""The demo as a person uses it: pick a deleted row, switch models, bring one's own, in a browser."""

import io
import re
import zipfile

import numpy as np
import pytest
from PIL import Image

from mubench_hf.demo import DemoRuns

pytestmark = pytest.mark.slow


@pytest.fixture
def bench(quick_runs):
    return DemoRuns.local(quick_runs).bench("cifar100-mini", 5)


@pytest.fixture(scope="module")
def url(serve, quick_runs):
    return serve("demo", {"MUBENCH_RUNS": str(quick_runs)})[0]


def cards(page):
    """Return what stands on the page: method → its numbers, classes first and the attacker's certainty last."""
    page.locator(".mu-answers article").first.wait_for()
    return {
        card.get_attribute("data-method"): [float(d.get_attribute("value")) for d in card.locator("data").all()]
        for card in page.locator(".mu-answers article").all()
    }


def expected(bench, sample, methods):
    """Return the same, computed here."""
    numbers = {}
    for method in methods:
        answer = bench.answer(method, sample)
        names = sorted(answer.probabilities, key=lambda name: -answer.probabilities[name])[:5]
        if sample.truth is not None and sample.truth not in names:
            names[-1] = sample.truth
        numbers[method] = [answer.probabilities[name] for name in names]
        numbers[method] += [] if answer.membership is None else [answer.membership]
    return numbers


def same(found, wanted):
    assert list(found) == list(wanted)
    for method in wanted:
        np.testing.assert_allclose(found[method], wanted[method], atol=1e-6)


def settled(page, row):
    """Wait until a row of the data set and its answers are there."""
    page.get_by_text(re.compile(rf"row {row} of the data set")).wait_for()
    page.locator(".mu-sentence").wait_for()


def test_a_deleted_row_is_picked_and_models_are_switched(url, bench, open_page, screenshot):
    page = open_page(url)
    first = bench.sample("forget", 0)
    settled(page, first.index)
    methods = ["original", "retrain", "finetune", "neggrad"]
    same(cards(page), expected(bench, first, methods))
    assert bench.sentence([bench.answer(method, first) for method in methods]) in page.content()
    screenshot(page, "demo-1440")

    page.get_by_label("Finetune", exact=False).or_(page.get_by_label("finetune")).first.uncheck()
    page.locator("[data-method=finetune]").wait_for(state="detached")
    same(cards(page), expected(bench, first, [m for m in methods if m != "finetune"]))

    page.get_by_role("button", name="Next").click()
    second = bench.sample("forget", 1)
    settled(page, second.index)
    same(cards(page), expected(bench, second, [m for m in methods if m != "finetune"]))

    page.get_by_label("Never trained on (test)").check()
    held_out = bench.sample("test", 1)
    settled(page, held_out.index)
    same(cards(page), expected(bench, held_out, [m for m in methods if m != "finetune"]))


def test_it_fits_a_telephone_and_the_dark(url, bench, open_page, screenshot):
    page = open_page(url, width=390, height=844, dark=True)
    settled(page, bench.sample("forget", 0).index)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    screenshot(page, "demo-390-dark")
    for tab in ("Forgetting against utility", "How it works"):
        if not page.get_by_role("tab", name=tab).is_visible():
            page.get_by_role("button", name=re.compile("more|overflow", re.I)).first.click()
        page.get_by_role("tab", name=tab).or_(page.get_by_role("button", name=tab)).first.click()
        page.wait_for_timeout(500)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        screenshot(page, f"demo-390-dark-{tab.split()[0].lower()}")


def test_the_keyboard_is_enough(url, bench, open_page):
    page = open_page(url)
    settled(page, bench.sample("forget", 0).index)
    number = page.get_by_label("Row number")
    number.focus()
    page.keyboard.press("Control+A")
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    settled(page, bench.sample("forget", 2).index)
    page.get_by_role("button", name="Next").focus()
    page.keyboard.press("Enter")
    settled(page, bench.sample("forget", 3).index)


def test_ones_own_image_and_what_is_none(url, bench, open_page, tmp_path):
    page = open_page(url)
    settled(page, bench.sample("forget", 0).index)
    page.get_by_role("button", name="Bring your own").click()
    picture, zipped = tmp_path / "mine.png", tmp_path / "zip.png"
    pixels = np.random.default_rng().integers(0, 256, (40, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(picture)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("a", "b" * 1000)
    zipped.write_bytes(stream.getvalue())

    upload = page.locator("input[type=file]").first
    upload.set_input_files(zipped)
    # By its label: as a text it stands there only for as long as it is on its way.
    page.get_by_label("zip.png").wait_for()
    page.get_by_role("button", name="Ask the models").click()
    alert = page.locator(".mu-alert")
    alert.wait_for()
    assert "image" in alert.inner_text()

    page.get_by_label(re.compile("Remove|Clear", re.I)).first.click()
    # The field is made anew; a file that is given to the old one is lost.
    page.get_by_label("zip.png").wait_for(state="hidden")
    page.locator("input[type=file]").first.set_input_files(picture)
    page.get_by_label("mine.png").wait_for()
    page.get_by_role("button", name="Ask the models").click()
    page.get_by_text("This row is your own").wait_for()
    field = next(field.name for field in bench.inputs if field.medium == "image")
    mine = bench.own({field: str(picture)})
    same(cards(page), expected(bench, mine, ["original", "retrain", "finetune", "neggrad"]))


@pytest.mark.parametrize("path", ["/etc/passwd", "pyproject.toml", "../../pyproject.toml", "spaces/demo/app.py"])
def test_no_file_outside_is_served(url, path):
    from urllib.error import HTTPError
    from urllib.request import urlopen

    with pytest.raises(HTTPError) as refused:
        urlopen(f"{url}/gradio_api/file={path}", timeout=10)
    assert refused.value.code == 403
