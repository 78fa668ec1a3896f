"""Built folders as people load them: through `datasets` alone, and through the package."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from mubench_hf.data import build, load_manifest, load_split
from mubench_hf.errors import BadInput

PLAIN = """
import json, sys
from datasets import get_dataset_config_names, load_dataset
name = "mubench/cifar100-mini"
found = {}
for config in get_dataset_config_names(name):
    splits = load_dataset(name, config)
    found[config] = {
        split: {"index": rows["index"][:], "labels": rows["label"][:], "features": repr(rows.features),
                "size": rows[0]["image"].size, "mode": rows[0]["image"].mode}
        for split, rows in splits.items()
    }
assert not [name for name in sys.modules if name.startswith("mubench")], "the package is not needed to load"
json.dump(found, open(sys.argv[1], "w"))
"""


@pytest.fixture(scope="session")
def plain(mini_out, tmp_path_factory):
    """Every configuration as a fresh process without this package and without a network loads it."""
    work = tmp_path_factory.mktemp("plain")
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    environment |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_CACHE": str(work / "cache"), "HF_HOME": str(work / "home")}
    command = [sys.executable, "-c", PLAIN, str(work / "found.json")]
    run = subprocess.run(command, cwd=mini_out, env=environment, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return json.loads((work / "found.json").read_text())


def test_plain_configurations(plain):
    assert sorted(plain) == sorted(["default", *[f"df_{ratio}pct" for ratio in range(1, 11)]])
    everything = plain["default"]["train"]["index"]
    assert sorted(everything) == list(range(1000)) and set(plain["default"]) == {"train", "test"}
    for ratio in range(1, 11):
        splits = plain[f"df_{ratio}pct"]
        assert set(splits) == {"forget", "retain", "test"}
        assert len(splits["forget"]["index"]) == 10 * ratio
        assert splits["forget"]["index"] + splits["retain"]["index"] == everything, "disjoint and all of train"
        assert splits["test"]["index"] == list(range(797))
        assert np.bincount(splits["forget"]["labels"]).tolist() == [ratio] * 10


def test_plain_deletion_sets_are_nested(plain):
    for ratio in range(1, 10):
        smaller, larger = (plain[f"df_{r}pct"]["forget"]["index"] for r in (ratio, ratio + 1))
        assert larger[: len(smaller)] == smaller


def test_plain_features(plain, mini_data):
    from datasets import Features, Value

    expected = repr(Features({"index": Value("int64"), **mini_data["train"].features}))
    for splits in plain.values():
        for rows in splits.values():
            assert (rows["features"], rows["size"], rows["mode"]) == (expected, [16, 16], "RGB")


@pytest.mark.parametrize("ratio", [1, 6, "10"])
def test_load_split_gives_what_the_configuration_gives(task, mini_out, plain, ratio):
    splits = load_split(task, variant="mini", ratio=ratio, out=mini_out)
    expected = plain[f"df_{ratio}pct"]
    assert {split: rows["index"][:] for split, rows in splits.items()} == {
        split: rows["index"] for split, rows in expected.items()
    }
    assert repr(splits["forget"].features) == expected["forget"]["features"]


def test_ratios_share_one_copy_in_the_cache(task, mini_out):
    files = [load_split(task, variant="mini", ratio=ratio, out=mini_out)["forget"].cache_files for ratio in (2, 9)]
    assert files[0] == files[1] and files[0]


def test_load_split_has_every_held_out_split(made_up, tmp_path):
    made = made_up(ood=10, validation=20)
    build(made, variant="full", out=tmp_path)
    splits = load_split(made, variant="full", ratio=10, out=tmp_path)
    assert {split: len(rows) for split, rows in splits.items()} == {
        "forget": 30, "retain": 370, "validation": 20, "test": 30, "ood": 10
    }  # fmt: skip


def test_mini_that_is_not_built_names_the_command(task, tmp_path):
    with pytest.raises(BadInput) as error:
        load_split(task, variant="mini", ratio=5, out=tmp_path)
    assert str(error.value).endswith(f"Run: mubench build cifar100 --mini --out {tmp_path}")
    with pytest.raises(BadInput, match="mubench build cifar100 --mini"):
        load_manifest(task, variant="mini", out=tmp_path)


@pytest.mark.parametrize("ratio", [0, 12, 2.5, "abc", True])
def test_ratio_refused(task, mini_out, ratio):
    with pytest.raises(BadInput, match="whole number of percent from 1 to 10"):
        load_split(task, variant="mini", ratio=ratio, out=mini_out)


def test_folder_that_was_not_built_here_is_refused(task, tmp_path):
    (tmp_path / "mubench" / "cifar100").mkdir(parents=True)
    with pytest.raises(BadInput, match="is not a data set that this version builds"):
        load_split(task, variant="full", ratio=5, out=tmp_path)


def test_the_hub_is_read_where_there_is_no_folder(made_up, tmp_path, monkeypatch):
    import datasets

    made, asked, read = made_up(), [], datasets.load_dataset
    folder = build(made, variant="full", out=tmp_path / "hub")

    def download(repo, file, **options):
        asked.append((repo, options))
        return str(folder / file)

    def load_dataset(repo, **options):
        asked.append((repo, options))
        return read(str(folder))

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    monkeypatch.setattr("datasets.load_dataset", load_dataset)
    splits = load_split(made, variant="full", ratio=3, out=tmp_path, org="someone", revision="abc123")
    assert asked == [
        ("someone/cifar100", {"repo_type": "dataset", "revision": "abc123"}),
        ("someone/cifar100", {"revision": folder.name}),  # The commit that "abc123" was found to be.
    ]
    expected = [pq.read_table(folder / f"data/forget_0{number}.parquet")["index"].to_pylist() for number in (1, 2, 3)]
    assert splits["forget"]["index"][:] == sum(expected, [])


@pytest.mark.parametrize("mini", [True, False])
def test_a_hub_that_cannot_be_reached_is_told_with_the_command(task, tmp_path, monkeypatch, mini):
    from huggingface_hub.errors import LocalEntryNotFoundError

    def download(*args, **kwargs):
        raise LocalEntryNotFoundError("nothing there\nand more")

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    with pytest.raises(BadInput) as error:
        load_split(task, variant="mini" if mini else "full", ratio=5, out=tmp_path)
    assert f"from mubench/cifar100{'-mini' * mini} on the Hub (nothing there)" in str(error.value)
    assert str(error.value).endswith(f"Run: mubench build cifar100{' --mini' * mini} --out {tmp_path}")


def test_importing_the_package_is_light():
    """Neither torch nor `datasets` comes along: the command line must answer at once."""
    code = "import sys, mubench_hf.data; print(sorted({'torch', 'datasets', 'sklearn'} & set(sys.modules)))"
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    run = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"
