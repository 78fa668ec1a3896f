"""The share of pairs that a score orders rightly, against counting, and what moves it."""

import numpy as np
import pytest

from mubench_hf.results.ranking import audit_scores, left_out, rank_scores, trace
from mubench_hf.results.ranking_tables import markdown_ranking, state_lines
from mubench_hf.runs.meta.states import (
    CHANGED,
    FILTERED,
    MASKED,
    NEVER,
    OFTEN,
    PAIRS,
    RELEARN_STEPS,
    REORDERED,
    RETRAINED,
    ROUNDED,
    SAW,
    SHOWN,
    STATES,
    changed,
)  # fmt: skip

HELD = {RETRAINED: 0, NEVER: 0.1, SHOWN: 1, SAW: 2, OFTEN: 3, MASKED: 1.5, FILTERED: 2.5}
"""How much of D_f each state holds, in an order that agrees with every pair."""

TASKS = [(task, seed) for task in ("images", "texts") for seed in (1, 2, 3)]


def unit(name, value):
    """Return the states of a unit with one score, ``value(state)``."""
    states = {state: {name: value(state)} for state in STATES}
    for how in (ROUNDED, REORDERED):
        states |= {changed(state, how): {name: value(state)} for state in CHANGED}
    return states


def rank(name, value, **rest):
    (found,) = rank_scores({key: unit(name, value) for key in TASKS}, **rest)
    return found


@pytest.mark.parametrize(
    ("name", "good"),
    [
        ("average_gap", lambda held: held / 10),
        ("unlearning_score", lambda held: -held / 10),
        ("mia_loss_auc", lambda held: 0.5 + held / 10),
        ("zrf", lambda held: 0.5 - held / 10),
        ("forget_accuracy", lambda held: 0.5 + held / 10),
        ("test_accuracy", lambda held: -held / 10),
        ("retain_accuracy", lambda held: -held / 10),
    ],
)
def test_a_score_that_follows_what_is_held_is_right_in_every_pair(name, good):
    found = rank(name, lambda state: good(HELD[state]))
    assert (found.every.value, found.seen.value, found.hidden.value) == (1, 1, 1)
    assert found.every.pairs == len(PAIRS) * len(TASKS)
    # Whatever the direction, what lies as far from the retrained model's score as the others are near is wrong.
    swapped = rank(name, lambda state: good(HELD[state] if state == RETRAINED else 9 - HELD[state]))
    assert swapped.every.value == 0


def test_a_score_that_says_nothing_is_right_in_half_and_ties_by_rounding_are_ties():
    noise = iter(np.random.default_rng(0).uniform(-1, 1, 1000) * 1e-15)
    found = rank("average_gap", lambda state: 0.3 + next(noise))
    assert found.every.value == found.every.low == found.every.high == 0.5
    assert found.moves == {"another seed": None, "8 bits": None, "row order": None}


def test_a_fooled_score_is_right_only_where_nothing_is_hidden():
    found = rank("forget_accuracy", lambda state: 0.8 if state in (MASKED, FILTERED) else 0.8 + HELD[state] / 20)
    assert found.seen.value == 1 and found.hidden.value == 0 and found.every.value == 6 / 8


def test_shares_are_those_of_counting():
    rng = np.random.default_rng()
    values = {key: {state: float(rng.integers(5)) for state in STATES} for key in TASKS}
    states = {key: {state: {"zrf": value / 10} for state, value in each.items()} for key, each in values.items()}
    (found,) = rank_scores(states)
    right, all_of_them = 0.0, 0
    for each in values.values():
        for less, more, _ in PAIRS:
            one, two = (abs(each[state] - each[RETRAINED]) for state in (less, more))
            right += 1 if two > one else 0.5 if two == one else 0
            all_of_them += 1
    assert found.every.value == pytest.approx(right / all_of_them) and found.every.pairs == all_of_them
    assert found.every.low <= found.every.value <= found.every.high


