"""What every registered task, model, method and metric promises, checked over the whole registry."""

import dataclasses
import math

import numpy as np
import pytest
from datasets import Audio, Video, load_dataset
from transformers import PrinterCallback

from mubench_hf.data.joined import JoinedRows
from mubench_hf.data.prepare import PreparedRows, load_task_data
from mubench_hf.kinds import get_kind, kind_of
from mubench_hf.kinds.measures import get_measure
from mubench_hf.metrics import get_metric, list_metrics
from mubench_hf.models import get_model, list_models
from mubench_hf.models.loading import fresh_model, load_processor
from mubench_hf.runs.scores import score, score_names
from mubench_hf.tasks import get_task, list_tasks
from mubench_hf.trainers import get_method, list_methods

BATCH = {
    "per_device_train_batch_size": 8,
    "cpu_threads": 1,
    "max_steps": 2,
    "save_strategy": "no",
    "disable_tqdm": True,
}


BOTH_WAYS = {"scrub": {"msteps": 1, "forget_batch_size": 64}}
"""One max pass of one update, then a min pass: at the original itself a divergence from it has no slope."""


@pytest.fixture(scope="module")
def mini_data(tmp_path_factory):
    """Return a task's mini rows, prepared for a model; a task is built once."""
    from mubench_hf.data.build import build

    built = {}

    def mini_data(task, spec):
        if task.name not in built:
            built[task.name] = tmp_path_factory.mktemp(task.name)
            build(task, variant="mini", out=built[task.name], progress=False)
        out = built[task.name]
        return load_task_data(
            task, variant="mini", ratio=5, processor=lambda texts: load_processor(spec, texts), out=out
        )

    return mini_data


@pytest.fixture(scope="module", params=list_tasks())
def task_data(request, mini_data):
    """A task's mini rows, and an untrained model."""
    task = get_task(request.param)
    spec = get_model(task.mini.default_model)
    data = mini_data(task, spec)
    return data, fresh_model(spec, data.label_names, 0)


def some_rows(data, size=40):
    """Return the data with at most ``size`` rows a split, evenly spread."""
    splits = {}
    for name, rows in data.splits.items():
        chosen = np.unique(np.linspace(0, len(rows) - 1, size).round().astype(int))
        splits[name] = PreparedRows(rows.rows.select(chosen), rows.prepare, label=data.task.label)
    return dataclasses.replace(data, splits=splits)


@pytest.fixture(autouse=True)
def short_sampling(monkeypatch):
    monkeypatch.setattr("mubench_hf.models.text_to_image.SAMPLING_STEPS", 3)


@pytest.mark.parametrize("name", list_methods())
def test_every_task_runs_every_method_and_every_metric(name, task_data, tmp_path):
    data, original = task_data
    trainer_class = get_method(name)
    if not trainer_class.is_for(data.task.kind):
        pytest.skip(f"{name} is not for {data.task.kind}")
    args = trainer_class.config_class(output_dir=str(tmp_path), seed=4, **BATCH, **BOTH_WAYS.get(name, {}))
    model = fresh_model(get_model(data.task.mini.default_model), data.label_names, 0)
    trainer = trainer_class(
        model, args, forget_dataset=data.splits["forget"], retain_dataset=data.splits["retain"],
        eval_dataset=data.splits["test"], data_collator=data.collator,
    )  # fmt: skip
    trainer.remove_callback(PrinterCallback)
    output = trainer.train()
    assert math.isfinite(output.training_loss) and output.global_step == 2 and trainer.status == "ok"
    assert any(not weight.equal(other) for weight, other in zip(model.parameters(), original.parameters(), strict=True))
    assert all(weight.isfinite().all() for weight in model.parameters())

    assert trainer.kind is get_kind(data.task.kind) is kind_of(model)
    outputs = get_measure(data.task.kind).measure(model, some_rows(data), 4)
    reference, _ = score(outputs, metrics=data.task.metrics, method="retrain", seed=4, seconds=2.0)
    scores, reasons = score(
        outputs, metrics=data.task.metrics, method=name, seed=4, seconds=1.0, original=reference, retrain=reference
    )
    assert set(reasons) == ({"zrf"} if data.task.kind == "diffusion" else set()), "a denoiser has no classes"
    expected = {
        f"{key.removesuffix('accuracy')}{data.task.metric}" if key.endswith("_accuracy") else key
        for key in score_names(["accuracy"])
    }
    assert expected <= set(scores)
    for metric in list_metrics():
        for key in {metric, *(f"{split}_{metric}" for split in ("test", "forget", "retain"))} & set(scores):
            low, high = get_metric(metric).range
            assert scores[key] is None or low <= scores[key] <= high


