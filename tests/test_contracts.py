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
from mubench_hf.runs.choice import choose
from mubench_hf.runs.scores import score
from mubench_hf.tasks import get_task, list_tasks
from mubench_hf.trainers import get_method, list_methods

BATCH = {
    "per_device_train_batch_size": 8,
    "cpu_threads": 1,
    "max_steps": 2,
    "save_strategy": "no",
    "disable_tqdm": True,
}


def unlearning(name, model, data, tmp_path):
    """Return the trainer of a method; D_f is one batch, so that two updates see both passes of an epoch of two."""
    trainer_class = get_method(name)
    trainer = trainer_class(
        model,
        trainer_class.config_class(output_dir=str(tmp_path), seed=4, **BATCH),
        forget_dataset=some_rows(data, BATCH["per_device_train_batch_size"]).splits["forget"],
        retain_dataset=some_rows(data).splits["retain"],
        eval_dataset=data.splits["test"],
        data_collator=data.collator,
    )
    trainer.remove_callback(PrinterCallback)
    return trainer


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


OF_A_KIND = {get_task(name).kind: name for name in reversed(list_tasks())}
"""The task that stands for a kind by default: the first one."""

METHODS_OF = {
    task: [method for method in list_methods() if get_method(method).is_for(get_task(task).kind)]
    for task in list_tasks()
}

PAIRS = [
    # Every method on a task of each kind, and a method on every task; the rest of the cross takes minutes.
    pytest.param(task, method, marks=() if task in OF_A_KIND.values() or method == methods[0] else pytest.mark.slow)
    for task, methods in METHODS_OF.items()
    for method in methods
]


@pytest.fixture(scope="module", params=list_tasks())
def task_data(request, mini_data):
    """A task's mini rows, and an untrained model."""
    task = get_task(request.param)
    spec = get_model(task.mini.default_model)
    data = mini_data(task, spec)
    return data, fresh_model(spec, data.label_names, 0)


def some_rows(data, size=16):
    """Return the data with at most ``size`` rows a split, evenly spread."""
    splits = {}
    for name, rows in data.splits.items():
        chosen = np.unique(np.linspace(0, len(rows) - 1, size).round().astype(int))
        splits[name] = PreparedRows(rows.rows.select(chosen), rows.prepare, label=data.task.label)
    return dataclasses.replace(data, splits=splits)


@pytest.fixture(autouse=True)
def short_sampling(monkeypatch):
    monkeypatch.setattr("mubench_hf.models.text_to_image.SAMPLING_STEPS", 3)


@pytest.mark.parametrize(("task_data", "name"), PAIRS, indirect=["task_data"])
def test_every_task_runs_every_method_and_every_metric(name, task_data, tmp_path):
    data, original = task_data
    model = fresh_model(get_model(data.task.mini.default_model), data.label_names, 0)
    trainer = unlearning(name, model, data, tmp_path)
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
    # A few rows need not have D_f's classes, and texts have none.
    assert {*reasons} - {"mia_loss_auc_matched"} == ({"zrf"} if data.task.kind == "diffusion" else set())
    expected = {
        f"{key.removesuffix('accuracy')}{data.task.metric}" if key.endswith("_accuracy") else key
        for key in choose(["accuracy"]).scores
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


ARCHITECTURES = [
    # One method on every architecture; the others take minutes.
    pytest.param(name, method, marks=() if method == methods[-1] else pytest.mark.slow)
    for name in TINY
    for methods in [METHODS_OF[task_of(get_model(name)).name]]
    for method in methods
]


@pytest.mark.parametrize(("name", "method"), ARCHITECTURES)
def test_every_architecture_unlearns(name, method, mini_data, tmp_path):
    spec = get_model(name)
    data = mini_data(task_of(spec), spec)
    model = fresh_model(spec, data.label_names, 0)
    trainer = unlearning(method, model, data, tmp_path)
    output = trainer.train()
    assert trainer.status == "ok" and math.isfinite(output.training_loss) and output.global_step == 2
    before = fresh_model(spec, data.label_names, 0)
    moved = [not one.equal(other) for one, other in zip(model.parameters(), before.parameters(), strict=True)]
    assert sum(moved) > len(moved) / 2 and all(weight.isfinite().all() for weight in model.parameters())
    masks = getattr(trainer, "masks", {})  # A method that changes a part of the weights leaves the others as they were.
    start = dict(before.named_parameters())
    for where, weight in model.named_parameters():
        assert where not in masks or weight[~masks[where]].equal(start[where][~masks[where]])


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
