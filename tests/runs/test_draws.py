"""Scores with the rows drawn anew: what rows contribute, the same rows in every run, and what strangers may write."""

import base64
import hashlib
import random
from types import SimpleNamespace

import numpy as np
import pytest

from mubench_hf.errors import BadInput
from mubench_hf.metrics import get_metric, list_metrics
from mubench_hf.metrics.mia_loss_auc import mia_loss_auc
from mubench_hf.metrics.mia_loss_auc import row_effects as auc_effects
from mubench_hf.results.uncertainty import Sample
from mubench_hf.runs.draws import DRAWS, check_draws, draws_of, row_draws
from mubench_hf.runs.scores import score

ROWS = ("fingerprint", "deletion list")


@pytest.fixture
def rng():
    seed = random.getrandbits(64)
    print(f"drawn with {seed}")
    return np.random.default_rng(seed)


def outputs(rng, forget=50, classes=5):
    found = {"chance": np.float64(1 / classes)}
    for split, rows in {"forget": forget, "test": 120, "retain": 300}.items():
        labels = rng.integers(classes, size=rows)
        found[f"{split}_labels"] = labels
        found[f"{split}_logits"] = rng.normal(size=(rows, classes)) + 1.5 * np.eye(classes)[labels] * rng.random(
            (rows, 1)
        )
    return {**found, "incompetent_forget_logits": rng.normal(size=(forget, classes))}


def drawn_rows(split, rows):
    """Return the rows of every draw, as anybody can draw them again."""
    text = f"{' '.join(ROWS)} {split} {rows}"
    own = np.random.default_rng(int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big"))
    return [own.integers(0, rows, rows) for _ in range(DRAWS)]


def read(draws, scores):
    return draws_of(SimpleNamespace(draws=draws, scores=scores))


def test_a_mean_over_rows_is_drawn_exactly(rng):
    values = rng.random(60)
    found = read(row_draws({"x": {"test": values}}, ROWS), {"x": float(values.mean())})["x"]
    wanted = [values[rows].mean() for rows in drawn_rows("test", 60)]
    np.testing.assert_allclose(found, wanted, atol=2e-4)  # They are kept in 16 bits.


def test_scores_of_some_rows_of_a_split_are_drawn_beside_those_of_all(rng):
    """Images are generated for the prompts of some rows."""
    values = {"all": rng.random(60), "some": rng.random(20), "same": rng.random(60)}
    draws = row_draws({key: {"test": value} for key, value in values.items()}, ROWS)
    found = read(draws, {key: float(value.mean()) for key, value in values.items()})
    for key, value in values.items():
        wanted = [value[rows].mean() for rows in drawn_rows("test", len(value))]
        np.testing.assert_allclose(found[key], wanted, atol=2e-4)


def test_an_area_under_a_curve_varies_as_it_does_over_rows_drawn_anew(rng):
    own = outputs(rng)
    names = [f"{split}_{what}" for split in ("forget", "test") for what in ("logits", "labels")]
    effects = auc_effects(*(own[name] for name in names))
    value = mia_loss_auc(*(own[name] for name in names))["mia_loss_auc"]
    found = read(row_draws(effects, ROWS), {"mia_loss_auc": value})["mia_loss_auc"]
    wanted = []
    for forget, test in zip(drawn_rows("forget", 50), drawn_rows("test", 120), strict=True):
        drawn = [own[name][forget if name.startswith("forget") else test] for name in names]
        wanted.append(mia_loss_auc(*drawn)["mia_loss_auc"])
    assert np.corrcoef(found, wanted)[0, 1] > 0.97
    assert np.std(found) == pytest.approx(np.std(wanted), rel=0.1)
    assert 0.02 < np.std(found) < 0.08, "about .04 with 50 rows, whatever seeds say"


def test_two_runs_draw_the_same_rows(rng):
    """What rows do to both alike is gone in the difference."""
    difficulty = rng.normal(size=50)
    runs = [difficulty + 0.1 * rng.normal(size=50) for _ in range(2)]
    a, b = (Sample({1: v.mean()}, {1: read(row_draws({"x": {"forget": v}}, ROWS), {"x": v.mean()})["x"]}) for v in runs)
    assert np.std(a.minus(b).draws[1]) < 0.4 * np.std(a.draws[1])
    other = read(row_draws({"x": {"forget": runs[0]}}, ("other", "rows")), {"x": runs[0].mean()})["x"]
    assert abs(np.corrcoef(other, a.draws[1])[0, 1]) < 0.5


def test_a_run_s_scores_are_the_means_of_what_rows_contribute(rng):
    own, effects = outputs(rng), {}
    scores, _ = score(own, metrics=("accuracy",), method="retrain", seed=3, effects=effects)
    wanted = {"test_accuracy", "forget_accuracy", "retain_accuracy", "mia_confidence_svc", "mia_loss_auc", "zrf",
              "knowledge_gap"}  # fmt: skip
    assert wanted <= effects.keys()
    for key, parts in effects.items():
        for split, values in parts.items():
            assert values.shape == (len(own[f"{split}_labels"]),)
            assert np.mean(values) == pytest.approx(scores[key], abs=1e-9), (key, split)
    again, _ = score(own, metrics=("accuracy",), method="retrain", seed=3)
    assert again == scores, "whether or not anybody asks"


def test_every_part_of_the_gap_has_draws():
    for key in ("accuracy", "mia_confidence_svc"):
        assert get_metric(key).row_effects is not None
    assert {get_metric(key).mean_of for key in list_metrics()} <= {None, "forget"}


def test_a_missing_score_has_no_draws(rng):
    draws = row_draws({"x": {"test": rng.random(9)}}, ROWS)
    assert read(draws, {"x": None}) == {} == read({}, {"x": 0.5})


@pytest.mark.parametrize(
    "text", ["not base64!", "QUI", 7, None, "", base64.b64encode(np.full(9, np.nan, "<f2").tobytes()).decode(),
             base64.b64encode(np.full(3, np.inf, "<f2").tobytes()).decode(),
             base64.b64encode(np.zeros(5000, "<f2").tobytes()).decode()]
)  # fmt: skip
def test_draws_that_are_none_are_refused(text):
    with pytest.raises(BadInput, match="draws"):
        check_draws({"zrf": text})
