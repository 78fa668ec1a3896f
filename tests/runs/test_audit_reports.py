"""Reports of audits: what they hold, what of them is refused, and the scores that follow from the parts."""

import copy
import io
import json
from dataclasses import replace

import numpy as np
import pytest
from rich.console import Console

from mubench_hf.errors import BadInput
from mubench_hf.results.audit_plots import audit_figure, plot_audits
from mubench_hf.results.audits import grouped, markdown_audits, print_audits
from mubench_hf.runs.audits.report import AuditReport, load_report, save_report
from mubench_hf.runs.audits.scores import audit_scores
from mubench_hf.utils.sealed import sealed

STEPS = (1, 4)
AUDIT = {
    "relearning": {"steps": [*STEPS], "most_steps": 9, "learning_rate": None, "batch_size": None, "seed": 0},
    "bits": [8, 4],
    "shares": [0.3],
    "training": {},
    "within": 0.05,
}


def points(steps, losses, scores):
    return {"steps": list(steps), "losses": list(losses), "scores": list(scores)}


def relearning(losses, target=0.1):
    """Return the part of a model whose loss on D_f was these after 0, 1, ... steps."""
    steps = range(len(losses))
    scores = [0.5 if step in (0, *STEPS) else None for step in steps]
    watched = {"forget": points(steps, losses, scores)}
    return {"on": "forget", "meaning": "D_f", "watched": watched, "stopped": None, "asked": [*STEPS], "target": target}


def splits(score):
    at = {"loss": 1.0, "score": score, "reason": None}
    return {"test": dict(at), "forget": dict(at), "retain": dict(at)}


def report(method="scrub", losses=(1.0, 0.5, 0.3, 0.2, 0.1), seed=1, **fields) -> AuditReport:
    rng = np.random.default_rng()
    watched = {"rest": points((0, *STEPS), (1, 2, 3), (0.9, 0.8, 0.7)),
               "tenth": points((0, *STEPS), (1, 2, 3), (0.9, 1.0, 1.0))}  # fmt: skip
    tenth = {"on": "tenth", "meaning": "a tenth", "watched": watched, "stopped": None, "asked": [*STEPS],
             "target": None}  # fmt: skip
    parts = {
        "as_is": splits(float(rng.uniform())),
        "relearn": relearning(losses),
        "tenth": tenth,
        "quantise": {"levels": {"8": splits(0.8), "4": splits(0.4)}},
        "prune": {"reason": "the model has no layers"},
    }
    shared = {"data_fingerprint": "f" * 64, "deletion_sha256": "d" * 64, "checkpoint_sha256": "c" * 64}
    made = AuditReport("cifar100", "mini", "vit-tiny", method, 5, seed, audit=AUDIT, parts=parts, **shared)
    scores, reasons = audit_scores(parts, fields.pop("retrain", None), fields.pop("original", None))
    return replace(made, scores=scores, reasons=reasons, **fields)


RETRAIN = {"relearn": relearning((1.0, 0.6, 0.1))}
ORIGINAL = {"relearn": relearning((0.09,))}


def test_a_report_read_again_is_equal_and_has_the_same_bytes(tmp_path):
    made = report(retrain=RETRAIN, original=ORIGINAL)
    save_report(made, tmp_path / "a.json")
    read = load_report(tmp_path / "a.json")
    assert read == made and read.to_json() == made.to_json()


@pytest.mark.parametrize("method", ["scrub", "retrain", "original"])
def test_steps_are_compared_with_those_of_the_retrained_model(method):
    mine = {"scrub": (1.0, 0.5, 0.3, 0.2, 0.1), "retrain": (1.0, 0.6, 0.1), "original": (0.09,)}[method]
    scores, reasons = audit_scores({"relearn": relearning(mine)}, RETRAIN, ORIGINAL)
    assert scores["relearn_steps"] == {"scrub": 4, "retrain": 2, "original": 0}[method]
    assert scores["relearn_time"] == {"scrub": 2.0, "retrain": 1.0, "original": 0.0}[method]


@pytest.mark.parametrize(
    ("mine", "retrain", "original", "steps", "said"),
    [
        ((1.0, 0.5, 0.4), RETRAIN, ORIGINAL, None, "above 0.1 after 2 steps"),
        ((1.0, 0.1), {"relearn": relearning((1.0, 0.5))}, ORIGINAL, 1, "of the retrained model: the loss on D_f"),
        ((1.0, 0.1), {"relearn": relearning((0.1,))}, ORIGINAL, 1, "as low before the first step"),
        ((1.0, 0.1), None, ORIGINAL, 1, "needs the retrained model"),
        ((1.0, 0.1), {"as_is": splits(0.5)}, ORIGINAL, 1, "of the retrained model: was not asked for"),
        ((1.0, 0.1), RETRAIN, None, None, "needs the original"),
    ],
)
def test_a_time_that_nothing_can_tell_has_a_reason(mine, retrain, original, steps, said):
    scores, reasons = audit_scores({"relearn": relearning(mine)}, retrain, original)
    assert scores["relearn_time"] is None and said in reasons["relearn_time"]
    assert scores["relearn_steps"] == steps


