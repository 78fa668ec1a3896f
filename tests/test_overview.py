"""The table of models: sizes as people say them, and the line that counts."""

import re

import pytest

from mubench_hf.cli import dispatch
from mubench_hf.commands import list as overview
from mubench_hf.models import get_model, list_models


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (2_226_434, "2.2M"),
        (8_307_458, "8.3M"),
        (85_800_194, "86M"),
        (962_825_858, "963M"),
        (1_418_270_720, "1.4B"),
        (11_135_332_352, "11B"),
    ],
)
def test_counts_are_short(number, said):
    assert overview.short_count(number) == said


def test_models_are_described():
    header, *rows = overview.model_rows()
    assert header == ["Model", "Architecture", "Scale", "Kind", "Reads", "Hub checkpoint", "Parameters", "Licence",
                      "Published"]  # fmt: skip
    by_name = {row[0]: row for row in rows}
    base = ["vit-base", "ViT", "base", "classification", "image", "google/vit-base-patch16-224-in21k", "86M",
            "apache-2.0", "CIFAR-100 0.922"]  # fmt: skip
    assert by_name["vit-base"] == base
    assert by_name["llama-2-7b-chat"][3:] == [
        "causal_lm",
        "text",
        "NousResearch/Llama-2-7b-chat-hf",
        "6.7B",
        "llama2",
        "-",
    ]
    assert by_name["vit-tiny"][5:] == ["tiny, from its configuration", "-", "-", "-"]


def test_the_list_ends_with_a_count(capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "300")
    models = [get_model(name) for name in list_models()]
    published = sum(model.hub_id is not None for model in models)
    line = f"{len(models) - published} architectures at {published} published scales, and each as a tiny model."
    dispatch(["list", "models"])
    assert capsys.readouterr().out.strip().splitlines()[-1].strip().startswith(line)
    assert f" |\n\n{line} Published: test score" in overview.markdown("models")
    assert re.search(r" \|$", overview.markdown("tasks")), "other tables have none"
