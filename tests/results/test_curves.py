"""Each score over the deletion ratio: what the lines show, and that rows of the tables can be told apart."""

import os
import random
import statistics

import numpy as np
import pytest

from mubench_hf.errors import BadInput
from mubench_hf.results.aggregate import aggregate
from mubench_hf.results.curves import curves_figure
from mubench_hf.runs.result import RunResult

KEYS = ("test_accuracy", "forget_accuracy", "retain_accuracy", "unlearn_seconds", "zrf")
ROWS = [("original", {}), ("retrain", {}), *(("scrub", {"msteps": steps}) for steps in range(12)), ("neggrad", {})]


@pytest.fixture
def runs():
    seed = int(os.environ.get("MUBENCH_TEST_SEED", np.random.SeedSequence().entropy % 2**32))
    print(f"inputs drawn with MUBENCH_TEST_SEED={seed}")
    draw = random.Random(seed)
    return [
        RunResult(
            task="cifar100", variant="mini", data_fingerprint="f", deletion_sha256="d", model="vit", del_ratio=ratio,
            status="ok", scores={key: draw.uniform(0.1, 0.9) for key in KEYS}, method=method, seed=run_seed,
            settings=settings,
        )
        for ratio in (2, 5, 9)
        for method, settings in ROWS
        for run_seed in range(2)
    ]  # fmt: skip


def test_lines_are_the_means_of_each_row(runs):
    figure = curves_figure(aggregate(runs), "CIFAR-100")
    assert len(figure.axes) == len(KEYS)
    titles = [axes.get_title().rstrip(" ↑↓→") for axes in figure.axes]
    axes = figure.axes[titles.index("D_f")]
    assert len(axes.containers) == len(ROWS) and axes.get_xticks().tolist() == [2, 5, 9]
    for container in axes.containers:
        line, label = container.lines[0], container.get_label()
        method, steps = label.split(" ")[0], label.partition("msteps=")[2].rstrip(")")
        for ratio, value in zip(*line.get_data(), strict=True):
            of = [run.scores["forget_accuracy"] for run in runs if run.del_ratio == ratio and run.method == method
                  and str(run.settings.get("msteps", "")) == steps]  # fmt: skip
            assert len(of) == 2 and value == pytest.approx(statistics.fmean(of))
    looks = [(line.get_color(), line.get_marker(), line.get_linestyle()) for line in
             (container.lines[0] for container in axes.containers)]  # fmt: skip
    assert len(set(looks)) == len(ROWS), "no two look alike"
    assert "CIFAR-100-mini (not CIFAR-100)" in figure.get_suptitle()


def test_curves_need_several_ratios_of_one_table(runs):
    for wrong in ([run for run in runs if run.del_ratio == 5], []):
        with pytest.raises(BadInput, match="several ratios"):
            curves_figure(aggregate(wrong))
