import dataclasses
import json
import math
import random

import numpy as np
import pytest

from mubench_hf.errors import BadInput
from mubench_hf.runs.choice import choose
from mubench_hf.runs.result import ADDED, SCHEMA_VERSION, RunResult
from mubench_hf.utils.sealed import SEAL


def make_run(**changes):
    values = {
        "task": "cifar100",
        "variant": "full",
        "data_fingerprint": "f00d",
        "deletion_sha256": "ab" * 32,
        "model": "vit-tiny",
        "method": "scrub",
        "del_ratio": 5,
        "seed": 3,
        "status": "ok",
        "scores": {"test_accuracy": 0.5, "zrf": None},
        "reasons": {"zrf": "no logits"},
        "config": {"learning_rate": 1e-4, "betas": (0.9, 0.999)},
        "base_model": "mubench/cifar100-vit-tiny",
        "hardware": {"device": "cpu", "threads": 2},
        "versions": {"numpy": "2.0", "torch": None},
    }
    return RunResult(**(values | changes))


def changed_json(**changes):
    content = json.loads(make_run().to_json())
    for name, value in changes.items():
        content[name] = value
    return json.dumps(content)


def test_round_trip_keeps_every_field_and_every_bit_of_a_score():
    scores = {key: random.random() * 10 ** random.randint(-9, 3) for key in choose(["accuracy"]).scores}
    run = make_run(scores=scores, reasons={}, commit="c" * 40, base_revision="r", world_size=4)
    again = RunResult.from_json(run.to_json())
    assert again == run
    assert again.scores == scores
    assert json.loads(run.to_json())["schema_version"] == SCHEMA_VERSION
    assert json.loads(run.to_json()).keys() - {"schema_version", SEAL} == {
        f.name for f in dataclasses.fields(RunResult)
    }


def test_json_does_not_depend_on_the_order_of_mappings():
    pairs = [("a", 1.0), ("b", 0.25), ("c", 7.5)]
    texts = set()
    for _ in range(6):
        random.shuffle(pairs)
        texts.add(make_run(scores=dict(pairs), reasons={}, config=dict(pairs), hardware=dict(pairs)).to_json())
    assert len(texts) == 1
    assert texts.pop() != make_run(scores=dict(pairs), reasons={}).to_json()


def test_mappings_are_copied_and_tuples_become_lists():
    config = {"betas": (0.9, 0.999), "nested": {"steps": [1]}}
    run = make_run(config=config)
    config["nested"]["steps"].append(2)
    assert run.config == {"betas": [0.9, 0.999], "nested": {"steps": [1]}}


@pytest.mark.parametrize("number", [np.float32(0.25), np.float64(0.25), np.int64(3), 3])
def test_numpy_scores_become_plain_floats(number):
    score = make_run(scores={"zrf": number}, reasons={}).scores["zrf"]
    assert type(score) is float and score == float(number)


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf, np.float32("nan"), 10**400])
def test_scores_that_are_not_finite_are_refused(number):
    with pytest.raises(BadInput, match="'zrf'.*None with a reason"):
        make_run(scores={"zrf": number}, reasons={})


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_scores_that_are_not_finite_are_refused_in_a_file(literal):
    text = make_run(scores={"zrf": 0.123}, reasons={}).to_json()
    assert "0.123" in text
    with pytest.raises(BadInput, match="zrf"):
        RunResult.from_json(text.replace("0.123", literal))


@pytest.mark.parametrize("value", [True, "0.5", [0.5]])
def test_scores_must_be_numbers(value):
    with pytest.raises(BadInput, match="'zrf'"):
        make_run(scores={"zrf": value}, reasons={})


