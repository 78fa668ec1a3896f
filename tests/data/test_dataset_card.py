"""The card says what the data are, and its configurations are lists of files that exist."""

import re

import pytest
import yaml

from mubench_hf.data import build, load_manifest
from mubench_hf.data.card import FORGET_FILES, RETAIN_FILE, configs, template


def parts(folder):
    """Return (metadata, body) of README.md."""
    found = re.fullmatch(r"---\n(.*?)\n---\n(.*)", (folder / "README.md").read_text(encoding="utf-8"), re.DOTALL)
    return yaml.safe_load(found[1]), found[2]


@pytest.fixture(scope="session")
def mini_card(mini_out):
    return parts(mini_out / "mubench" / "cifar100-mini")


def test_first_line_says_mini_or_full(made_up, tmp_path, mini_card):
    first = mini_card[1].splitlines()[0]
    assert "Mini data" in first and "not CIFAR-100" in first
    first = parts(build(made_up(), variant="full", out=tmp_path))[1].splitlines()[0]
    assert "Full data" in first and "ini data" not in first


def test_metadata(mini_card, made_up, tmp_path):
    metadata = mini_card[0]
    assert metadata["license"] == "cc-by-4.0"
    assert metadata["task_categories"] == ["image-classification"]
    assert metadata["tags"] == ["machine-unlearning", "mubench"]
    assert metadata["size_categories"] == ["1K<n<10K"]
    assert "CIFAR-100" in metadata["pretty_name"] and "mini" in metadata["pretty_name"]
    full = parts(build(made_up(), variant="full", out=tmp_path))[0]
    assert full["size_categories"] == ["n<1K"] and full["license"] == "unknown" and "mini" not in full["pretty_name"]


def test_the_hub_library_reads_the_card(mini_out):
    from huggingface_hub import DatasetCard

    card = DatasetCard.load(mini_out / "mubench" / "cifar100-mini" / "README.md")
    assert card.data.license == "cc-by-4.0" and len(card.data.configs) == 11


def test_configurations_are_lists_of_existing_files(mini_out, mini_card):
    folder, files = mini_out / "mubench" / "cifar100-mini", [*FORGET_FILES, RETAIN_FILE]
    found = {
        config["config_name"]: {part["split"]: part["path"] for part in config["data_files"]}
        for config in mini_card[0]["configs"]
    }
    assert list(found) == ["default", *[f"df_{ratio}pct" for ratio in range(1, 11)]]
    assert found["default"] == {"train": files, "test": ["data/test.parquet"]}
    for ratio in range(1, 11):
        assert found[f"df_{ratio}pct"] == {
            "forget": files[:ratio], "retain": files[ratio:], "test": ["data/test.parquet"]
        }  # fmt: skip
    listed = {path for splits in found.values() for paths in splits.values() for path in paths}
    assert listed == {str(file.relative_to(folder)) for file in folder.rglob("*.parquet")}


def test_other_held_out_splits_are_in_every_configuration(made_up, tmp_path):
    folder = build(made_up(ood=10, validation=20), variant="full", out=tmp_path)
    for config in parts(folder)[0]["configs"]:
        held_out = {part["split"]: part["path"] for part in config["data_files"][-3:]}
        assert held_out == {split: [f"data/{split}.parquet"] for split in ("validation", "test", "ood")}
    assert all((folder / f"data/{split}.parquet").is_file() for split in ("validation", "ood"))
    assert "400 train, 20 validation, 30 test, 10 ood" in parts(folder)[1]


def test_no_list_is_shared():
    lists = [paths for splits in configs(["test"]).values() for paths in splits.values()]
    assert len({id(paths) for paths in lists}) == len(lists)


def test_body_tells_how_the_split_was_made(task, mini_out, mini_card, made_up, tmp_path):
    body = mini_card[1]
    manifest = load_manifest(task, variant="mini", out=mini_out)
    assert manifest["deletion_list"]["sha256"] in body
    assert 'load_dataset("mubench/cifar100-mini", "df_5pct")' in body
    assert "1,000 train, 797 test" in body and "The list has 100 rows" in body
    assert "arXiv:2406.14796" in body and "alpaydin1998optical" in body
    assert "No list was published" in body and "from its start" in body
    assert "$" not in body, "a placeholder was not filled"

    sha = manifest_sha(made_up(source={"stream": "cifar100"}), tmp_path / "first")
    source = {"stream": "cifar100", "deletion_sha256": sha, "hub_id": "someone/rows", "revision": "abc123"}
    body = parts(build(made_up(source=source), variant="full", out=tmp_path / "second"))[1]
    assert "It equals the list published with MU-Bench" in body and sha in body
    assert "published list of cifar100 starts" in body
    assert "https://huggingface.co/datasets/someone/rows) at `abc123`" in body


def manifest_sha(made, out):
    build(made, variant="full", out=out)
    return load_manifest(made, variant="full", out=out)["deletion_list"]["sha256"]


def test_template_of_the_installed_package_comes_first(monkeypatch, tmp_path):
    monkeypatch.setattr("mubench_hf.utils.shipped.files", lambda package: tmp_path / package)
    for place, text in (("model_cards", "checkout $title"), ("mubench_hf/model_cards", "packaged $title")):
        (tmp_path / place).mkdir(parents=True)
        (tmp_path / place / "dataset.md").write_text(text)
        assert template("dataset.md").template == text
    with pytest.raises(FileNotFoundError):
        template("none.md")


def test_every_leaderboard_is_of_a_split_that_loads(mini_out, mini_card):
    folder = mini_out / "mubench" / "cifar100-mini"
    boards = yaml.safe_load((folder / "eval.yaml").read_text(encoding="utf-8"))
    there = {
        (config["config_name"], part["split"]) for config in mini_card[0]["configs"] for part in config["data_files"]
    }
    asked = [(board["config"], board["split"]) for board in boards["tasks"]]
    assert set(asked) <= there and len(set(asked)) == len(asked) == 30
    assert "Mini data, not CIFAR-100" in boards["description"]
