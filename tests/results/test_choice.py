"""Which metrics a run computes, what they read of it and of the runs it is compared with, and what comes later."""

from dataclasses import replace

import numpy as np
import pytest

from mubench_hf.errors import BadInput
from mubench_hf.kinds.measures import get_measure
from mubench_hf.metrics import get_metric, list_metrics
from mubench_hf.metrics.parameters import SPLITS, every_source, kept_outputs, legal_parameters
from mubench_hf.runs.choice import ALL, behind, choose, sources_of
from mubench_hf.runs.completed import completed, completed_all, is_measured
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.scores import score
from mubench_hf.runs.store import kept_names, load_logits, save_logits, save_result
from mubench_hf.utils.files import file_sha256

pytestmark = pytest.mark.usefixtures("brought_is_forgotten")

DISTANCE = """
'''Mean distance of logits to the retrained model's on D_f.'''
DIRECTION, RANGE, SOURCE, DEFAULT = "lower", (0.0, float("inf")), "nobody", False


def far(forget_logits, retrain_forget_logits):
    return {"far": abs(forget_logits - retrain_forget_logits).mean()}
"""

TWICE = """
'''Reads another metric's score and an array that is measured on request.'''
DIRECTION, RANGE, SOURCE, DEFAULT = "lower", (0.0, float("inf")), "nobody", False


def twice(far, retrain_macro_gap=None, retrain_forget_gradient_norms=None):
    return {"twice": 2 * far}
"""


@pytest.fixture
def rng():
    seed = int(np.random.default_rng().integers(1 << 32))
    print(f"seed {seed}")
    return np.random.default_rng(seed)


@pytest.fixture
def far(tmp_path):
    (tmp_path / "far.py").write_text(DISTANCE)
    return get_metric(tmp_path / "far.py")


def outputs(rng, labels=None, sizes=(12, 40, 30)):
    made = {"chance": np.asarray(1 / 5), "incompetent_forget_logits": rng.normal(size=(sizes[0], 5))}
    for split, size in zip(("forget", "retain", "test"), sizes, strict=True):
        known = rng.integers(5, size=size) if labels is None else labels[f"{split}_labels"]
        made |= {f"{split}_logits": rng.normal(size=(size, 5)), f"{split}_labels": known}
    return made


def run(method, found, folder, **changes):
    """Keep a run's outputs and its result with the default scores, without references, and return the result."""
    scores, reasons = score(found, metrics=("accuracy",), method=method, seed=3)
    result = RunResult(
        "cifar100", "mini", "a" * 64, "b" * 64, "vit-tiny", method, 5, 3, "ok", scores, reasons=reasons,
        base_model=None if method == "original" else "mubench/cifar100-mini-vit-tiny-original-s3",
    )  # fmt: skip
    result = replace(result, hashes={"outputs": file_sha256(save_logits(result.name, folder, found))}, **changes)
    save_result(result, folder)
    return result


def test_default_asked_for_and_all():
    default = choose(["accuracy"])
    assert [metric.key for metric in default.of_splits] == ["accuracy"]
    assert {metric.key for metric in default.of_run} == {key for key in list_metrics() if get_metric(key).default}
    more = choose(["accuracy"], ["macro_f1", "zrf"])
    assert more.scores - default.scores == {f"{split}_macro_f1" for split in SPLITS}
    every = choose(["accuracy"], [ALL])
    assert {metric.key for metric in (*every.of_splits, *every.of_run)} == {*list_metrics()}
    assert every.of_splits[0].key == "accuracy", "the main score stays the task's"
    with pytest.raises(BadInput, match="Did you mean 'macro_f1'"):
        choose(["accuracy"], ["macrof1"])


def test_what_is_read_comes_with_what_reads_it(far, tmp_path):
    (tmp_path / "twice.py").write_text(TWICE.replace("retrain_macro_gap=None, ", ""))
    twice = get_metric(tmp_path / "twice.py")
    assert {"far", "twice"} & choose(["accuracy"]).scores == set(), "DEFAULT = False holds for metrics from outside too"
    assert {"far", "twice"} <= choose(["accuracy"], ["twice"]).scores
    assert sources_of("twice") == {"retrain outputs"} and sources_of("average_gap") == {"retrain"}
    choice = choose(["accuracy"], [twice])
    assert "forget_gradient_norms" in choice.arrays("retrain") and "forget_logits" in choice.arrays("scrub")
    assert "forget_gradient_norms" not in choice.arrays("scrub") | choose(["accuracy"]).arrays("retrain")
    assert behind(["twice", "forget_accuracy", "brilliance"]) == ["twice", "accuracy"]


