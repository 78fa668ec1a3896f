"""Weights in a few bits and weights that are gone, against bounds and counts that hold for any implementation."""

import numpy as np
import pytest
import torch
from transformers.pytorch_utils import Conv1D

from mubench_hf.errors import BadInput
from mubench_hf.models.compressed import GROUP, compressible, pruned, quantised


class Net(torch.nn.Module):
    """A layer of each kind, a norm, and a head that shares an embedding's weights."""

    def __init__(self):
        super().__init__()
        self.embed = torch.nn.Embedding(9, 2 * GROUP)
        self.conv = torch.nn.Conv2d(3, 5, 3)
        self.linear = torch.nn.Linear(2 * GROUP, 7)
        self.other = Conv1D(4, 7)
        self.norm = torch.nn.LayerNorm(4)
        self.head = torch.nn.Linear(2 * GROUP, 9, bias=False)
        self.head.weight = self.embed.weight
        self.again = self.linear


@pytest.fixture
def net():
    torch.manual_seed(int(np.random.default_rng().integers(2**31)))
    made = Net()
    with torch.no_grad():
        for weight in made.parameters():
            weight.normal_()
    return made


def groups(weight, size):
    """Return weights of linear and convolutional layers, [outputs, groups, weights of a group]."""
    rows = weight.detach().flatten(1)
    return rows.reshape(len(rows), -1, size or rows.shape[1])


def test_layers_are_found_once_and_shared_embeddings_stay(net):
    assert compressible(net) == [net.conv, net.linear, net.other]


@pytest.mark.parametrize("bits", [8, 4])
def test_quantised_weights_are_the_nearest_of_as_many_levels(net, bits):
    pytest.importorskip("torchao")
    before = {name: weight.clone() for name, weight in net.state_dict().items()}
    made, done = quantised(net, bits)
    assert all(torch.equal(weight, before[name]) for name, weight in net.state_dict().items())
    same = {"embed.weight", "head.weight", "norm.weight", "norm.bias", "conv.bias", "linear.bias", "other.bias",
            "again.bias"}  # fmt: skip
    equal = {name for name, weight in made.state_dict().items() if torch.equal(weight, before[name])}
    assert equal == same
    pairs = [
        (net.conv.weight, made.conv.weight, None),
        (net.linear.weight, made.linear.weight, GROUP if bits == 4 else None),
        (net.other.weight.t(), made.other.weight.t(), None),
    ]
    for was, is_now, size in pairs:
        was, is_now = groups(was, size), groups(is_now, size)
        # A step is the largest weight over half the range of levels, and the error at most half of it.
        step = was.abs().amax(-1, keepdim=True) / ((2**bits - 1) / 2)
        assert ((was - is_now).abs() <= step / 2 * (1 + 1e-4)).all()
        levels = is_now / step
        assert (levels - levels.round()).abs().max() < 1e-3
        assert levels.round().min() >= -(2 ** (bits - 1)) and levels.round().max() <= 2 ** (bits - 1) - 1
    assert done.changed == 5 * 27 + 7 * 2 * GROUP + 4 * 7
    assert done.weights == sum(weight.numel() for weight in net.parameters())
    assert "torchao" in done.how


def test_more_bits_are_nearer(net):
    pytest.importorskip("torchao")
    far, near = (quantised(net, bits)[0].linear.weight - net.linear.weight for bits in (4, 8))
    assert near.abs().max() < far.abs().max() / 8


def test_the_smallest_weights_are_gone_and_no_others(net):
    share = float(np.random.default_rng().uniform(0.05, 0.9))
    made, done = pruned(net, share)
    layers = {"conv.weight", "linear.weight", "other.weight", "again.weight"}
    for name, weight in made.state_dict().items():
        assert name in layers or torch.equal(weight, net.state_dict()[name])
    assert made.state_dict().keys() == net.state_dict().keys()
    pairs = [(net.conv, made.conv), (net.linear, made.linear), (net.other, made.other)]
    was, is_now = (np.concatenate([pair[side].weight.detach().numpy().ravel() for pair in pairs]) for side in (0, 1))
    gone = is_now == 0
    assert gone.sum() == round(share * len(was)) and done.changed == len(was)
    assert np.abs(was[gone]).max() <= np.abs(was[~gone]).min()
    assert np.array_equal(was[~gone], is_now[~gone])


def test_what_cannot_be_compressed_is_refused(net):
    with pytest.raises(BadInput, match="8 or 4"):
        quantised(net, 2)
    for share in (0, 1, float("nan"), -0.1):
        with pytest.raises(BadInput, match="above 0 and below 1"):
            pruned(net, share)
    with pytest.raises(BadInput, match="no linear or convolutional layer"):
        pruned(torch.nn.Embedding(3, 3), 0.5)