TINY = [name for name in list_models() if get_model(name).hub_id is None]


def task_of(spec):
    """Return a task that a model fits."""
    wanted = (spec.architecture.modality, spec.architecture.kind)
    tasks = [get_task(name) for name in list_tasks()]
    return next(task for task in tasks if (task.modality, task.kind) == wanted)


@pytest.mark.parametrize("method", ["scrub", "salun", "bad_teaching"])
@pytest.mark.parametrize("name", TINY)
def test_every_architecture_unlearns(name, method, mini_data, tmp_path):
    spec = get_model(name)
    data = mini_data(task_of(spec), spec)
    trainer_class, model = get_method(method), fresh_model(spec, data.label_names, 0)
    args = trainer_class.config_class(output_dir=str(tmp_path), seed=4, **BATCH, **BOTH_WAYS.get(method, {}))
    rows = some_rows(data).splits
    trainer = trainer_class(
        model, args, forget_dataset=rows["forget"], retain_dataset=rows["retain"], data_collator=data.collator
    )
    trainer.remove_callback(PrinterCallback)
    output = trainer.train()
    assert trainer.status == "ok" and math.isfinite(output.training_loss) and output.global_step == 2
    before = fresh_model(spec, data.label_names, 0)
    moved = [not one.equal(other) for one, other in zip(model.parameters(), before.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2 and all(weight.isfinite().all() for weight in model.parameters())
    if method == "salun":
        pairs = zip(model.parameters(), before.parameters(), strict=True)
        changed = sum(int((one != other).sum()) for one, other in pairs)
        assert changed <= round(0.5 * sum(weight.numel() for weight in model.parameters()))


def test_every_task_keeps_its_sets_apart(task_data):
    data, _ = task_data
    train = JoinedRows(data.splits["forget"], data.splits["retain"])
    assert train.is_forget.sum() == len(data.splits["forget"])
    index = np.sort(np.concatenate([data.splits["forget"].index, data.splits["retain"].index]))
    assert (index == np.arange(len(train))).all()


def test_every_task_is_read_by_plain_datasets(task_data):
    """The configuration has the task's columns, and its decoded rows are what the trainer's preparation saw."""
    data, _ = task_data
    task, out = data.task, data.cache_dir.parent.parent
    splits = load_dataset(str(out / "mubench" / task.dataset_name("mini")), "df_5pct")
    assert {"forget", "retain", "test"} <= set(splits) <= {"forget", "retain", "validation", "test", "ood"}
    assert splits["retain"].column_names == ["index", *task.inputs, task.label]
    for split in ("forget", "retain", "test"):
        rows, prepared = splits[split], data.splits[split]
        assert len(rows) == len(prepared) and rows.features == splits["test"].features
        for name, feature in rows.features.items():
            if isinstance(feature, Audio | Video):  # Shown as such; decoded here without a system decoder.
                rows = rows.cast_column(name, type(feature)(decode=False))
        by_index = {index: place for place, index in enumerate(prepared.index)}
        for place in (0, len(rows) // 2, len(rows) - 1):
            row = rows[place]
            expected, found = task.prepare(row, data.processor), prepared[by_index[row["index"]]]
            assert expected.keys() == found.keys()
            assert all(np.array_equal(np.asarray(expected[name]), np.asarray(found[name])) for name in expected)


@pytest.mark.parametrize("name", list_tasks())
def test_every_task_says_what_it_is(name):
    task = get_task(name)
    assert task.name == name and task.metric in list_metrics()
    for source in (task.full, task.mini):
        assert source.origin and source.licence and source.citation.startswith("@")
        assert get_model(source.default_model).architecture.modality == task.modality
        assert set(source.presets) <= set(list_methods())
        assert set(source.published_scores) <= set(list_models())
        for method, preset in source.presets.items():
            assert set(preset) <= {field.name for field in dataclasses.fields(get_method(method).config_class)}
        for value in source.published_scores.values():
            assert 0 < value < 1
    assert "mini" in task.mini.origin.lower()
    assert task.full.hub_id is None or task.full.revision is None or len(task.full.revision) == 40


@pytest.mark.parametrize("name", list_tasks())
def test_a_task_cannot_be_changed(name):
    task = get_task(name)
    with pytest.raises(dataclasses.FrozenInstanceError):
        task.metric = "other"
    with pytest.raises(TypeError):
        task.mini.presets["scrub"] = {}


@pytest.mark.parametrize("name", list_methods())
def test_every_method_has_its_own_config(name):
    method = get_method(name)
    assert method.config_class.__module__ == method.__module__
    assert method.compute_loss is not get_method("retrain").__mro__[1].compute_loss
