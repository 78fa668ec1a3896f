"""What passes take on ``meta`` is what they take on real tensors."""

import pytest
import torch
from torch import nn

from mubench_hf.kinds import get_kind
from mubench_hf.models.loading import random_model
from mubench_hf.models.memory import AsOnDevice, LiveBytes, pass_bytes
from mubench_hf.models.registry import get_model


class Layers(nn.Module):
    """A model whose memory can be counted by hand: linear layers, a tanh between two."""

    def __init__(self, width, depth):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(depth))

    def forward(self, values):
        for layer in self.layers:
            values = torch.tanh(layer(values))
        return values


def on_meta(spec):
    """Return a model without values; weights that are tied stay so."""
    with torch.device("meta"):
        return random_model(spec).to("meta")


def test_counted_by_hand(rng):
    width, depth, rows = (int(number) for number in rng.integers((8, 2, 3), (40, 6, 50)))
    with torch.device("meta"):
        model, values = Layers(width, depth), torch.empty(rows, width)
    found = pass_bytes(model, {"values": values}, run=lambda model, inputs: model(**inputs), terms=1)
    layer = 4 * rows * width
    assert found.rows == found.predictions == layer
    # Each tanh keeps its output, which is also the next layer's input; the loss keeps one tensor more, and two numbers.
    assert found.kept - (depth + 1) * layer in range(0, 17)
    assert found.gradients == depth * 4 * (width * width + width)
    more = pass_bytes(model, {"values": values}, run=lambda model, inputs: model(**inputs), terms=3, teachers=1)
    assert more.kept - found.kept in range(2 * layer, 2 * layer + 17)


def test_what_is_let_go_is_not_counted():
    live = LiveBytes()
    with live:
        one = torch.empty(1000, device="meta")
        view = one[10:].view(2, -1)
        two = one + 1
        del two
        assert live.now == 4000 and live.peak == 8000
        del one
        assert live.now == 4000
        del view
    assert live.now == 0 and live.peak == 8000


@pytest.mark.parametrize("name", ["vit-tiny", "bert-tiny", "t5-v1.1-tiny", "llama-2-tiny"])
def test_on_meta_as_on_real_tensors(name, rng):
    spec, rows, tokens = get_model(name), int(rng.integers(2, 6)), int(rng.integers(4, 12))
    kind = get_kind(spec.architecture.kind)
    ids = torch.randint(5, 50, (rows, tokens))
    texts = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    inputs = {"pixel_values": torch.randn(rows, 3, 16, 16)} if name.startswith("vit") else texts
    inputs["labels"] = ids if kind.key in ("seq2seq", "causal_lm") else torch.zeros(rows, dtype=torch.long)
    model = random_model(spec).train()
    live = LiveBytes()
    live.know([*model.parameters(), *model.buffers(), *inputs.values()])
    with live:
        kind.run(model, inputs)[1].float().sum().backward()
    found = pass_bytes(
        on_meta(spec),
        {key: value.to("meta") for key, value in inputs.items()},
        run=lambda model, batch: kind.run(model, batch)[1],
        on_gpu=False,
    )
    assert found.gradients == sum(weight.grad.nbytes for weight in model.parameters() if weight.grad is not None)
    # The loss in place of the sum keeps one tensor of the predictions' size.
    assert abs(found.peak - live.peak) <= 3 * found.predictions + 0.1 * live.peak


def test_checkpointing_and_16_bits_keep_less(rng):
    spec, rows = get_model("vit-tiny"), int(rng.integers(16, 64))
    inputs = {"pixel_values": torch.empty(rows, 3, 16, 16, device="meta"), "labels": torch.empty(rows, device="meta")}

    def passes(**settings):
        model = on_meta(spec)
        return pass_bytes(model, inputs, run=lambda model, batch: model(batch["pixel_values"]).logits, **settings)

    plain, short, again = passes(), passes(low=torch.bfloat16), passes(low=torch.bfloat16, checkpointing=True)
    assert plain.kept > short.kept > 2 * again.kept
    assert again.kept < again.peak < short.peak
    assert all(each.kept <= each.peak_beside <= each.peak for each in (plain, short, again))
    assert again.peak <= again.peak_beside + again.gradients
    assert plain.gradients == short.gradients == again.gradients


def test_questions_about_values_have_one_answer():
    with AsOnDevice():
        mask = torch.ones(3, device="meta") == 1
        assert mask.all()
        assert not mask.any()
