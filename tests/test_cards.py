"""Cards say what they must, their metadata are read back equal, and all that they link to is there."""

import dataclasses
import re

import pytest
from huggingface_hub import ModelCard, RepoCard
from made_up import made_up

from mubench_hf.errors import BadInput
from mubench_hf.hub.cards import OUTPUTS, metric_card, model_card, model_metadata
from mubench_hf.metrics import get_metric, list_metrics
from mubench_hf.models import get_model
from mubench_hf.runs.record import tag_of
from mubench_hf.tasks import get_task, list_tasks
from mubench_hf.trainers import get_method, list_methods

FILES = {"config.json", "model.safetensors", "run.json", "run_result.json", "recipe.json", OUTPUTS, "plots/mia_roc.png"}


def body_of(text):
    return text.split("---\n", 2)[2]


@pytest.mark.parametrize("variant", ["mini", "full"])
@pytest.mark.parametrize("task", list_tasks())
@pytest.mark.parametrize("method", ["original", "retrain", "scrub"])
def test_metadata_are_read_back_equal(method, task, variant):
    record, result = made_up(method, task, variant)
    written = model_metadata(record, result, files=FILES)
    card = ModelCard(model_card(record, result, retrain=None, files=FILES))
    assert card.data.to_dict() == written.to_dict() and ModelCard(str(card)).data.to_dict() == written.to_dict()
    found = {
        (entry.dataset_split, entry.metric_type): entry.metric_value
        for entry in card.data.eval_results
        if entry.dataset_type == f"mubench/{result.run.dataset_name}" and entry.dataset_config == "df_5pct"
    }
    metric = get_task(task).metric
    expected = {(split, metric): result.scores[f"{split}_{metric}"] for split in ("test", "forget", "retain")}
    assert found == expected | {(None, name): result.scores[name] for name in ("zrf", "unlearn_seconds")}
    assert {"machine-unlearning", method, task, "arxiv:2406.14796"} <= set(card.data.tags)
    assert ("mini-data" in card.data.tags) == (variant == "mini")
    assert card.data.pipeline_tag == get_task(task).tags[0] and card.data.datasets == [
        f"mubench/{record.run.dataset_name}"
    ]
    weights = get_model(result.model).hub_id if method != "scrub" else record.base_model
    assert card.data.base_model == weights


@pytest.mark.parametrize("method", ["original", *list_methods()])
def test_the_body_says_how_it_came_about(method):
    record, result = made_up(method)
    body = body_of(model_card(record, result, retrain=None, files=FILES))
    assert body.splitlines()[0].startswith("**Mini data") and "not CIFAR-100" in body.splitlines()[0]
    assert "$" not in body and "None" not in body
    for text in (record.run.checkpoint_name, "a" * 64, "df_5pct", "arXiv:2406.14796", "| `learning_rate` | `1e-05` |"):
        assert text in body
    if method != "original":
        assert get_method(method).title in body and get_method(method).source in body and "b" * 64 in body
        assert get_method(method).caveat in body
    first = body_of(model_card(*made_up(method, variant="full"), retrain=None, files=FILES)).splitlines()[0]
    assert first == "**Full data: CIFAR-100.**"


def rows_of(body):
    return {row[0].strip("` "): row[1:] for row in (line.strip("| ").split(" | ") for line in body.splitlines()) if row}


def test_every_score_has_its_gap_or_a_reason():
    (record, result), (_, retrain) = made_up(), made_up("retrain")
    rows = rows_of(body_of(model_card(record, result, retrain=retrain, files=FILES)))
    for key in result.scores.keys() - {"retrain_time_ratio"}:
        assert float(rows[key][0]) == pytest.approx(result.scores[key], rel=1e-3)
        assert float(rows[key][1]) == pytest.approx(result.scores[key] - retrain.scores[key], rel=1e-3)
    assert rows["retrain_time_ratio"] == ["–", "needs the \\| retrained model"], "the bar is escaped"
    rows = rows_of(body_of(model_card(record, result, retrain=None, files=FILES)))
    assert rows["zrf"][1] == "no retrained model of this seed was evaluated"
    less = dataclasses.replace(retrain, scores={**retrain.scores, "zrf": None}, reasons={**retrain.reasons, "zrf": "x"})
    rows = rows_of(body_of(model_card(record, result, retrain=less, files=FILES)))
    assert rows["zrf"][1] == "the retrained model lacks it"