def test_missing_scores_and_reasons_must_match():
    with pytest.raises(BadInput, match="'zrf' is None without a reason"):
        make_run(scores={"zrf": None}, reasons={})
    with pytest.raises(BadInput, match="'zrf' is not None"):
        make_run(scores={"zrf": 0.5}, reasons={"zrf": "why"})
    with pytest.raises(BadInput, match="'mia'"):
        make_run(scores={"zrf": None}, reasons={"zrf": "why", "mia": "why"})
    with pytest.raises(BadInput, match="must say why"):
        make_run(scores={"zrf": None}, reasons={"zrf": " "})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("variant", "medium"),
        ("status", "fine"),
        ("del_ratio", 0),
        ("del_ratio", 11),
        ("del_ratio", 5.0),
        ("seed", -1),
        ("seed", True),
        ("world_size", 0),
        ("task", ""),
        ("task", "../etc"),
        ("model", "a/b"),
        ("method", ".hidden"),
        ("method", "a b"),
        ("data_fingerprint", None),
        ("config", [1]),
        ("config", {"lr": math.nan}),
        ("hardware", {"device": object()}),
        ("commit", 7),
    ],
)
def test_invalid_fields_are_named(name, value):
    with pytest.raises(BadInput, match=f"'{name}'"):
        make_run(**{name: value})


@pytest.mark.parametrize("ratio", [1, 10])
def test_limits_of_the_ratio_are_allowed(ratio):
    assert make_run(del_ratio=ratio).del_ratio == ratio


@pytest.mark.parametrize("key", ["unlearn_seconds", "retrain_time_ratio"])
def test_times_cannot_be_negative(key):
    with pytest.raises(BadInput, match=key):
        make_run(scores={key: -1e-9}, reasons={})
    assert make_run(scores={key: 0}, reasons={}).scores == {key: 0.0}


def test_status_and_its_reason_must_match():
    with pytest.raises(BadInput, match="status_reason"):
        make_run(status="diverged")
    with pytest.raises(BadInput, match="status_reason"):
        make_run(status_reason="but it is ok")
    assert make_run(status="failed", status_reason="out of memory", scores={}, reasons={}).status == "failed"


def test_other_tasks_bring_their_own_scores():
    assert make_run(scores={"test_rouge_l": 0.3}, reasons={}).scores == {"test_rouge_l": 0.3}


def test_names():
    assert make_run().name == "cifar100-vit-tiny-scrub-df5pct-s3"
    assert make_run().run.checkpoint_name == make_run().name
    mini = make_run(variant="mini", method="original")
    assert mini.name == "cifar100-mini-vit-tiny-original-df5pct-s3"
    assert mini.run.checkpoint_name == "cifar100-mini-vit-tiny-original-s3", "an original serves all ratios"


def test_a_result_that_was_edited_is_noticed():
    text = make_run(scores={"zrf": 0.25}, reasons={}).to_json()
    assert RunResult.from_json(text.replace("\n", " \n").replace("  ", "\t"))
    with pytest.raises(BadInput, match="changed after it was written"):
        RunResult.from_json(text.replace("0.25", "0.75"))
    by_hand = json.loads(text.replace("0.25", "0.75"))
    del by_hand[SEAL], by_hand["hashes"]
    assert RunResult.from_json(json.dumps(by_hand)).scores == {"zrf": 0.75}, "by hand, or by an earlier version"


@pytest.mark.parametrize("name", [f.name for f in dataclasses.fields(RunResult) if f.name not in ADDED])
def test_a_missing_field_is_named(name):
    content = json.loads(make_run().to_json())
    del content[name]
    with pytest.raises(BadInput, match=f"Missing field '{name}'"):
        RunResult.from_json(json.dumps(content))


def test_unknown_fields_are_named():
    with pytest.raises(BadInput, match="Unknown fields 'accuracy', 'colour'"):
        RunResult.from_json(changed_json(colour="red", accuracy=1))


@pytest.mark.parametrize("version", [None, 0, 3, "1", True])
def test_other_schema_versions_are_refused(version):
    with pytest.raises(BadInput, match="schema_version"):
        RunResult.from_json(changed_json(schema_version=version))


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_text_that_is_no_json_object_is_refused(text):
    with pytest.raises(BadInput, match="JSON"):
        RunResult.from_json(text)
