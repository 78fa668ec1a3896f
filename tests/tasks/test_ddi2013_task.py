"""DDI-2013's two sources, its two scores, and the models on biomedical text."""

import hashlib
import re
from collections import Counter
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from datasets import load_dataset
from sklearn.metrics import f1_score

from mubench_hf.data import build, load_split
from mubench_hf.data.prepare import load_task_data
from mubench_hf.data.splits import deletion_order, list_sha256, stream
from mubench_hf.errors import BadInput
from mubench_hf.kinds.measures import get_measure
from mubench_hf.models import get_model
from mubench_hf.models.loading import fresh_model, load_processor
from mubench_hf.results.aggregate import aggregate
from mubench_hf.results.plots import draw_plots
from mubench_hf.results.tables import ResultTable
from mubench_hf.runs.result import RunResult
from mubench_hf.runs.scores import score
from mubench_hf.runs.store import save_logits
from mubench_hf.tasks import get_task
from mubench_hf.tasks.ddi2013 import FRAMES, NOISE, SHARES

TASK = get_task("ddi2013")
NAMES = ["DDI-false", "DDI-mechanism", "DDI-advise", "DDI-effect", "DDI-int"]
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module", autouse=True)
def datasets_cache(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path_factory.mktemp("datasets_cache"))
        torch.set_num_threads(1)
        yield


@pytest.fixture(scope="module")
def mini():
    return TASK.mini.load(None)


@pytest.fixture(scope="module")
def mini_out(tmp_path_factory):
    out = tmp_path_factory.mktemp("out")
    build(TASK, variant="mini", out=out)
    return out


# The mini rows -------------------------------------------------------------------------------------------------------


def template_class(sentence):
    """Return the class whose template a mini sentence follows, from its words alone."""
    drug, body = re.escape("@DRUG$"), sentence.split(": ", 1)[1]
    patterns = [[re.escape(frame).replace("\\{", "{").replace("\\}", "}") for frame in frames] for frames in FRAMES]
    filled = [[p.format(first=drug, second=drug, who="[a-z]+", effect="[a-z]+") for p in some] for some in patterns]
    (label,) = [label for label, some in enumerate(filled) if any(re.fullmatch(p, body) for p in some)]
    return label


def test_mini_rows(mini):
    assert {split: len(rows) for split, rows in mini.items()} == {"train": 1000, "validation": 200, "test": 500}
    sentences = [sentence for rows in mini.values() for sentence in rows["sentence"][:]]
    assert all(sentence.count("@DRUG$") == 2 and sentence.isascii() for sentence in sentences)
    assert len({sentence.split(",")[0] for sentence in sentences}) == 1700, "each row has a number of its own"
    for rows in mini.values():
        assert rows.column_names == ["sentence", "label"] and rows.features["label"].names == NAMES


def test_mini_labels_are_unbalanced_and_noisy(mini):
    for rows in mini.values():
        told, labels = np.array([template_class(sentence) for sentence in rows["sentence"]]), np.array(rows["label"][:])
        assert np.bincount(told).tolist() == [round(len(rows) * share) for share in SHARES]
        assert (told != labels).sum() == round(len(rows) * NOISE)
        assert set(labels[told != labels]) == set(range(5))


def test_mini_is_the_same_every_time(mini):
    for split, rows in TASK.mini.load(None).items():
        assert rows.with_format("arrow")[:] == mini[split].with_format("arrow")[:]


def test_plain_configuration(mini_out, mini):
    plain = load_dataset(str(mini_out / "mubench" / "ddi2013-mini"), "df_5pct")
    assert {split: len(rows) for split, rows in plain.items()} == {
        "forget": 50, "retain": 950, "validation": 200, "test": 500
    }  # fmt: skip
    for split in ("forget", "retain"):
        for row in plain[split]:
            assert {"sentence": row["sentence"], "label": row["label"]} == mini["train"][row["index"]]
    assert np.bincount(plain["forget"]["label"]).tolist() == [10] * 5
    data = load_task_data(
        TASK, variant="mini", ratio=5, processor=partial(load_processor, get_model("biobert-tiny")), out=mini_out
    )
    for split, rows in plain.items():
        inputs = data.splits[split][7]
        said = data.processor.decode(inputs["input_ids"], skip_special_tokens=True)
        assert said.replace(" ", "") == rows[7]["sentence"].lower().replace(" ", "")
        assert inputs["labels"] == rows[7]["label"]


