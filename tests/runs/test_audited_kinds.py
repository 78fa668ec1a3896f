"""Models that write texts and that draw images are audited as classifiers are."""

from dataclasses import replace

import pytest
from torch.utils.data import Subset

from mubench_hf.data.build import build
from mubench_hf.errors import BadInput
from mubench_hf.models.loading import fresh_model, weights_sha256
from mubench_hf.runs.audits.relearning import Relearning, relearn
from mubench_hf.runs.audits.scoring import score_rows
from mubench_hf.runs.setup import make_setup
from mubench_hf.runs.train import load_rows


@pytest.mark.slow
@pytest.mark.parametrize("task", ["samsum", "tiny_imagenet", "celeb_profile"])
def test_a_step_on_a_tenth_lowers_its_loss(task, tmp_path):
    setup = make_setup(task, variant="mini", out=tmp_path)
    build(setup.task, variant="mini", out=tmp_path, progress=False)
    data = load_rows(setup)
    few = {name: Subset(rows, range(0, len(rows), max(1, len(rows) // 12))) for name, rows in data.splits.items()}
    data = replace(data, splits=few)
    model = fresh_model(setup.model, data.label_names, 0).eval()
    before = weights_sha256(model)
    curve = relearn(model, data, on="tenth", settings=Relearning(steps=(2,)))
    assert weights_sha256(model) == before
    shown = curve.watched["tenth"]
    assert shown.losses[-1] < shown.losses[0] and curve.main.steps == (0, 2)
    assert all(0 <= score <= 1 for points in curve.watched.values() for score in points.scores)


def test_a_kind_that_nothing_is_measured_of_is_refused():
    class Task:
        kind = "regression"

    class Data:
        task = Task

    with pytest.raises(BadInput, match="regression"):
        score_rows(None, [], Data)