def test_a_part_without_a_result_gives_its_reason_and_one_that_diverged_too():
    stopped = {**relearning((1.0, 0.5)), "stopped": "loss 1e+09 at update 2"}
    scores, reasons = audit_scores(
        {"retain": {"reason": "there are no rows"}, "relearn": stopped, "prune": {"reason": "no layers"}},
        RETRAIN,
        ORIGINAL,
    )
    assert reasons["relearn_steps"] == reasons["forget_after_4_forget"] == "loss 1e+09 at update 2"
    assert reasons["forget_after_retain"] == "there are no rows" and reasons["forget_prune"] == "no layers"
    assert scores["forget_after_1_forget"] == 0.5


def test_each_level_and_step_is_a_score():
    scores = report(retrain=RETRAIN, original=ORIGINAL).scores
    assert (scores["test_8bit"], scores["forget_4bit"], scores["retain_4bit"]) == (0.8, 0.4, 0.4)
    assert [scores[f"rest_after_{step}_tenth"] for step in (0, *STEPS)] == [0.9, 0.8, 0.7]
    assert scores["tenth_after_4_tenth"] == 1.0


def changed(content, path, value):
    content = copy.deepcopy(content)
    *way, last = path
    place = content
    for name in way:
        place = place[name]
    place[last] = value
    return content


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("task",), "../x", "task"),
        (("checkpoint_sha256",), "abc", "checkpoint_sha256"),
        (("merged",), 1, "merged"),
        (("schema_version",), 99, "schema_version"),
        (("scores", "relearn_time"), float("inf"), "relearn_time"),
        (("scores", "relearn_time"), None, "reason"),
        (("parts", "other"), {}, "parts"),
        (("parts", "as_is"), {}, "as_is"),
        (("parts", "relearn", "target"), "low", "target"),
        (("parts", "relearn", "asked"), [0], "asked"),
        (("parts", "relearn", "watched", "forget", "steps"), [1, 2], "no curve"),
        (("parts", "relearn", "watched", "forget", "losses"), [1, 2, 3, 4, float("nan")], "Out of range"),
        (("parts", "quantise", "levels", "8", "test", "score"), "good", "quantise 8"),
        (("parts", "prune", "reason"), " ", "prune"),
    ],
)
def test_what_is_not_what_it_has_to_be_is_refused(path, value, said, tmp_path):
    content = json.loads(report(retrain=RETRAIN, original=ORIGINAL).to_json())
    file = tmp_path / "x.json"
    file.write_text(json.dumps(sealed(changed(content, path, value))))
    with pytest.raises(BadInput, match="Cannot read the audit") as found:
        load_report(file)
    assert said in str(found.value)


def test_a_report_that_was_changed_is_refused(tmp_path):
    content = json.loads(report().to_json())
    file = tmp_path / "x.json"
    for touched in (
        {**content, "seed": 7},
        {name: value for name, value in content.items() if name != "content_sha256"},
    ):
        file.write_text(json.dumps(touched))
        with pytest.raises(BadInput, match="changed after it was written"):
            load_report(file)
    file.write_text("[]")
    with pytest.raises(BadInput, match="Not the JSON of an audit"):
        load_report(file)


def methods() -> list[AuditReport]:
    return [
        report("scrub", seed=1, retrain=RETRAIN, original=ORIGINAL),
        report("scrub", (1.0, 0.1), seed=2, retrain=RETRAIN, original=ORIGINAL),
        report("retrain", (1.0, 0.6, 0.1), retrain=RETRAIN, original=ORIGINAL),
        report("original", (0.09,), retrain=RETRAIN, original=ORIGINAL),
        report("salun", (1.0, 0.9), retrain=RETRAIN, original=ORIGINAL),
    ]


def test_the_table_has_a_row_for_each_method_and_says_why_a_score_is_missing():
    every = methods()
    (groups,) = grouped(every)
    assert [group.label for group in groups] == ["original", "retrain", "salun", "scrub"]
    assert groups[3].cell("relearn_time", 2) == "1.25 ±1.06"
    text = markdown_audits(every)
    assert "| retrain | 2.0 | 1.00 |" in text and "| salun | – | – |" in text
    assert "– Relearn steps of salun; x retrain of salun: the loss on D_f is above 0.1 after 1 steps" in text
    stream = io.StringIO()
    print_audits(every, Console(file=stream, width=120))
    assert "scrub" in stream.getvalue() and "1.25 ±1.06" in stream.getvalue()


@pytest.mark.slow
def test_a_picture_is_the_same_each_time(tmp_path):
    every = methods()
    (picture,) = plot_audits(every, tmp_path)
    once = picture.read_bytes()
    assert once[:4] == b"\x89PNG" and plot_audits(every, tmp_path)[0].read_bytes() == once
    figure = audit_figure(grouped(every)[0])
    lines = {axes.get_title(): {line.get_label(): line.get_ydata() for line in axes.lines} for axes in figure.axes}
    assert [*lines["Loss on D_f, trained on D_f"]["retrain"]] == [1.0, 0.6, 0.1]
    assert [*lines["Other nine tenths, trained on a tenth"]["salun"]] == [0.9, 0.8, 0.7]


def test_other_ways_of_auditing_are_other_tables():
    other = replace(report(), audit={**AUDIT, "shares": [0.5]})
    assert len(grouped([report(), other])) == 2
