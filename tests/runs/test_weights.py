"""Distances of checkpoints' weights: against arithmetic on the tensors, and what is not compared."""

import json
import shutil

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from mubench_hf.runs.scores import score
from mubench_hf.runs.store import load_logits, load_named_result
from mubench_hf.runs.weights import layer_distances, weight_sources


@pytest.fixture
def tensors():
    shapes = {"b": (3,), "a.weight": (4, 3), "scale": ()}
    return lambda: {name: torch.randn(shape) for name, shape in shapes.items()} | {"position_ids": torch.arange(3)}


def saved(folder, tensors, **parts):
    folder.mkdir()
    save_file(tensors, folder / "model.safetensors")
    for part, content in parts.items():
        (folder / part).mkdir()
        save_file(content, folder / part / "model.safetensors")
    return folder


def norm(tensor):
    return np.linalg.norm(tensor.double().numpy().ravel())


def test_distances_and_norms_of_each_tensor(tmp_path, tensors):
    own, other, part, other_part = (tensors() for _ in range(4))
    found = layer_distances(
        saved(tmp_path / "one", own, unet=part),
        saved(tmp_path / "two", {**other, "b": other["b"].half()}, unet=other_part),
    )
    other["b"] = other["b"].half()
    pairs = [(a[name], b[name]) for a, b in ((own, other), (part, other_part)) for name in ("a.weight", "b", "scale")]
    expected = [[norm(a.double() - b.double()), norm(a), norm(b)] for a, b in pairs]
    assert found == pytest.approx(np.array(expected), rel=1e-12)


def test_shards_and_saved_states_make_no_difference(tmp_path, tensors):
    own, other = tensors(), tensors()
    whole, two = saved(tmp_path / "one", own), saved(tmp_path / "two", other)
    expected = layer_distances(whole, two)
    shards = tmp_path / "shards"
    shards.mkdir()
    names = list(own)
    for number, part in enumerate((names[:1], names[1:])):
        save_file({name: own[name] for name in part}, shards / f"model-{number}.safetensors")
    (shards / "checkpoint-3").mkdir()
    save_file(tensors(), shards / "checkpoint-3" / "model.safetensors")
    assert np.array_equal(layer_distances(shards, two), expected)


def test_other_tensors_are_not_compared(tmp_path, tensors):
    own, other = saved(tmp_path / "one", tensors()), saved(tmp_path / "two", {"lora": torch.zeros(2)})
    for pair in ((own, other), (other, own)):
        with pytest.raises(ValueError, match="5 are in one alone"):
            layer_distances(*pair)
    with pytest.raises(ValueError, match="other tensors"):
        (tmp_path / "empty").mkdir()
        layer_distances(tmp_path / "empty", tmp_path / "empty")
    with pytest.raises(ValueError, match=r"b have shapes \(3,\) and \(4,\)"):
        layer_distances(own, saved(tmp_path / "wider", {**tensors(), "b": torch.zeros(4)}))
    numbers = saved(tmp_path / "numbers", {"position_ids": torch.arange(3)})
    with pytest.raises(ValueError, match="no weights"):
        layer_distances(numbers, numbers)


def test_a_run_beside_its_references(finished, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(finished, out)
    results = out / "results"
    run = load_named_result(next(results.glob("*-finetune-*.json")))

    def scores():
        return score(
            load_logits(run.name, results, run.hashes), metrics=("accuracy",), method=run.method, seed=run.seed,
            asked=["layer_distance", "weight_change"], sources=weight_sources(run, run.run, results),
        )  # fmt: skip

    found, reasons = scores()
    original = run.base_model.removeprefix("mubench/")
    retrained = run.run.checkpoint_name.replace("finetune", "retrain")
    own = load_file(out / "mubench" / run.run.checkpoint_name / "model.safetensors")
    for name, metric in ((retrained, "layer_distance"), (original, "weight_change")):
        other = load_file(out / "mubench" / name / "model.safetensors")
        flat = [torch.cat([weights[key].ravel().double() for key in own]) for weights in (own, other)]
        assert found[metric] == pytest.approx((flat[0] - flat[1]).norm().item(), rel=1e-9)
        assert 0 < found[f"{metric}_relative"] < 1
    assert not {"layer_distance", "weight_change"} & reasons.keys()

    record = out / "mubench" / retrained / "config.json"
    record.write_text(json.dumps({**json.loads(record.read_text()), "changed": True}))
    assert "damaged or was changed" in scores()[1]["layer_distance"]
    shutil.rmtree(out / "mubench" / retrained)
    found, reasons = scores()
    assert found["layer_distance"] is None and found["weight_change"] is not None
    assert reasons["layer_distance"].startswith("needs the finished checkpoint of the retrained model")
    assert str(out) not in reasons["layer_distance"]