def links(text):
    return [target for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]


@pytest.mark.parametrize("method", ["original", "scrub"])
@pytest.mark.parametrize("files", [FILES, FILES - {OUTPUTS, "plots/mia_roc.png", "recipe.json"}])
def test_only_what_is_there_is_linked(method, files):
    found = links(model_card(*made_up(method), retrain=None, files=files))
    assert set(found) <= files and {"run.json", "run_result.json"} <= set(found)
    expected = {OUTPUTS, "plots/mia_roc.png"} | ({"recipe.json"} if method == "original" else set())
    assert expected & files == expected & set(found)


def test_a_diverged_run_says_so():
    body = model_card(*made_up(status="diverged", status_reason="loss is NaN at step 7"), retrain=None, files=FILES)
    assert "**The run diverged: loss is NaN at step 7**" in body
    assert "diverged" not in body_of(model_card(*made_up(), retrain=None, files=FILES))


def test_what_differs_from_the_preset_and_what_is_external_is_said():
    record, result = made_up()
    settings = {"learning_rate": 0.25, "original": "cifar100-mini-vit-tiny-original-s7"}
    parts = {"method": {"name": "mine.py:Mine", "sha256": "d" * 64}}
    run = dataclasses.replace(record.run, method="mine", tag=tag_of(settings, parts))
    record = dataclasses.replace(record, run=run, settings=settings, external=parts)
    result = dataclasses.replace(result, method="mine", settings=settings, external=parts)
    body = body_of(model_card(record, result, retrain=None, files=FILES))
    before, after = body.split("What differs from the benchmark's preset:")
    rows = rows_of(after.split("All that differs from the defaults")[0])
    assert rows["learning_rate"] == ["`0.25`"] and rows["original"] == ["`cifar100-mini-vit-tiny-original-s7`"]
    assert f"The method is external, no part of `mubench_hf`: `mine.py:Mine`, SHA-256 `{'d' * 64}`" in after
    assert "forget a part of it with mine." in before and run.tag in before
    plain = body_of(model_card(*made_up(), retrain=None, files=FILES))
    assert "preset:\n\nNothing.\n" in plain and "external" not in plain


def test_an_original_that_is_on_no_hub_is_not_linked():
    record, result = made_up(base_model="my-vit")
    card = ModelCard(model_card(record, result, retrain=None, files=FILES))
    assert card.data.base_model is None and "`my-vit`, which is not on the Hub" in card.text
    assert "my-vit]" not in card.text


def test_another_organisation():
    record, result = made_up()
    text = model_card(record, result, retrain=None, files=FILES, org="lab")
    assert "mubench/" not in text.replace("arxiv", "") and 'from_pretrained("lab/cifar100-mini-vit-tiny-scrub' in text


@pytest.mark.parametrize(("part", "expected"), [("vae", "DiffusionPipeline."), ("unet", "UNet2DConditionModel.")])
def test_a_pipeline_is_loaded_as_one_or_by_its_parts(part, expected):
    files = {*FILES, "model_index.json", f"{part}/config.json"}
    card = ModelCard(model_card(*made_up(), retrain=None, files=files))
    assert card.data.library_name == "diffusers" and f"{expected}from_pretrained(" in card.text


@pytest.mark.parametrize("name", list_metrics())
def test_metric_cards_keep_the_module_and_name_its_source(name):
    card = RepoCard(metric_card(name, org="lab"))
    assert card.data["sdk"] == "gradio" and card.data["app_file"] == "app.py" and card.data["title"] == name
    assert f'evaluate.load("lab/{name}")' in card.text and "mubench/" not in card.text and "$" not in card.text
    assert get_metric(name).source in card.text and not links(card.text)


def test_an_unknown_metric_is_refused():
    with pytest.raises(BadInput, match="Did you mean 'zrf'"):
        metric_card("zfr")


@pytest.mark.parametrize("task", list_tasks())
def test_what_the_benchmark_does_otherwise_is_on_the_cards(task):
    """Of the full data alone: a mini run is compared with nothing that was published."""
    differs = get_task(task).full.differs
    for method in ("original", "scrub"):
        mini, full = (
            body_of(model_card(*made_up(method, task, variant), retrain=None, files=FILES))
            for variant in ("mini", "full")
        )
        assert all(f"\n- {one}\n" in full and one not in mini for one in differs)
        assert ("on purpose" in full) == bool(differs) and "on purpose" not in mini
