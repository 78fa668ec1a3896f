"""From training to the Hub and back: others load what was published without this package and get the same scores."""

import json
import subprocess
import sys

import pytest

from mubench_hf.cli import dispatch

PUBLISH = """
import json, sys
from mubench_hf.cli import dispatch
for argv in json.loads(sys.argv[1]):
    dispatch(["publish", *argv])
"""

LOAD = """
import json, sys
sys.modules["mubench_hf"] = None  # Importing it fails from here on.
import evaluate, numpy as np, torch
from datasets import load_dataset
from huggingface_hub import HfApi, ModelCard, hf_hub_download
from transformers import AutoImageProcessor, AutoModelForImageClassification

data = load_dataset("mubench/cifar100-mini", "df_5pct")
zrf, found = evaluate.load("mubench/zrf"), {"rows": {split: len(rows) for split, rows in data.items()}}
for name, revision in json.loads(sys.argv[1]).items():
    result = json.load(open(hf_hub_download(name, "run_result.json", revision=revision)))
    torch.set_num_threads(result["hardware"]["threads"])
    model = AutoModelForImageClassification.from_pretrained(name, revision=revision).eval()
    processor = AutoImageProcessor.from_pretrained(name, revision=revision)
    forget = data["forget"].sort("index")  # As the card says of the outputs.
    with torch.inference_mode():
        pixels = processor([image.convert("RGB") for image in forget["image"]], return_tensors="pt")["pixel_values"]
        logits = model(pixels).logits.float().numpy()
    with np.load(hf_hub_download(name, "run_outputs.npz", revision=revision), allow_pickle=False) as outputs:
        incompetent = outputs["incompetent_forget_logits"]
        same = np.array_equal(outputs["forget_logits"], logits)
    card = ModelCard.load(name)
    card.validate()
    found[name] = {
        "logits": same,
        "forget_accuracy": float(np.mean(logits.argmax(1) == np.asarray(forget["label"]))),
        "zrf": zrf.compute(predictions=logits, references=incompetent)["zrf"],
        "stated": result["scores"],
        "card": {entry.metric_type: entry.metric_value for entry in card.data.eval_results if not entry.dataset_split},
    }
print(json.dumps(found))
"""


def child(code, env, cwd, argument):
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(argument)],
        env=env,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def unlearned(own_bench, quick):
    """Folder with an original, evaluated, and a model unlearned from it; and their names."""
    names = ("cifar100-mini-vit-tiny-original-s42", "cifar100-mini-vit-tiny-finetune-df5pct-s42")
    dispatch(["evaluate", str(own_bench / "mubench" / names[0]), "--out", str(own_bench)])
    flags = ["--method", "finetune", "--out", str(own_bench), "--disable_tqdm", "true"]
    dispatch(["unlearn", "--task", "cifar100", "--mini", *flags])
    return own_bench, names


@pytest.mark.slow
def test_published_scores_are_reproduced_without_this_package(unlearned, hub, hub_env, tmp_path):
    out, names = unlearned
    commands = [
        ["dataset", "all", "--mini", "--out", str(out), "--push"],
        ["model", *(str(out / "mubench" / name) for name in names), "--push"],
        ["metric", "zrf", "--push"],
    ]
    # Said again, a command finds everything done.
    printed = child(PUBLISH, hub_env, tmp_path, [*commands, commands[0], commands[2]])
    assert printed.count(": created, revision") == 4 and printed.count(": unchanged, revision") == 2
    repos = {
        ("dataset", "mubench/cifar100-mini"),
        ("space", "mubench/zrf"),
        *(("model", f"mubench/{n}") for n in names),
    }
    assert set(hub.repos) == repos and {len(repo.commits) for repo in hub.repos.values()} == {2}
    revisions = {f"mubench/{name}": hub.repos["model", f"mubench/{name}"].commits[-1][0] for name in names}
    # Whoever pins a revision does not see what comes after it.
    hub.add("model", f"mubench/{names[1]}", {"run_result.json": b"{}", "model.safetensors": b""})
    env = {name: value for name, value in hub_env.items() if name not in ("HF_TOKEN", "PYTHONPATH")}
    found = json.loads(child(LOAD, env, tmp_path, revisions).strip().splitlines()[-1])
    assert found["rows"] == {"forget": 50, "retain": 950, "test": 797}
    for name in revisions:
        seen = found[name]
        assert seen["logits"]
        for key in ("forget_accuracy", "zrf"):
            assert seen[key] == seen["stated"][key], key
        assert seen["card"]["zrf"] == seen["zrf"]