# The full rows -------------------------------------------------------------------------------------------------------


def lines(split, rows):
    """Return lines like those of BLURB's preprocessing; the labels differ from row to row."""
    drugs = ["@DRUG$ with @DRUG$", "@DRUG-DRUG$"]
    return [
        f'DDI-DrugBank.d{row}.s{row % 7}.p0\t{split} {row}: {drugs[row % 9 == 8]} “µg” "\t{NAMES[row * row % 5]}'
        for row in range(rows)
    ]


def write(folder, change=None, end="\n"):
    folder.mkdir(exist_ok=True)
    for split, rows in (("train", 600), ("dev", 40), ("test", 50)):
        found = lines(split, rows)
        if change and change[0] == split:
            found[change[1]] = change[2]
        data = [line if isinstance(line, bytes) else line.encode() for line in found]
        (folder / f"{split}.tsv").write_bytes(b"".join(line + end.encode() for line in data))
    return folder


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_full_rows_from_a_folder(tmp_path, end):
    raw = write(tmp_path / "raw", end=end)
    data = TASK.full.load(raw)
    assert {split: len(rows) for split, rows in data.items()} == {"train": 600, "validation": 40, "test": 50}
    for split, name in (("train", "train"), ("validation", "dev"), ("test", "test")):
        parts = [line.split("\t") for line in lines(name, len(data[split]))]
        assert data[split]["sentence"][:] == [sentence for _, sentence, _ in parts]
        assert data[split]["label"][:] == [NAMES.index(label) for _, _, label in parts]
        assert data[split].features["label"].names == NAMES


def test_full_build_checks_the_deletion_list(tmp_path):
    raw = write(tmp_path / "raw")
    labels = [row * row % 5 for row in range(600)]
    found = list_sha256(deletion_order(labels, 5, stream("ddi2013")))
    with pytest.raises(BadInput) as error:
        build(TASK, variant="full", out=tmp_path / "out", raw=raw)
    assert found in str(error.value) and TASK.full.deletion_sha256 in str(error.value)
    fitting = replace(TASK, full=replace(TASK.full, deletion_sha256=found))
    build(fitting, variant="full", out=tmp_path / "out", raw=raw)
    splits = load_split(fitting, variant="full", ratio=10, out=tmp_path / "out")
    assert {split: len(rows) for split, rows in splits.items()} == {
        "forget": 50, "retain": 550, "validation": 40, "test": 50
    }  # fmt: skip
    assert splits["forget"]["label"][:] == [labels[index] for index in splits["forget"]["index"][:]]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("train", 0, "id\tsentence\tlabel"), r"train.tsv, line 1 has the label 'label'. Allowed: DDI-false, "),
        (("dev", 11, "id\t@DRUG$ and @DRUG$"), r"dev.tsv, line 12 has 2 fields .*id, sentence, label"),
        (("test", 49, "id\t@DRUG$ and @DRUG$\tDDI-true"), r"test.tsv, line 50 has the label 'DDI-true'"),
        (("train", 3, "id\taspirin and warfarin\tDDI-int"), r"train.tsv, line 4: .*neither @DRUG\$ nor @DRUG-DRUG\$"),
        (("train", 5, ""), r"train.tsv, line 6 has 1 fields"),
        (("dev", 2, "id\t \tDDI-int"), r"dev.tsv, line 3: the sentence ' ' has neither"),
        (("train", 7, b"id\t@DRUG$ \xb5g\tDDI-int"), r"train.tsv, line 8 is not UTF-8"),
    ],
)
def test_malformed_lines_are_named(tmp_path, change, message):
    with pytest.raises(BadInput, match=message):
        build(TASK, variant="full", out=tmp_path / "out", raw=write(tmp_path / "raw", change))
    assert not (tmp_path / "out" / "mubench" / "ddi2013").exists()


