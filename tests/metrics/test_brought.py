"""A metric of one's own: a file or a module anywhere, checked as it is named, then scored and shown like any other."""

import importlib
import re
import sys

import numpy as np
import pytest

from mubench_hf.errors import BadInput
from mubench_hf.metrics import METRICS, get_metric, list_metrics, metrics_by_score
from mubench_hf.results.aggregate import aggregate
from mubench_hf.results.columns import other_columns, table_columns
from mubench_hf.runs.choice import sources_of
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.scores import score

pytestmark = pytest.mark.usefixtures("forgets")

SPLITS = ("forget", "retain", "test")

TUG_OF_WAR = '''
"""Likeness of the scores on every split to the retrained model's; 1 is equal."""

DIRECTION = "higher"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2406.01257"
HEADER = "ToW"
PLACE = 79


def rope_pull(forget_score, retain_score, test_score, retrain_forget_score, retrain_retain_score, retrain_test_score):
    gaps = forget_score - retrain_forget_score, retain_score - retrain_retain_score, test_score - retrain_test_score
    result = 1.0
    for gap in gaps:
        result *= 1 - abs(gap)
    return {"rope_pull": result}
'''

TOP_2 = """
DIRECTION, RANGE, SOURCE = "higher", (0.0, 1.0), "nobody"
KEY = "top_two"


def row_scores(logits, labels):
    return {"top_two": [label in row.argsort()[-2:] for row, label in zip(logits, labels)]}


def top_two(logits, labels):
    return {"top_two": sum(row_scores(logits, labels)["top_two"]) / len(labels)}
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write a file into a folder that modules are imported from; each test's modules are forgotten after it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = {*sys.modules}

    def write(name, text):
        (tmp_path / name).write_text(text)
        importlib.invalidate_caches()
        return tmp_path / name

    yield write
    for name in {*sys.modules} - before:
        if str(tmp_path) in str(getattr(sys.modules[name], "__file__", "")):
            del sys.modules[name]


def outputs(rng, gain=2.0):
    made = {"chance": np.asarray(1 / 6), "incompetent_forget_logits": rng.normal(size=(20, 6))}
    for split, size in zip(SPLITS, (20, 90, 60), strict=True):
        labels = rng.integers(6, size=size)
        made |= {f"{split}_logits": rng.normal(size=(size, 6)) + gain * np.eye(6)[labels], f"{split}_labels": labels}
    return made


def result(method, scores, reasons):
    return RunResult("cifar100", "mini", "a" * 64, "b" * 64, "vit-tiny", method, 5, 0, "ok", scores, reasons=reasons)


def test_from_a_file_to_a_score_and_a_column(write, rng):
    metric = get_metric(str(write("rope_pull.py", TUG_OF_WAR)))
    assert (metric.key, metric.header, metric.place, metric.digits) == ("rope_pull", "ToW", 79, 3)
    assert {*METRICS.keys()} - {*list_metrics()} == {"rope_pull"}
    assert METRICS.origin(metric).name == "rope_pull.py" and get_metric("rope_pull") is metric
    retrain, _ = score(outputs(rng, gain=1.0), metrics=("accuracy",), method="retrain", seed=3, seconds=8.0)
    scores, reasons = score(outputs(rng), metrics=("accuracy",), method="scrub", seed=3, seconds=2.0, retrain=retrain)
    gaps = [1 - abs(scores[f"{split}_accuracy"] - retrain[f"{split}_accuracy"]) for split in SPLITS]
    assert scores["rope_pull"] == pytest.approx(np.prod(gaps)) and retrain["rope_pull"] == 1
    assert sources_of("rope_pull") == {"retrain"}
    alone, why = score(outputs(rng), metrics=("accuracy",), method="scrub", seed=3)
    assert alone["rope_pull"] is None and "retrain_forget_score" in why["rope_pull"]
    (groups,) = aggregate([result("scrub", scores, reasons)])
    headers = [column.title for column in table_columns(groups, "accuracy")]
    assert headers.index("MIA loss AUC →") < headers.index("ToW ↑") == headers.index("ZRF →") - 1


def test_a_metric_that_needs_another_ones_score_of_the_retrained_model_compares_with_it(write):
    text = TUG_OF_WAR.replace("rope_pull", "tug_twice")
    signature = text.index("def tug_twice(")
    get_metric(str(write("rope_pull.py", TUG_OF_WAR)))
    get_metric(write("tug_twice.py", text[:signature] + "def tug_twice(rope_pull):\n    return {'tug_twice': 0.5}\n"))
    assert sources_of("tug_twice") == {"retrain"}


def test_a_metric_of_one_split_is_computed_on_each_and_shown_beside_the_tasks_own(write, rng):
    get_metric(write("best_two.py", TOP_2))
    own = outputs(rng)
    scores, reasons = score(own, metrics=("accuracy",), method="scrub", seed=3)
    for split in SPLITS:
        order = np.argsort(own[f"{split}_logits"], axis=1)[:, -2:]
        right = (order == own[f"{split}_labels"][:, None]).any(axis=1).mean()
        assert scores[f"{split}_top_two"] == pytest.approx(right)
    (groups,) = aggregate([result("scrub", scores, reasons)])
    titles = [column.title for column in other_columns(groups, "accuracy")]
    assert titles == ["D_Test top_two ↑", "D_f top_two →", "D_r top_two ↑"]
    texts = {key: value for key, value in own.items() if not key.startswith("test_")}
    scores, reasons = score(texts, metrics=("accuracy",), method="scrub", seed=3)
    assert scores["test_top_two"] is None and reasons["test_top_two"] == "needs logits, labels, which this run lacks"
    with pytest.raises(BadInput, match="zrf compares splits or runs"):
        score(own, metrics=("accuracy", "zrf"), method="scrub", seed=3)


def test_a_module_by_its_name_by_itself_and_the_packages_own(write, tmp_path):
    write("my_tug.py", TUG_OF_WAR.replace("rope_pull", "my_tug"))
    (tmp_path / "shelf").mkdir()
    write("shelf/other_tug.py", TUG_OF_WAR.replace("rope_pull", "other_tug"))
    for reference, name in ((importlib.import_module("my_tug"), "my_tug"), ("shelf.other_tug", "shelf.other_tug")):
        metric = get_metric(reference)
        assert metric.key == name.rpartition(".")[2] and METRICS.origin(metric).name == name
    assert get_metric("mubench_hf.metrics.zrf") is get_metric("zrf") is get_metric(get_metric("zrf"))
    assert METRICS.origin(get_metric("zrf")) is None


def test_an_installed_metric_is_known_without_being_named(write, tmp_path, rng):
    write("installed_tug.py", TUG_OF_WAR.replace("rope_pull", "installed_tug"))
    (tmp_path / "tugs-1.0.dist-info").mkdir()
    (tmp_path / "tugs-1.0.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: tugs\nVersion: 1.0\n")
    entry = "[mubench_hf.metrics]\ninstalled_tug = installed_tug\n"
    (tmp_path / "tugs-1.0.dist-info" / "entry_points.txt").write_text(entry)
    assert "installed_tug" in list_metrics() and metrics_by_score()["installed_tug"].header == "ToW"
    assert METRICS.origin(get_metric("installed_tug")).name == "installed_tug"
    assert score(outputs(rng), metrics=("accuracy",), method="retrain", seed=0)[0]["installed_tug"] == 1


def without(line):
    return "\n".join(each for each in TUG_OF_WAR.splitlines() if not each.startswith(line))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (without("DIRECTION"), r"it lacks DIRECTION \(what the best value is, one of 'higher', 'lower'"),
        (without("RANGE"), r"it lacks RANGE \(the least and the largest value, such as \(0.0, 1.0\)\)"),
        (without("SOURCE"), "it lacks SOURCE"),
        ("x = 1", "bad.py is no metric yet: it lacks DIRECTION .*, RANGE .*, SOURCE"),
        (TUG_OF_WAR.replace('"higher"', '"up"'), "DIRECTION is 'up'. Allowed: 'higher', 'lower', 'match_retrained'"),
        (TUG_OF_WAR.replace("(0.0, 1.0)", "(1, 0)"), r"RANGE is \(1, 0\)"),
        (TUG_OF_WAR.replace("PLACE = 79", "PLACE = 'last'"), "PLACE is 'last'. Allowed: a number"),
        (TUG_OF_WAR.replace("PLACE = 79", "DIGITS = -1"), "DIGITS is -1"),
        (TUG_OF_WAR.replace("PLACE = 79", "ALSO = 'other'"), "ALSO is 'other'"),
        (TUG_OF_WAR, "bad.py has no function 'bad'.*give its name as KEY"),
        (TUG_OF_WAR + "\nKEY = 'zrf'\nzrf = rope_pull\n", "has the key 'zrf', one of this package's"),
        (TUG_OF_WAR + "\nKEY = 'rouge_1'\nrouge_1 = rope_pull\n", "'rouge_1' is a score of the metric rouge_l"),
        (TUG_OF_WAR + "\nKEY = 'test_tug'\ntest_tug = rope_pull\n", "a score cannot be named 'test_tug'"),
        (TUG_OF_WAR + "\nKEY = 'seed'\nseed = rope_pull\n", "a score cannot be named 'seed'"),
        (TUG_OF_WAR.replace("retrain_test_score", "retrained_test"), "the parameter 'retrained_test', which nothing"),
        (TUG_OF_WAR.replace("forget_score, retain", "logits, retain", 1), "reads one split, and also 'retain_score'"),
        (TUG_OF_WAR.replace("retrain_test_score)", "*, strict)", 1), "'strict' after '\\*'.*default"),
        (TUG_OF_WAR.replace("retrain_test_score)", "**all)", 1), r"takes \*\*all"),
        ("raise RuntimeError('no')", "cannot be imported: RuntimeError: no"),
    ],
)
def test_what_is_not_well_declared_is_refused_with_what_to_change(write, text, message):
    named_otherwise = "KEY = " in text or "has no function" in message
    with pytest.raises(BadInput, match=message):
        get_metric(write("bad.py", text if named_otherwise else f"KEY = 'rope_pull'\n{text}"))
    assert not METRICS._brought


def test_a_setting_of_the_metrics_own_stays_at_its_default(write, rng):
    text = TUG_OF_WAR.replace("retrain_test_score)", "retrain_test_score, *, seed=0.25)", 1)
    metric = get_metric(write("rope_pull.py", text.replace("result = 1.0", "result = seed")))
    assert "seed" not in metric.parameters
    assert score(outputs(rng), metrics=("accuracy",), method="retrain", seed=7)[0]["rope_pull"] == 0.25


def test_a_part_of_a_module_is_no_metric(write):
    file = write("rope_pull.py", TUG_OF_WAR)
    with pytest.raises(BadInput, match="A metric is a whole module. Leave out ':rope_pull'"):
        get_metric(f"{file}:rope_pull")
    with pytest.raises(BadInput, match="There is no file"):
        get_metric("nowhere/tug.py")


@pytest.mark.parametrize(
    ("returned", "reason"),
    [
        ("result + 2", "its range is 0 to 1"),
        ("float('nan')", "came out as nan"),
        ("None", "came out as nan"),
        ("1}, {'x': 2", r"returned .*; a dictionary of rope_pull is needed"),
        ("1, 'other': 1", "returned .*; a dictionary of rope_pull is needed"),
    ],
)
def test_what_is_no_score_becomes_none_with_a_reason(write, rng, returned, reason):
    get_metric(write("rope_pull.py", TUG_OF_WAR.replace('"rope_pull": result', f'"rope_pull": {returned}')))
    scores, reasons = score(outputs(rng), metrics=("accuracy",), method="retrain", seed=0)
    assert scores["rope_pull"] is None and scores["zrf"] is not None
    assert re.search(reason, reasons["rope_pull"])
