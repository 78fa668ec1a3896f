"""What `mubench tune` may change: what configs declare, around a preset, within what a setting may be."""

import math
from dataclasses import dataclass

import pytest

from mubench_hf.errors import BadInput
from mubench_hf.trainers import UnlearningConfig, get_method, list_methods, setting
from mubench_hf.trainers._search import Searched, search_space
from mubench_hf.trainers._settings import Range


@dataclass
class MineConfig(UnlearningConfig):
    """A method of one's own.

    Args:
        strength: From where to where is declared.
        layers: Whole numbers, by a factor.
        fixed: Not tuned.
    """

    strength: float = setting(0.5, above=0, most=1, tune=(0.25, 0.75))
    layers: int = setting(4, least=1, tune=2.0)
    fixed: float = setting(1.0, least=0)


@pytest.mark.parametrize("method", [name for name in list_methods() if not get_method(name).replays_recipe])
def test_every_method_has_something_to_tune_within_what_is_allowed(method):
    space = search_space(get_method(method).config_class, {})
    assert "learning_rate" in space
    for each in space.values():
        assert each.least in each.allowed and each.most in each.allowed and each.least <= each.usual <= each.most
        assert each.least < each.most


def test_a_method_of_ones_own_declares_what_is_tuned():
    space = search_space(MineConfig, {"learning_rate": 3e-3})
    assert {name: (each.least, each.most, each.usual) for name, each in space.items()} == {
        "learning_rate": (pytest.approx(3e-4), pytest.approx(3e-2), 3e-3),
        "strength": (0.25, 0.75, 0.5),
        "layers": (2, 8, 4),
    }
    assert {name: each.by_ratio for name, each in space.items()} == {
        "learning_rate": True, "strength": False, "layers": False}  # fmt: skip


def test_a_range_holds_the_preset():
    space = search_space(MineConfig, {"strength": 0.9, "layers": 1})
    assert (space["strength"].least, space["strength"].most, space["strength"].usual) == (0.25, 0.9, 0.9)
    assert (space["layers"].least, space["layers"].most) == (1, 2)


def test_what_is_asked_for_comes_first(rng):
    low, high = sorted(rng.random(2))
    space = search_space(MineConfig, {}, {"fixed": (low, high), "strength": (0.1, 1.0), "weight_decay": (0, 1)})
    assert (space["fixed"].least, space["fixed"].most) == (low, 1.0), "its default, 1, is the preset"
    assert (space["strength"].least, space["strength"].most) == (0.1, 1.0)
    assert not space["weight_decay"].by_ratio


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"strenght": (0, 1)}, "strenght.*Did you mean.*strength|strength"),
        ({"strength": (0, 1)}, "strength are 0 to 1; needed: .* above 0 and at most 1"),
        ({"strength": (0.5, 0.5)}, "a smaller and a larger one"),
        ({"strength": (math.nan, 1)}, "strength are nan"),
        ({"layers": (1.5, 2)}, "layers are 1.5 to 2; needed: .* whole number"),
        ({"seed": (1, 2)}, "seed"),
        ({"bf16": (0, 1)}, "bf16"),
    ],
)
def test_what_cannot_be_tuned_is_refused(asked, said):
    with pytest.raises(BadInput, match=said):
        search_space(MineConfig, {}, asked)


@pytest.mark.parametrize("tune", [(0.0, 0.5), (0.5, 0.2), (0.2, 2.0), 1.0, 0.5, math.nan])
def test_a_declaration_that_cannot_be_meant_is_refused_where_it_is_made(tune):
    with pytest.raises(BadInput, match="tune is"):
        setting(0.5, above=0, most=1, tune=tune)


def test_numbers_are_rounded_but_stay_allowed(rng):
    close = Searched(0.1, 0.99951, 0.5, Range(above=0, below=0.9996))
    assert close.rounded(0.123456) == 0.123 and close.rounded(0.99951) == 0.99951
    whole = Searched(1, 9, 2, Range(least=1, whole=True))
    assert whole.rounded(3.0) == 3 and isinstance(whole.rounded(3.0), int)
    drawn = 10 ** rng.uniform(-8, 3)
    assert Searched(1e-9, 1e4, 1, Range(least=0)).rounded(drawn) == pytest.approx(drawn, rel=6e-3)