def test_intervals_draw_units_and_not_pairs():
    """All pairs of a unit are right or wrong together: as many independent coin tosses as there are units."""
    good = {key: unit("average_gap", lambda state: HELD[state] / 10) for key in TASKS}
    bad = {key: unit("average_gap", lambda state: -HELD[state] / 10) for key in TASKS}
    mixed = {key: (good if key[1] == 1 else bad)[key] for key in TASKS}
    (found,) = rank_scores(mixed)
    assert found.every.value == pytest.approx(1 / 3)
    # Each task draws 3 of its units, a third of which are right: the mean of six tosses.
    tosses = np.random.default_rng(1).binomial(6, 1 / 3, 100_000) / 6
    assert [found.every.low, found.every.high] == pytest.approx(list(np.percentile(tosses, [2.5, 97.5])), abs=0.17)


def test_moves_are_measured_in_spans():
    def value(state):
        return {RETRAINED: 0.2, SAW: 0.6, NEVER: 0.3}.get(state, 0.0)

    states = unit("zrf", value)
    states[changed(SAW, ROUNDED)]["zrf"] += 0.08
    states[changed(RETRAINED, REORDERED)]["zrf"] -= 0.02
    (found,) = rank_scores({("images", 1): states})
    assert found.moves == pytest.approx({"another seed": 0.25, "8 bits": 0.1, "row order": 0.025})


def test_what_is_missing_or_left_out_makes_no_pair():
    found = rank("zrf", lambda state: None if state == OFTEN else HELD[state] / 10)
    assert found.every.pairs == (len(PAIRS) - 3) * len(TASKS)
    without = rank("zrf", lambda state: HELD[state] / 10, left_out={TASKS[0]: [MASKED]})
    assert without.every.pairs == len(PAIRS) * len(TASKS) - 1
    assert not rank_scores({TASKS[0]: unit("zrf", lambda state: None)})


def test_times_are_not_ranked():
    assert not rank_scores({TASKS[0]: unit("unlearn_seconds", lambda state: HELD[state])})


def test_known_orders_contradict_nothing_and_leave_the_reference_out():
    assert all(HELD[pair.less] < HELD[pair.more] for pair in PAIRS)
    assert RETRAINED not in {state for pair in PAIRS for state in (pair.less, pair.more)}
    assert {pair.more for pair in PAIRS if pair.hidden} == {MASKED, FILTERED}
    assert {NEVER} == {pair.less for pair in PAIRS if pair.hidden}


@pytest.mark.parametrize(("direction", "value", "more"), [("match_retrained", 0.2, 0.3), ("lower", 0.9, 0.9),
                                                          ("higher", 0.9, -0.9)])  # fmt: skip
def test_trace_reads_a_score_as_a_table_does(direction, value, more):
    assert trace(value, direction, 0.5) == pytest.approx(more)


def notes(**losses):
    known = {SAW: 0.1, RETRAINED: 0.5, MASKED: 0.2, FILTERED: 0.1} | losses
    return {state: {"retain": {"0": [loss + 1, 0.7], str(RELEARN_STEPS): [loss, 0.9]}} for state, loss in known.items()}


def test_what_relearning_does_not_undo_hides_nothing():
    assert left_out(notes()) == []
    assert left_out(notes(masked=0.31)) == [MASKED]
    assert left_out({**notes(), OFTEN: {"reason": "it diverged"}}) == [OFTEN]
    lines = list(state_lines({TASKS[0]: notes(), TASKS[1]: notes(masked=0.4)}))
    assert len(lines) == len(STATES) and sum("Left out in 1 of 2 cases" in line for line in lines) == 1


def test_audits_are_scores_after_the_steps_and_their_target_is_the_retrained_models():
    found = audit_scores({**notes(), OFTEN: {"reason": "it diverged"}})
    assert found[MASKED] == {"audit_forget_loss_after_4_on_retain": 0.2, "audit_forget_score_after_4_on_retain": 0.9}
    assert OFTEN not in found
    ranked = rank("audit_forget_loss_after_4_on_retain", lambda state: 1 - HELD[state] / 10)
    assert ranked.direction == "match_retrained" and ranked.every.value == 1


def test_the_table_shows_best_first():
    states = unit("zrf", lambda state: HELD[state] / 10)
    for state, scores in states.items():
        scores["average_gap"] = 0.3
        scores["mia_loss_auc"] = 0.0 if state == MASKED else scores["zrf"]
    lines = markdown_ranking(rank_scores({("images", 1): states})).splitlines()
    assert [line.split("`")[1] for line in lines[2:]] == ["zrf", "mia_loss_auc", "average_gap"]
    assert "1.00 (1.00–1.00)" in lines[2] and lines[2].endswith("| 8 |")
