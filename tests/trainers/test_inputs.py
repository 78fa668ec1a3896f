"""What an unlearning trainer is made of is right, or one line says what is not."""

import datasets
import numpy as np
import pytest
import torch
from torch.utils.data import IterableDataset, Subset
from transformers import TrainerCallback, default_data_collator

from mubench_hf.errors import BadInput
from mubench_hf.trainers import UnlearningTrainer


def rows(count=6, start=0):
    return [{"pixel_values": torch.randn(3, 16, 16), "labels": (start + i) % 5} for i in range(count)]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(rows())


class Endless:
    """Rows by number, and no end."""

    def __getitem__(self, position):
        return rows(1)[0]


class Unsized(torch.utils.data.Dataset):
    """A length that it does not know."""

    def __len__(self):
        raise NotImplementedError

    def __getitem__(self, position):
        return rows(1)[0]


def table(count=6):
    return datasets.Dataset.from_list(
        [{"pixel_values": row["pixel_values"].tolist(), "labels": row["labels"]} for row in rows(count)]
    )


NO_ROWS = {
    "torch stream": (Stream, "a Stream, a stream without a length; .* Load it without streaming"),
    "stream": (lambda: table().to_iterable_dataset(), "an? IterableDataset, a stream without a length"),
    "generator": (lambda: (row for row in rows()), "a generator, a stream without a length"),
    "endless": (Endless, "a Endless; it is a data set with a length"),
    "no length": (Unsized, "a Unsized; it is a data set with a length"),
    "splits": (
        lambda: datasets.DatasetDict(train=table(), test=table()),
        "a DatasetDict of train, test; .* Choose one",
    ),
    "dict": (lambda: {"labels": [1, 2], "pixel_values": []}, "a dict of labels, pixel_values"),
    "name": (lambda: "cifar100", "the text 'cifar100'; it is a data set"),
    "collator": (lambda: default_data_collator, "a function; it is a data set"),
    "number": (lambda: 3, "a int; it is a data set"),
}


@pytest.mark.parametrize("name", ["forget_dataset", "retain_dataset"])
@pytest.mark.parametrize("what", NO_ROWS)
def test_no_rows_by_number(what, name, world, make):
    made, words = NO_ROWS[what]
    with pytest.raises(BadInput, match=f"^{name} is {words}") as error:
        make("finetune", world, kwargs={name: made()})
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((torch.zeros(3), 1), "a tuple"),
        ([1, 2], "a list"),
        (3, "a int"),
        (np.zeros(3), "a ndarray"),
        ("a text", "the text"),
    ],
)
def test_rows_that_are_no_mappings(row, words, world, make):
    with pytest.raises(BadInput, match=f"^A row of retain_dataset is {words}.*it is a mapping from the names"):
        make("finetune", world, kwargs={"retain_dataset": [row] * 5})


@pytest.mark.parametrize("name", ["row", "is_forget"])
def test_a_column_with_the_name_of_a_flag(name, world, make):
    """A batch has its flags under these names, so that a collator would be given something else than the column."""
    rows = [{"x": torch.zeros(3), "labels": 0, name: number} for number in range(4)]
    with pytest.raises(BadInput, match=f"^A row of forget_dataset has {name}, .* another name"):
        make("finetune", world, kwargs={"forget_dataset": rows})


def test_a_data_frame(world, make):
    with pytest.raises(BadInput, match=r"^forget_dataset\[0\] cannot be read \(KeyError"):
        make("finetune", world, kwargs={"forget_dataset": table().to_pandas()})


def test_lists_and_tables_of_rows_are_data_sets(world, make):
    for given in (rows(), tuple(rows()), table(), Subset(rows(9), [1, 5, 2])):
        trainer = make("finetune", world, kwargs={"retain_dataset": given, "forget_dataset": None}, max_steps=1)
        trainer.train()
        assert trainer.status == "ok" and len(trainer.rows) == len(given)


