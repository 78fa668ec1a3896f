"""Runs whose prepared rows are read from a table end in the same weights and scores."""

import json

import pytest
import torch
from torch.utils.data import Subset

from mubench_hf.data import stored_rows
from mubench_hf.data.batches import TableBatches
from mubench_hf.runs.cost import TIMES
from mubench_hf.runs.pipeline import Pipeline
from mubench_hf.runs.setup import make_setup
from mubench_hf.runs.train import load_rows
from mubench_hf.trainers import get_method


@pytest.fixture
def in_a_table(monkeypatch):
    """Put rows into a table however few they are."""
    return lambda: monkeypatch.setattr(stored_rows, "SMALL", 0)


@pytest.mark.parametrize("workers", [0, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", ["rand_label", pytest.param("scrub", marks=pytest.mark.slow)])
def test_weights_are_the_same(method, workers, own_bench, tmp_path, in_a_table):
    from transformers import AutoModelForImageClassification

    start = next(own_bench.glob("mubench/*original*"))
    weights, loaders = [], []
    for change in (lambda: None, in_a_table):
        change()
        data = load_rows(make_setup("cifar100", variant="mini", out=own_bench), start)
        trainer_class = get_method(method)
        args = trainer_class.config_class(
            tmp_path, max_steps=3, per_device_train_batch_size=16, report_to=[], save_strategy="no",
            disable_tqdm=True, dataloader_num_workers=workers, cpu_threads=1, per_device_eval_batch_size=100,
            gradient_accumulation_steps=2,
        )  # fmt: skip
        trainer = trainer_class(
            AutoModelForImageClassification.from_pretrained(start),
            args,
            forget_dataset=data.splits["forget"],
            retain_dataset=data.splits["retain"],
            eval_dataset=Subset(data.splits["test"], range(100)),
            data_collator=data.collator,
            processing_class=data.processor,
        )
        loaders.append(trainer.get_train_dataloader().dataset)
        trainer.train()
        weights.append((trainer.model.state_dict(), (trainer.evaluate()["eval_loss"], trainer.state.total_flos)))
    assert [isinstance(rows, TableBatches) for rows in loaders] == [False, True]
    (one, said), (other, same) = weights
    assert said == same and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.slow
@pytest.mark.usefixtures("quick")
def test_a_pipeline(tmp_path, in_a_table):
    results = []
    for name, change in (("without", lambda: None), ("with", in_a_table)):
        change()
        out = tmp_path / name
        Pipeline("cifar100", variant="mini", out=out, seeds=[42], methods=["salun"]).run()
        scores = {file.name: json.loads(file.read_text())["scores"] for file in (out / "results").glob("*.json")}
        for each in scores.values():
            for time in TIMES:
                each.pop(time, None)
        results.append((scores, {file.parent.name: file.read_bytes() for file in out.glob("mubench/*/*.safetensors")}))
    (scores, weights), (same_scores, same_weights) = results
    assert len(list((tmp_path / "with").glob(".cache/*/rows-*"))) == 2 and len(weights) == 3
    assert weights == same_weights
    assert {name: scores[name] for name in scores} == same_scores