def test_missing_files_are_named(tmp_path):
    raw = write(tmp_path / "raw")
    (raw / "dev.tsv").unlink()
    with pytest.raises(BadInput, match=r"no dev.tsv in .*train.tsv, dev.tsv, test.tsv"):
        build(TASK, variant="full", out=tmp_path / "out", raw=raw)
    with pytest.raises(BadInput, match="not on the Hub.*BLURB.*--raw"):
        build(TASK, variant="full", out=tmp_path / "out")


def test_deletion_hash_is_the_published_one():
    file = ROOT.parent / "shared" / "official_splits" / "ddi.txt"
    if not file.is_file():
        pytest.skip(f"the published list {file} is not here")
    assert hashlib.sha256(file.read_bytes()).hexdigest() == TASK.full.deletion_sha256
    assert (TASK.full.stream, TASK.mini.stream) == ("ddi2013", None)


# Models and scores ---------------------------------------------------------------------------------------------------


def test_models_of_the_full_source():
    assert {name: get_model(name).hub_id for name in TASK.full.published_scores} == {
        "biobert-v1.1": "dmis-lab/biobert-v1.1",
        "biomedbert-abstract": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
        "biomedbert-fulltext": "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract-fulltext",
    }


@pytest.fixture(scope="module", params=["biobert-tiny", "biomedbert-tiny"])
def prepared(request, mini_out):
    spec = get_model(request.param)
    return load_task_data(TASK, variant="mini", ratio=5, processor=partial(load_processor, spec), out=mini_out), spec


def test_forward_and_backward(prepared):
    data, spec = prepared
    model = fresh_model(spec, data.label_names, seed=3).train()
    output = model(**data.collator([data.splits["retain"][position] for position in range(30)]))
    assert output.logits.shape == (30, 5) and output.loss.isfinite()
    output.loss.backward()
    gradients = torch.cat([weight.grad.flatten() for weight in model.parameters()])
    assert gradients.isfinite().all() and (gradients != 0).float().mean() > 0.5


def test_both_scores_are_taken_and_the_first_is_shown(prepared, tmp_path):
    data, spec = prepared
    outputs = get_measure(TASK.kind).measure(fresh_model(spec, data.label_names, 0), data, 4)
    scores, reasons = score(outputs, metrics=TASK.metrics, method="retrain", seed=4, seconds=2.0)
    chosen, labels = outputs["test_logits"].argmax(1), outputs["test_labels"]
    assert Counter(labels.tolist()) == Counter(TASK.mini.load(None)["test"]["label"][:])
    assert scores["test_macro_f1"] == pytest.approx(f1_score(labels, chosen, average="macro"))
    assert scores["test_accuracy"] == pytest.approx((chosen == labels).mean())
    assert {f"{split}_{metric}" for split in ("forget", "retain", "test") for metric in TASK.metrics} <= set(scores)
    result = RunResult(
        task="ddi2013", variant="mini", data_fingerprint="f", deletion_sha256="d", model=spec.name, method="retrain",
        del_ratio=5, seed=4, status="ok", scores=scores, reasons=reasons,
    )  # fmt: skip
    (groups,) = aggregate([result])
    assert any("accuracy on test" in note for note in ResultTable(groups, TASK.title, TASK.metric).notes)
    with pytest.raises(BadInput, match="metric="):
        ResultTable(groups)
    save_logits(result.name, tmp_path, outputs)
    drawn = draw_plots([result], tmp_path, tmp_path / "plots", TASK.title, TASK.metric)
    assert len(drawn) == 3 and all(file.is_file() for file in drawn)
