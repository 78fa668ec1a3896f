"""A trainer built in Python with `push_to_hub=True` sends its model with our card, once, and nothing else."""

import pytest
from hub import WRITER
from huggingface_hub import ModelCard
from methods import methods_for
from transformers import AutoModelForImageClassification

from mubench_hf.errors import BadInput
from mubench_hf.trainers import ScrubTrainer

PUSH = {"push_to_hub": True, "hub_token": WRITER, "hub_model_id": "mubench/mine", "num_train_epochs": 1}


@pytest.mark.parametrize("method", methods_for("classification"))
def test_model_and_card_are_pushed_and_nothing_else(hub_here, world, make, method, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("secret")
    trainer = make(method, world, save_strategy="epoch", **PUSH)
    assert not hub_here.files("model", "mubench/mine"), "nothing is sent before the end"
    trainer.train()
    assert set(hub_here.files("model", "mubench/mine")) == {"README.md", "config.json", "model.safetensors"}
    assert len(hub_here.repos["model", "mubench/mine"].commits) == 2, "one push, at the end"
    card = ModelCard(hub_here.files("model", "mubench/mine")["README.md"].decode())
    assert {"machine-unlearning", "mubench", method} <= set(card.data.tags) and "base_model" not in card.data.to_dict()
    assert "generated_from_trainer" not in str(card) and "$" not in card.text and "None" not in card.text
    forget = int(world.is_forget.sum())
    for text in (trainer.title, trainer.source, f"{forget} to forget, {len(world.labels) - forget} to keep",
                 "| `learning_rate` | `0.001` |", "Outcome: ok", "# mine"):  # fmt: skip
        assert text in card.text
    assert WRITER not in str(card)
    loaded = AutoModelForImageClassification.from_pretrained("mubench/mine")
    for name, weight in trainer.model.state_dict().items():
        assert loaded.state_dict()[name].equal(weight)


def test_pushed_again_with_words_of_ones_own(hub_here, world, make, tmp_path):
    class Mine(ScrubTrainer):
        pass

    trainer = make(Mine, world, hub_token=WRITER)
    trainer.train()
    assert not hub_here.repos, "nobody asked"
    trainer.push_to_hub(tags="a-tag", finetuned_from="org/base", license="mit", tasks="text-ranking", private=True)
    repo = hub_here.repos["model", "writer/run"]
    card = ModelCard(hub_here.files("model", "writer/run")["README.md"].decode())
    assert card.data.tags == ["machine-unlearning", "mubench", "mine", "a-tag"] and card.data.base_model == "org/base"
    assert (card.data.license, card.data.pipeline_tag) == ("mit", "text-ranking") and "# run" in card.text
    assert repo.private and trainer.args.output_dir == str(tmp_path / "run")
    trainer.push_to_hub(finetuned_from="org/other")
    assert b"org/other" in hub_here.files("model", "writer/run")["README.md"]
    with pytest.raises(BadInput, match="blocking is False"):
        trainer.push_to_hub(blocking=False)


def test_a_diverged_run_says_so(hub_here, world, make):
    trainer = make("neggrad", world, **PUSH, max_abs_loss=1e-9)
    trainer.train()
    assert "Outcome: diverged: loss" in hub_here.files("model", "mubench/mine")["README.md"].decode()


@pytest.mark.parametrize("strategy", ["checkpoint", "all_checkpoints"])
def test_saved_states_are_not_pushed(hub_here, world, make, strategy):
    with pytest.raises(BadInput, match=f"hub_strategy is '{strategy}'.*never pushed"):
        make("scrub", world, **PUSH, hub_strategy=strategy)
    assert not hub_here.requests


def test_a_saved_state_holds_no_pickled_arguments(world, make, tmp_path):
    make("finetune", world, save_strategy="epoch", hub_token=WRITER).train()
    (state,) = (tmp_path / "run").glob("checkpoint-*")
    assert (state / "model.safetensors").is_file() and not list((tmp_path / "run").rglob("training_args.bin"))
    assert not any(WRITER.encode() in file.read_bytes() for file in (tmp_path / "run").rglob("*") if file.is_file())