NO_MODEL = {
    "none": (lambda world: None, "model is missing"),
    "name": (lambda world: "google/vit", "model is the text 'google/vit'; give a loaded model"),
    "class": (lambda world: type(world.original()), "model is the class ViTForImageClassification"),
    "parallel": (
        lambda world: torch.nn.DataParallel(world.original()),
        "model is a DataParallel. Give the model inside",
    ),
}


@pytest.mark.parametrize("what", NO_MODEL)
def test_no_model(what, world, make):
    made, words = NO_MODEL[what]
    with pytest.raises(BadInput, match=f"^{words}"):
        args = make("finetune", world).args
        type(make("finetune", world))(made(world), args, world.forget, world.retain)


@pytest.mark.parametrize(
    ("kwargs", "words"),
    [
        ({"train_dataset": rows()}, "train_dataset has no effect .* Give the rows to forget as forget_dataset"),
        ({"model_init": lambda: None}, "model_init has no effect"),
        ({"compute_loss_func": lambda *args, **kwargs: 0}, "compute_loss_func has no effect"),
        ({"data_collator": "padding"}, "data_collator is the text 'padding'"),
        ({"optimizers": torch.optim.SGD([torch.zeros(1)])}, "optimizers is a SGD; give"),
        ({"optimizers": (torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))]), None)}, "The optimizer .* holds none"),
    ],
)
def test_arguments_of_trainer_that_would_do_nothing(kwargs, words, world, make):
    with pytest.raises(BadInput, match=f"^{words}"):
        make("finetune", world, kwargs=kwargs)


def test_a_scheduler_needs_its_optimizer(world, make):
    model = world.original()
    optimizer = torch.optim.SGD(model.parameters())
    scheduler = torch.optim.lr_scheduler.ConstantLR(optimizer)
    with pytest.raises(BadInput, match="^optimizers has a scheduler without the optimizer"):
        make("finetune", world, model=model, kwargs={"optimizers": (None, scheduler)})


def test_an_own_optimizer_is_the_one_that_steps(world, make, weights_of, same_weights):
    ends = []
    for rate in (0.0, 0.1):
        model = world.original()
        optimizer = torch.optim.SGD(model.parameters(), lr=rate)
        make("finetune", world, model=model, kwargs={"optimizers": (optimizer, None)}, max_steps=1).train()
        ends.append(weights_of(model))
    assert same_weights(ends[0], weights_of(world.original())) and not same_weights(*ends)


def test_the_base_is_no_method(world):
    with pytest.raises(BadInput, match="^UnlearningTrainer is no method"):
        UnlearningTrainer(world.original(), None, world.forget, world.retain)


def test_searches_and_trials_are_refused(world, make):
    trainer = make("finetune", world)
    with pytest.raises(BadInput, match="^hyperparameter_search is not supported"):
        trainer.hyperparameter_search(n_trials=2)
    with pytest.raises(BadInput, match="^trial is of a hyperparameter search"):
        trainer.train(trial={"learning_rate": 1})


def test_evaluation_takes_what_trainer_takes(world, make):
    """Streams, several sets by name, one's own metrics and logits before them."""
    kwargs = {
        "eval_dataset": {"stream": Stream(), "list": rows()},
        "compute_metrics": lambda found: {"kept": found.predictions.shape[1]},
        "preprocess_logits_for_metrics": lambda logits, labels: logits[:, :2],
    }
    trainer = make("finetune", world, kwargs=kwargs, max_steps=1)
    trainer.train(ignore_keys_for_eval=["attentions"])
    scores = trainer.evaluate()
    assert scores["eval_stream_kept"] == scores["eval_list_kept"] == 2
    assert scores["eval_list_loss"] > 0 and trainer.predict(Stream()).predictions.shape == (6, 2)


def test_a_callback_of_ones_own_is_heard(world, make):
    class Stop(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            assert kwargs["model"] is trainer.model
            control.should_training_stop = state.global_step == 2

    trainer = make("finetune", world, kwargs={"callbacks": [Stop()]})
    assert trainer.train().global_step == 2