def test_outputs_of_the_retrained_model_are_read_once_and_only_if_asked_for(far, rng):
    own = outputs(rng)
    theirs, read = outputs(rng, own), []

    def source():
        read.append(1)
        return {f"retrain_{name}": value for name, value in theirs.items()}

    given = {"metrics": ("accuracy",), "method": "scrub", "seed": 0, "sources": {"retrain outputs": source}}
    score(own, **given)
    assert not read
    scores, _ = score(own, **given, asked=["far"])
    assert scores["far"] == pytest.approx(np.abs(own["forget_logits"] - theirs["forget_logits"]).mean())
    assert read == [1]
    scores, reasons = score(own, **given | {"sources": {}}, asked=["far"])
    assert scores["far"] is None and "needs retrain_forget_logits among the kept outputs" in reasons["far"]
    itself, _ = score(own, **given | {"method": "retrain"}, asked=["far"])
    assert itself["far"] == 0 and read == [1], "a reference model is compared with itself"


def test_a_finished_run_is_filled_in_from_what_was_kept(far, rng, tmp_path):
    own = outputs(rng)
    theirs = outputs(rng, own)
    mine, retrain = run("scrub", own, tmp_path), run("retrain", theirs, tmp_path)
    assert completed(retrain, tmp_path) is retrain, "nothing is lacking that every run has"
    found = completed(mine, tmp_path, ["far", "macro_f1"])
    assert found.scores["far"] == pytest.approx(np.abs(own["forget_logits"] - theirs["forget_logits"]).mean())
    assert found.scores["forget_macro_f1"] is not None and found.metrics["far"]["name"] == "far.py"
    assert found.scores["average_gap"] is not None, "the retrained model was evaluated later"
    stated = {key: value for key, value in mine.scores.items() if value is not None}
    assert stated.items() <= found.scores.items()
    assert completed(found, tmp_path, ["far", "macro_f1"]) is found


@pytest.mark.parametrize("how", ["order", "rows", "data", "damaged", "missing"])
def test_outputs_of_other_rows_give_a_reason_and_no_number(how, far, rng, tmp_path):
    own = outputs(rng)
    theirs, changes = outputs(rng, own), {}
    if how == "order":
        order = np.roll(np.arange(12), 1)
        theirs |= {name: theirs[name][order] for name in ("forget_logits", "forget_labels")}
        own["forget_labels"][:2] = theirs["forget_labels"][:2] = (0, 1)
    elif how == "rows":
        theirs = outputs(rng, sizes=(11, 41, 30))
    elif how == "data":
        changes = {"data_fingerprint": "c" * 64}
    mine, retrain = run("scrub", own, tmp_path), run("retrain", theirs, tmp_path, **changes)
    kept = tmp_path / f"{retrain.name}.npz"
    if how == "damaged":
        kept.write_bytes(kept.read_bytes()[:-40])
    elif how == "missing":
        kept.unlink()
    found = completed(mine, tmp_path, ["far"])
    expected = {"order": "in another order", "rows": "of other rows", "data": "of other data", "damaged": "are damaged",
                "missing": "needs retrain_forget_logits"}  # fmt: skip
    assert found.scores["far"] is None and expected[how] in found.reasons["far"]
    assert str(tmp_path) not in found.reasons["far"], "a result says nothing of the machine"


def test_references_are_filled_in_first_and_originals_after_what_they_are_compared_with(rng, tmp_path):
    head = "DIRECTION, RANGE, SOURCE, DEFAULT = 'lower', (0.0, float('inf')), 'nobody', False\n"
    (tmp_path / "macro.py").write_text(f"{head}def macro(forget_logits): return {{'macro': abs(forget_logits).mean()}}")
    (tmp_path / "near.py").write_text(f"{head}def near(retrain_macro): return {{'near': retrain_macro}}")
    asked = [tmp_path / "macro.py", tmp_path / "near.py"]
    own = outputs(rng)
    runs = [run(method, outputs(rng, own), tmp_path) for method in ("bad_teaching", "original", "retrain", "scrub")]
    found = {each.method: each.scores for each in completed_all(runs, tmp_path, asked)}
    assert [scores["near"] for scores in found.values()] == [found["retrain"]["macro"]] * 4


def test_a_run_is_measured_again_only_for_an_array_that_it_lacks(rng, tmp_path):
    own = outputs(rng)
    whole = run("scrub", own, tmp_path)
    assert is_measured(whole, tmp_path, [ALL]), "of a classifier all that metrics read is there"
    del own["incompetent_forget_logits"]
    lacking = run("retrain", own, tmp_path)
    assert is_measured(lacking, tmp_path), "what has its score, or a reason of its own, is not measured again"
    scores = {key: value for key, value in lacking.scores.items() if key != "zrf"}
    reasons = {key: why for key, why in lacking.reasons.items() if key != "zrf"}
    assert not is_measured(replace(lacking, scores=scores, reasons=reasons), tmp_path)
    assert kept_names(lacking.name, tmp_path) == own.keys() == load_logits(lacking.name, tmp_path).keys()


def test_each_array_on_request_is_one_that_a_run_may_keep_and_a_metric_may_read():
    for kind in ("classification", "causal_lm", "seq2seq", "diffusion"):
        assert get_measure(kind).on_request <= kept_outputs().keys()
    legal = legal_parameters(())
    assert {f"retrain_{name}" for name in kept_outputs() if name != "chance"} <= legal.keys()
    assert every_source() >= {"original", "retrain", "original outputs", "retrain outputs"}
