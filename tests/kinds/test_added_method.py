"""A method from a file, whose loss is of whole targets: what a batch says of tokens is enough to write it."""

from pathlib import Path

import numpy as np
import pytest
from formulas import log_likelihood

from mubench_hf.errors import BadInput
from mubench_hf.models import get_model
from mubench_hf.models.loading import fresh_model
from mubench_hf.trainers import get_method

NPO = Path(__file__).parents[1] / "added" / "npo.py"


@pytest.mark.parametrize("beta", [0.1, 1.0])
def test_npo_on_rows_of_tokens(world, make, token_logits, beta):
    """The loss of every update, from logits of one row at a time: sums over the tokens of an answer."""
    settings = {"beta": beta, "per_device_train_batch_size": 64, "learning_rate": 1e-6}
    trainer = make(NPO, world, logging_strategy="steps", logging_steps=1, **settings)
    original, expected, through = world.original(), [], trainer.forward

    def whole(model, row):
        prompt, target = world.pairs[row]
        return log_likelihood(token_logits(model.eval(), prompt, target), target).sum()

    def forward(model, inputs, count):
        rows = inputs["row"].tolist()
        ratios = np.array([whole(model, row) - whole(original, row) for row in rows])
        expected.append((2 / beta * np.log1p(np.exp(beta * ratios))).mean())
        assert all(world.is_forget[row] for row in rows)
        return through(model.train(), inputs, count)

    trainer.forward = forward
    trainer.train()
    logged = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert logged == pytest.approx(expected, rel=1e-4) and len(logged) == trainer.state.max_steps
    assert logged[0] == pytest.approx(2 / beta * np.log(2), rel=1e-4)
    assert logged[-1] < logged[0], "a small step on all of D_f forgets it"


def test_npo_is_not_for_a_denoiser():
    method = get_method(NPO)
    config = method.config_class(output_dir="unused", use_cpu=True)
    with pytest.raises(
        BadInput, match="NPOTrainer is for causal_lm, classification, seq2seq, but TextToImage is of kind"
    ):
        method(fresh_model(get_model("stable-diffusion-tiny"), (), 0), config, [{"labels": 1}], [{"labels": 2}])
