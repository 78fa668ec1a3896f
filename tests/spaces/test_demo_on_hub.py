"""The demo as it is on a Space: without a folder of runs, it shows what an organisation published."""

import subprocess
import sys

import pytest

from mubench_hf.demo import DemoRuns


@pytest.mark.slow
def test_published_checkpoints_are_shown(serve, quick_runs, hub_env, open_page):
    command = [sys.executable, "-m", "mubench_hf.cli", "publish"]
    checkpoints = sorted((quick_runs / "mubench").glob("cifar100-mini-vit-tiny*"))
    for what in (["dataset", "cifar100", "--mini", "--out", quick_runs], ["model", *checkpoints]):
        subprocess.run([*command, *map(str, what), "--push"], env=hub_env, check=True, timeout=120)
    url, _ = serve("demo", {**hub_env, "HF_HUB_OFFLINE": "0", "MUBENCH_ORG": "mubench", "MUBENCH_RUNS": ""})
    page = open_page(url)
    sample = DemoRuns.local(quick_runs).bench("cifar100-mini", 5).sample("forget", 0)
    page.get_by_text(f"row {sample.index} of the data set").wait_for()
    shown = [card.get_attribute("data-method") for card in page.locator(".mu-answers article").all()]
    assert shown == ["original", "retrain", "finetune", "neggrad"]
    page.get_by_role("button", name="Next").click()
    after = DemoRuns.local(quick_runs).bench("cifar100-mini", 5).sample("forget", 1)
    page.get_by_text(f"row {after.index} of the data set").wait_for()
