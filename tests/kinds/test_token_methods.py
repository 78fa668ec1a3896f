"""Every method on models that write: it trains, and takes the same course however a batch is divided.

What a batch says of rows of tokens is in `test_batch.py`, and what a method makes of it in the method's own test.
"""

import numpy as np
import pytest
import torch
from methods import methods_for

TEXT = sorted({*methods_for("causal_lm"), *methods_for("seq2seq")})


@pytest.fixture
def for_this_kind(fixed_world):
    """Leave out a method that is not for the world's kind."""

    def for_this_kind(method):
        if method not in methods_for(fixed_world.kind.key):
            pytest.skip(f"{method} is not for {fixed_world.kind.key}")

    return for_this_kind


@pytest.mark.parametrize("method", TEXT)
def test_two_updates(method, fixed_world, make, for_this_kind):
    for_this_kind(method)
    trainer = make(method, fixed_world, max_steps=2)
    assert trainer.kind is fixed_world.kind
    before = fixed_world.original().state_dict()
    output = trainer.train()
    assert np.isfinite(output.training_loss) and output.global_step == 2 and trainer.status == "ok"
    after = trainer.model.state_dict()
    assert all(weight.isfinite().all() for weight in after.values())
    moved = sum(int((weight != before[name]).sum()) for name, weight in after.items())
    assert moved > 0.2 * sum(weight.numel() for weight in after.values())


@pytest.mark.parametrize("method", TEXT)
def test_one_batch_or_two_accumulated(method, fixed_world, make, for_this_kind):
    """Plain SGD: Adam makes rounding errors as large as real steps wherever a gradient is zero."""
    for_this_kind(method)
    ends, settings = [], {"optim": "sgd", "learning_rate": 0.05, "max_grad_norm": 0.5}
    for batch_size, accumulation in ((8, 1), (4, 2)):
        trainer = make(
            method,
            fixed_world,
            per_device_train_batch_size=batch_size,
            gradient_accumulation_steps=accumulation,
            **settings,
        )
        trainer.train()
        assert trainer.status == "ok"
        ends.append(trainer.model.state_dict())
    original, (whole, halves) = fixed_world.original().state_dict(), ends
    assert max((whole[name] - original[name]).abs().max() for name in whole) > 1e-3
    for name, weight in whole.items():
        torch.testing.assert_close(halves[name], weight, rtol=1e-4, atol=5e-6)
