"""Any data become a task, without Python and with it, and a folder of results can be read without them."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from conftest import ROOT
from processes import run_python

from mubench_hf import task_from_dataset
from mubench_hf.data import build, load_split
from mubench_hf.errors import BadInput
from mubench_hf.runs.store import load_results
from mubench_hf.tasks import get_task

QUICK = ["--settings", "num_train_epochs=1", "cpu_threads=1", "learning_rate=0.002", "use_cpu=true"]
SHORT = ["--methods", "finetune", "--seeds", "1"]
REVIEWS = {"label": "mood", "inputs": "text", "hold_out": "20%"}
FLAGS = ["--data", "reviews.csv", "--label", "mood", "--inputs", "text", "--hold_out", "20%"]


@pytest.mark.slow
def test_csv_runs_from_the_command_line_and_another_process_reads_its_folder(reviews, tiny_bert, outside, mubench):
    shown = mubench("run", *FLAGS, "--model", tiny_bert, "--out", "out", *SHORT, *QUICK)
    assert "reviews · tiny-bert · 5% deleted · seed 1" in shown
    assert {run.method: run.status for run in load_results("out/results")} == {
        "original": "ok", "retrain": "ok", "finetune": "ok"
    }  # fmt: skip
    run = next(run for run in load_results("out/results") if run.method == "finetune")
    assert run.external["task"]["name"] == "data:reviews.csv" and run.external["model"]["name"] == "tiny-bert"
    assert str(outside) not in "".join(file.read_text() for file in (outside / "out").rglob("*.json"))

    (outside / "reviews.csv").unlink()
    env = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    script = (
        "from mubench_hf.cli import dispatch\n"
        "dispatch(['table', 'out'])\n"
        f"dispatch(['evaluate', 'out/mubench/{run.name}', '--out', 'out'])\n"
        f"dispatch(['run', 'reviews', '--model', '{tiny_bert}', '--out', 'out', *{SHORT}])\n"
    )
    done = run_python(script, env=env, cwd=outside)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("reviews · tiny-bert · 5% deleted · seed 1") == 3
    assert done.stderr.count("already there") == 3 or done.stdout.count("already there") == 3


@pytest.mark.slow
def test_python_takes_the_task_wherever_a_task_goes(reviews, tiny_bert, outside):
    from datasets import Dataset

    from mubench_hf.runs.pipeline import Pipeline

    quick = {"num_train_epochs": 1, "cpu_threads": 1, "use_cpu": True}
    task = task_from_dataset(
        Dataset.from_list(reviews), **REVIEWS, forget="3%", name="moods", model=tiny_bert, settings=quick
    )
    assert build(task, variant="full", out="out") == outside.__class__("out/mubench/moods")
    results = Pipeline(task, variant="full", out="out", methods=["neggrad"], seeds=[2]).run()
    assert {(run.task, run.del_ratio, run.status) for run in results} == {("moods", 3, "ok")}


def test_classes_are_sorted_and_held_out_rows_are_fixed_and_no_train_rows(reviews, outside):
    tasks = [task_from_dataset("reviews.csv", **REVIEWS, name=name) for name in ("one", "two")]
    first, second = (load_split(task, variant="full", ratio=10, out=build(task, variant="full", out="out").parents[1])
                     for task in tasks)  # fmt: skip
    assert first["test"].features["mood"].names == ["glad", "sad"]
    index = {split: set(rows["index"]) for split, rows in first.items()}
    assert len(index["test"]) == 40 and set.union(*index.values()) == set(range(200))
    assert sum(map(len, index.values())) == 200
    assert {split: set(rows["index"]) for split, rows in second.items()} == index
    for row in first["retain"]:
        assert row["text"] == reviews[row["index"]]["text"]
        assert ["glad", "sad"][row["mood"]] == reviews[row["index"]]["mood"]


@pytest.mark.parametrize("way", ["file", "column", "numbers"])
def test_exactly_the_named_rows_are_forgotten(way, reviews, outside, draw):
    named = {"file": draw.sample(range(200), 13), "numbers": draw.sample(range(200), 7)}.get(way)
    named = named or [number for number, row in enumerate(reviews) if row["city"] == "Rome"]
    (outside / "rows.txt").write_text("".join(f"{row}\n" for row in named))
    task = task_from_dataset(
        "reviews.csv", **REVIEWS, forget={"file": "rows.txt", "column": "city=Rome", "numbers": named}[way], name=way
    )
    folder = build(task, variant="full", out="out")
    splits = load_split(task, variant="full", ratio=None, out="out")
    assert splits["forget"]["index"][:] == named
    assert not set(named) & {*splits["retain"]["index"], *splits["test"]["index"]}

    from datasets import load_dataset

    assert load_dataset(str(folder), "df")["forget"]["index"][:] == named
    card = (folder / "README.md").read_text()
    assert {"file": "the row numbers in rows.txt", "column": "all with city=Rome", "numbers": "row numbers"}[
        way
    ] in card
    assert "df_5pct" not in card


def test_named_rows_run_without_a_ratio(reviews, tiny_bert, outside, mubench, draw):
    (outside / "rows.txt").write_text("\n".join(map(str, draw.sample(range(200), 9))))
    flags = [*FLAGS, "--forget", "rows.txt", "--model", tiny_bert, "--out", "out", *SHORT]
    with pytest.raises(BadInput, match="forgets 9 named rows, no percentage"):
        mubench("run", *flags, "--del_ratio", 5)
    shown = mubench("run", *flags, *QUICK)
    assert "reviews · tiny-bert · named rows deleted · seed 1" in shown and "failed" not in shown
    assert {run.del_ratio for run in load_results("out/results")} == {None}
    assert all(run.scores["average_gap"] is not None for run in load_results("out/results") if run.method != "original")
    assert "named rows deleted" in mubench("table", "out")


def test_image_folder_runs_with_an_own_model(pets, tiny_vit, outside, mubench):
    model = tiny_vit("my-vit", num_labels=3)
    shown = mubench("run", "--data", pets, "--label", "label", "--model", model, "--out", "out", *SHORT, *QUICK)
    assert "pets · my-vit · 5% deleted · seed 1" in shown
    names = json.loads(next(outside.glob("out/mubench/pets-my-vit-original-s1*/config.json")).read_text())["id2label"]
    assert names == {"0": "cat", "1": "dog"}  # A head of its own in place of one for three classes.


@pytest.mark.slow
def test_sound_folder_runs_at_another_rate(outside, mubench):
    import wave

    from mubench_hf.models import get_model
    from mubench_hf.models.loading import load_processor, random_model

    rng, spec = np.random.default_rng(), get_model("wav2vec2-tiny")
    random_model(spec).save_pretrained("own-wav")
    load_processor(spec).save_pretrained("own-wav")
    for name in ("beep", "boop"):
        (outside / "calls" / name).mkdir(parents=True)
        for number in range(70):
            with wave.open(f"calls/{name}/{number}.wav", "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes(rng.normal(0, 3000, 1600).astype(np.int16).tobytes())
    shown = mubench(
        "run", "--data", "calls", "--label", "label", "--hold_out", "20%", "--model", "own-wav", "--out", "out",
        *SHORT, *QUICK,
    )  # fmt: skip
    assert "calls · own-wav · 5% deleted · seed 1" in shown
    assert get_task("calls").description["seconds"] == 0.2


@pytest.mark.parametrize(
    ("model", "kind"),
    [("llama-2-tiny", "causal_lm"), pytest.param("t5-v1.1-tiny", "seq2seq", marks=pytest.mark.slow)],
)
def test_answers_are_written_by_the_kind_of_the_model(model, kind, outside, mubench, draw):
    rows = [{"question": f"who is {number}?", "answer": f"a {draw.random()} person"} for number in range(112)]
    (outside / "qa.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    flags = ["--label", "answer", "--hold_out", "10%", "--model", model, "--task_name", f"qa-{kind}", "--out", "out"]
    built = mubench("build", "--data", "qa.jsonl", *flags, *QUICK)
    assert f"out/mubench/qa-{kind}: built" in built
    assert get_task(f"qa-{kind}").kind == kind and get_task(f"qa-{kind}").inputs == ("question",)
    shown = mubench("run", "--data", "qa.jsonl", *flags, *SHORT, *QUICK)
    assert f"qa-{kind} · {model} · 5% deleted · seed 1" in shown


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"hold_out": None}, "no test split. Name the test rows, --test .* or hold some .* out: --hold_out"),
        ({"hold_out": "120%"}, "'120%' is no share"),
        ({"hold_out": "20%", "test": "train"}, "Give one of the two"),
        ({"label": "mod"}, "Unknown column 'mod'. Did you mean 'mood'"),
        ({"inputs": None}, "the columns that can be inputs are text, city .*--inputs COLUMN"),
        ({"forget": "city=Paris"}, "No train row has city=Paris. The values of city are"),
        ({"forget": "town=Rome"}, "Unknown column 'town'"),
        ({"forget": "none.txt"}, "names no rows to forget, and there is no such file"),
        ({"forget": "11%"}, "Deletion ratio '11' cannot be used"),
        ({"forget": [3, 3]}, "Row 3 is named twice"),
        ({"forget": [200]}, "Row 200 is not in train, which has rows 0 to 199"),
        ({"forget": range(200)}, "All of the 200 train rows would be forgotten"),
        ({"kind": "clasification"}, "Unknown kind .*Did you mean 'classification'"),
        ({"label": "text", "inputs": "city"}, "Name the model that writes them, or say --kind"),
        ({"settings": {"learning_rat": 1}}, "Unknown setting 'learning_rat'. Did you mean 'learning_rate'"),
        ({"name": "cifar100"}, "has the key 'cifar100', one of this package's"),
        ({"test": "missing.csv", "hold_out": None}, "There are no data at missing.csv. Allowed"),
    ],
)  # fmt: skip
def test_what_makes_no_task_is_refused(change, message, reviews, outside):
    with pytest.raises(BadInput, match=message):
        task_from_dataset("reviews.csv", **{**REVIEWS, **change})


def test_rows_that_cannot_be_used_are_named(reviews, outside):
    from datasets import Dataset, DatasetDict

    def task(change):
        rows = [dict(row) for row in reviews]
        change(rows)
        data = DatasetDict(train=Dataset.from_list(rows[:160]), test=Dataset.from_list(rows[160:]))
        return task_from_dataset(data, label="mood", inputs="text", name="rows")

    with pytest.raises(BadInput, match="Split 'train' of rows: column 'text' has no text at index 7"):
        task(lambda rows: rows[7].update(text=" "))
    with pytest.raises(BadInput, match="Split 'test': column 'mood' is 'odd' in row 5, which is no class of train"):
        task(lambda rows: rows[165].update(mood="odd"))
    with pytest.raises(BadInput, match="Split 'train': column 'mood' is empty in row 3"):
        task(lambda rows: rows[3].update(mood=None))
    with pytest.warns(UserWarning, match="of the .* train rows of rows that may be forgotten have the same text"):
        twins = task(lambda rows: [rows[place].update(text=rows[place % 160]["text"]) for place in range(160, 200)])
        twins = task_from_dataset(
            DatasetDict(train=twins.full.load(None)["train"], test=twins.full.load(None)["test"]),
            label="mood", inputs="text", forget=[0, 1, 159], name="rows",
        )  # fmt: skip
        folder = build(twins, variant="full", out="out")
    assert "**2 of its rows have a twin in the test split**" in (folder / "README.md").read_text()


def test_other_data_under_the_same_name_are_refused(reviews, outside, mubench):
    mubench("build", *FLAGS, "--out", "out")
    text = (outside / "reviews.csv").read_text()
    (outside / "reviews.csv").write_text(text.replace(reviews[11]["text"], "another text"))
    with pytest.raises(BadInput, match="holds something else: a task with another data_sha256"):
        mubench("build", *FLAGS, "--out", "out")
