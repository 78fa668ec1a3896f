"""The demo over all nine tasks: a deleted row of each in its own medium, models switched, answers as Python's."""

from dataclasses import replace
from importlib import import_module

import numpy as np
import pytest

from mubench_hf.demo import DemoRuns
from mubench_hf.runs.pipeline import Pipeline
from mubench_hf.tasks import list_tasks

FEW = {"max_steps": 2, "per_device_train_batch_size": 8, "cpu_threads": 1}
TAGS = {"image": "img", "audio": "audio", "video": "video", "text": ".mu-text", "choice": ".mu-text"}


@pytest.fixture(scope="module")
def all_runs(tmp_path_factory):
    """Folder with a run of two steps a model for every task; its scores mean nothing."""
    out = tmp_path_factory.mktemp("all")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mubench_hf.models.text_to_image.SAMPLING_STEPS", 3)
        for name in list_tasks():
            module = import_module(f"mubench_hf.tasks.{name}")
            few = replace(module.TASK.mini, recipe=FEW, presets={"neggrad": FEW, "finetune": FEW})
            patch.setattr(module, "TASK", replace(module.TASK, mini=few))
            Pipeline(name, variant="mini", out=out / name, methods=["neggrad"], seeds=[42]).run()
    return out


@pytest.fixture(scope="module")
def url(serve, all_runs):
    return serve("demo", {"MUBENCH_RUNS": str(all_runs)})[0]


def check(page, bench, sample, methods):
    """Check that the page shows what the models say of ``sample``."""
    page.get_by_text(f"row {sample.index} of the data set").wait_for()
    for method in {"original", "retrain", "neggrad"} - set(methods):
        page.locator(f"[data-method={method}]").wait_for(state="detached")
    for method in methods:
        card, answer = page.locator(f"[data-method={method}]"), bench.answer(method, sample)
        card.wait_for()
        found = [float(data.get_attribute("value")) for data in card.locator("data").all()]
        shares = answer.probabilities or {}
        wanted = sorted(shares.values(), reverse=True)[:5]
        if sample.truth in shares and shares[sample.truth] < min(wanted):
            wanted[-1] = shares[sample.truth]
        wanted += [] if answer.membership is None else [answer.membership]
        np.testing.assert_allclose(found, wanted, atol=1e-6)
        if answer.text is not None:
            assert card.locator(".mu-text").inner_text().split() == (answer.text.split() or ["(nothing)"])
        assert card.locator("img").count() == (answer.image is not None)


@pytest.mark.slow
@pytest.mark.parametrize("name", list_tasks())
def test_a_deleted_row_of_every_task(name, url, all_runs, open_page, screenshot):
    bench = DemoRuns.local(all_runs).bench(f"{name}-mini", 5)
    page = open_page(url)
    page.set_default_timeout(60_000)
    page.locator(".mu-sentence").wait_for()
    page.get_by_label("Task").click()
    page.get_by_role("option", name=f"{name}-mini").click()
    page.get_by_text(bench.title).wait_for()
    sample = bench.sample("forget", 0)
    check(page, bench, sample, ["original", "retrain", "neggrad"])
    for shown in sample.shown:
        figure = page.locator(".mu-row figure").filter(has_text=shown.name)
        assert figure.locator(TAGS[shown.medium]).count() == 1
    for medium in ("audio", "video"):  # The browser can play what it is given.
        for player in page.locator(f".mu-row {medium}").all():
            page.wait_for_function("player => player.readyState >= 1", arg=player.element_handle())
            assert player.evaluate("player => player.duration > 0 && player.error === null")
    screenshot(page, f"demo-{name}-1440")
    page.get_by_label("retrain", exact=True).uncheck()
    page.get_by_role("button", name="Next").click()
    check(page, bench, bench.sample("forget", 1), ["original", "neggrad"])
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    screenshot(page, f"demo-{name}-390")
