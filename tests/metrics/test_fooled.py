"""What fools each metric: constructed examples, named on docs/which_metric.md."""

import re
from pathlib import Path

import numpy as np
import pytest

from mubench_hf.metrics import declared_metrics, get_metric
from mubench_hf.runs.meta.hiding import filtered

PAGE = (Path(__file__).parents[2] / "docs" / "which_metric.md").read_text(encoding="utf-8")

CLASSES, SIZES = 4, {"forget": 200, "retain": 400, "test": 300}


def call(key, *args, **kwargs):
    """Return a metric's own score."""
    return get_metric(key).compute(*args, **kwargs)[key]


def answers(rng, labels, *, right, sure):
    """Return logits of a classifier that is right in a share of the rows, with margins around ``sure``."""
    rows = len(labels)
    logits = rng.normal(scale=0.1, size=(rows, CLASSES))
    wrong = np.arange(rows) >= round(right * rows)
    said = np.where(wrong, (labels + 1) % CLASSES, labels)
    logits[np.arange(rows), said] += sure + rng.uniform(-0.5, 0.5, rows)
    return logits


def remembering(rng):
    """Return outputs of a model that knows D_f and D_r by heart, and of one that never saw D_f."""
    labels = {split: rng.integers(CLASSES, size=rows) for split, rows in SIZES.items()}
    models = []
    for forget in ({"right": 1.0, "sure": 8.0}, {"right": 0.8, "sure": 3.0}):
        how = {"forget": forget, "retain": {"right": 1.0, "sure": 8.0}, "test": {"right": 0.8, "sure": 3.0}}
        logits = {f"{split}_logits": answers(rng, labels[split], **each) for split, each in how.items()}
        models.append(logits | {f"{split}_labels": each for split, each in labels.items()})
    knows, never = models
    return knows, never


def of(outputs, *splits):
    return {f"{split}_{what}": outputs[f"{split}_{what}"] for split in splits for what in ("logits", "labels")}


def svc(outputs, key="mia_confidence_svc"):
    return call(key, **of(outputs, "forget", "retain", "test"), seed=0)


def auc(outputs):
    return call("mia_loss_auc", **of(outputs, "forget", "test"))


def score(outputs, split, key="accuracy"):
    return call(key, outputs[f"{split}_logits"], outputs[f"{split}_labels"])


def test_an_output_filter_fools_accuracy_and_not_the_loss(rng):
    knows, never = remembering(rng)
    target = score(never, "forget")
    hidden = filtered(knows, target)
    assert score(knows, "forget") - target > 0.15 and score(hidden, "forget") == pytest.approx(target)
    assert abs(score(hidden, "forget", "macro_f1") - score(never, "forget", "macro_f1")) < 0.08
    # The rows that are still right are as sure as before.
    assert auc(hidden) - auc(never) > 0.2


def test_scores_of_other_rows_fool_whatever_counts_right_answers(rng):
    """Wrong on one half of D_f or on the other: no count can tell, though the two models agree on nothing."""
    labels = rng.integers(CLASSES, size=100)
    wrong = (labels + 1) % CLASSES
    first, second = (
        np.eye(CLASSES)[np.where((np.arange(100) < 50) == half, labels, wrong)] * 5 for half in (True, False)
    )
    assert call("accuracy", first, labels) == call("accuracy", second, labels) == 0.5
    assert not (first.argmax(1) == second.argmax(1)).any()
    shares = dict.fromkeys(("retain_score", "test_score", "mia_confidence_svc"), 0.9) | {"forget_score": 0.5}
    retrained = {f"retrain_{name}": value for name, value in shares.items()}
    assert call("average_gap", **shares, **retrained) == 0
    del shares["mia_confidence_svc"], retrained["retrain_mia_confidence_svc"]
    assert call("tug_of_war", **shares, **retrained) == 1
    both = {"forget_logits": first, "retrain_forget_logits": second}
    others = {f"{name}{split}_logits": first for name in ("", "retrain_") for split in ("retain", "test")}
    assert call("prediction_distance", **both, **others) > 1


def test_damage_everywhere_fools_the_knowledge_gap(rng):
    """A ruined model is as wrong on D_r as on D_f, which is what it looks for."""
    right = {"forget_correctness": np.ones(50), "retain_correctness": np.ones(500)}
    ruined = {name: rng.permutation(value * (np.arange(len(value)) % 4 == 0)) for name, value in right.items()}
    found = _knowledge_gap(**{name: value for name, value in ruined.items()})
    never = _knowledge_gap(np.arange(50) % 5 > 0, np.ones(500))
    assert found == pytest.approx(0.5, abs=0.02) and never < 0.45
    assert _knowledge_gap(**right) == 0.5  # One that remembers everything has the same.


def _knowledge_gap(forget_correctness, retain_correctness):
    labels = {name: np.zeros(len(each), int) for name, each in (("f", forget_correctness), ("r", retain_correctness))}
    logits = {
        name: np.stack([np.asarray(each, float), np.full(len(each), 0.5)], axis=1)
        for name, each in (("f", forget_correctness), ("r", retain_correctness))
    }
    return call("knowledge_gap", logits["f"], labels["f"], logits["r"], labels["r"])


def test_cold_fools_the_support_vector_machine_and_not_the_order_of_losses(rng):
    """At a low temperature all right answers are sure, by differences too small for a kernel of fixed width."""
    knows, never = remembering(rng)
    cold = {name: value * 5 if name.endswith("logits") else value for name, value in knows.items()}
    assert score(cold, "forget") == score(knows, "forget") and svc(knows) - svc(never) > 0.3
    for key in ("mia_confidence_svc", "mia_confidence_svc_matched"):
        told = _told_apart(knows, key), _told_apart(cold, key)
        assert told[0] > 0.95 and told[0] - told[1] > 0.2, key
    assert auc(cold) == pytest.approx(auc(knows), abs=0.02)


def _told_apart(outputs, key):
    """Return how well the attacker tells D_r from test rows, each standing for D_f once."""
    shares = []
    for split in ("retain", "test"):
        forget = {f"forget_{what}": outputs[f"{split}_{what}"] for what in ("logits", "labels")}
        shares.append(svc({**outputs, **forget}, key))
    return (shares[0] + 1 - shares[1]) / 2


def test_a_tenth_that_is_remembered_is_lost_in_an_auc(rng):
    """Nine tenths of D_f are forgotten, and the tenth that is not is found without a mistake."""
    never = remembering(rng)[1]
    some = {**never, "forget_logits": never["forget_logits"].copy()}
    for row in range(20):
        some["forget_logits"][row] = 30 * np.eye(CLASSES)[some["forget_labels"][row]]
    assert auc(some) - auc(never) < 0.1
    at_low, of_never = (
        get_metric("mia_loss_auc").compute(**of(outputs, "forget", "test"))["mia_loss_tpr_at_1fpr"]
        for outputs in (some, never)
    )
    assert at_low >= 0.1 > of_never + 0.04


def test_classes_in_other_shares_fool_the_loss_auc(rng):
    """A hard class that D_f has more of looks like forgetting; a model that never saw D_f is not at 0.5."""

    def rows(shares, count):
        labels = rng.choice(2, size=count, p=shares)
        margins = np.where(labels == 0, 4.0, 0.5) + rng.normal(scale=0.3, size=count)
        return np.stack([np.where(labels == 0, margins, 0), np.where(labels == 1, margins, 0)], axis=1), labels

    forget, test = rows([0.5, 0.5], 400), rows([0.9, 0.1], 400)
    assert call("mia_loss_auc", *forget, *test) < 0.35
    for label in (0, 1):
        alike = (each[forget_or_test] for each in ((forget), (test)) for forget_or_test in (0, 1))
        (f_logits, f_labels, t_logits, t_labels) = alike
        same = call("mia_loss_auc", f_logits[f_labels == label], f_labels[f_labels == label],
                    t_logits[t_labels == label], t_labels[t_labels == label])  # fmt: skip
        assert abs(same - 0.5) < 0.16


def test_wrong_labels_fool_the_unlearning_score_and_leave_a_trace_below_chance(rng):
    """Answers to D_f that are as right as chance score best, and give away which rows were forgotten."""
    knows, never = remembering(rng)
    said = np.where(np.arange(200) % CLASSES == 0, knows["forget_labels"], (knows["forget_labels"] + 1) % CLASSES)
    noisy = {**knows, "forget_logits": 8 * np.eye(CLASSES)[said]}

    def summary(outputs):
        return call(
            "unlearning_score", test_score=score(outputs, "test"), forget_score=score(outputs, "forget"),
            original_test_score=score(knows, "test"), chance=0.8 * score(noisy, "forget"),
        )  # fmt: skip

    assert summary(noisy) > summary(never) + 0.1
    assert auc(noisy) < auc(never) - 0.1


def test_randomness_is_rewarded_by_zrf(rng):
    """A model that answers D_f like an untrained one has 1; one that never saw D_f still knows something about it."""
    knows, never = remembering(rng)
    untrained = rng.normal(scale=0.2, size=(200, CLASSES))
    answers_to_forgotten = knows["forget_logits"], never["forget_logits"], untrained
    remembered, unseen, noise = (call("zrf", logits, untrained) for logits in answers_to_forgotten)
    assert remembered < unseen < noise == 1


def test_a_worse_test_score_is_charged_to_forgetting_by_the_average_gap():
    """A model that never saw D_f but was trained less lies further off than one that remembers all of it."""
    retrained = {"forget_score": 0.85, "retain_score": 1.0, "test_score": 0.85, "mia_confidence_svc": 0.75}
    lazy = {"forget_score": 0.65, "retain_score": 0.8, "test_score": 0.65, "mia_confidence_svc": 0.6}
    original = {"forget_score": 1.0, "retain_score": 1.0, "test_score": 0.84, "mia_confidence_svc": 1.0}
    gaps = [
        call("average_gap", **scores, **{f"retrain_{name}": value for name, value in retrained.items()})
        for scores in (lazy, original)
    ]
    assert gaps[0] > gaps[1]
    # And a model that never saw D_f looks no better by its D_f score than one that was ruined to the same number.
    assert lazy["forget_score"] < retrained["forget_score"]


def test_equal_answers_fool_completeness(rng):
    """Each row's largest logit is where the retrained model has it, and every one is as sure as if it was learned."""
    knows, never = remembering(rng)
    sure = {split: 30 * np.eye(CLASSES)[never[f"{split}_logits"].argmax(1)] for split in ("forget", "test")}
    found = get_metric("completeness").compute(
        sure["test"], never["test_logits"], sure["forget"], never["forget_logits"]
    )
    assert set(found.values()) == {1.0}
    distances = get_metric("prediction_distance").compute(
        **{f"{split}_logits": sure.get(split, knows["retain_logits"]) for split in ("forget", "retain", "test")},
        **{f"retrain_{split}_logits": never[f"{split}_logits"] for split in ("forget", "retain", "test")},
    )
    assert distances["prediction_distance"] > 0.1


def test_who_remembers_everything_is_best_by_model_utility(rng):
    """D_f is no part of it, so it only says what forgetting must not cost."""
    knows, never = remembering(rng)
    worse = {**never, "test_logits": never["test_logits"] * 0.2, "retain_logits": never["retain_logits"] * 0.2}

    def utility(outputs):
        scores = {f"{split}_score": score(outputs, split) for split in ("retain", "test")}
        return call("model_utility", **of(outputs, "retain", "test"), **scores)

    assert utility(knows) > utility(worse)


def test_borrowed_answers_fool_whatever_compares_outputs_with_the_retrained_models(rng):
    """A filter that has the retrained model's answers at hand gives these for D_f; the weights behind it know all."""
    never = remembering(rng)[1]
    theirs = {f"retrain_{name}": value for name, value in never.items()}
    odds = rng.normal(size=(8, 200))
    member = np.arange(8)[:, None] % 2 == np.zeros((8, 200))
    shadows = {"shadow_forget_log_odds": odds, "shadow_forget_member": member}
    shadows |= {"unlearned_shadow_forget_log_odds": odds + 1, "unlearned_shadow_forget_member": member}
    given = {**never, **theirs, **shadows}
    expected = {"prediction_distance": 0.0, "completeness": 1.0, "ulira": 0.5, "lira_offline": 0.5}
    for key, value in expected.items():
        names = get_metric(key).parameters
        assert call(key, **{name: given[name] for name in names if name in given}) == pytest.approx(value), key


def test_answers_like_those_of_the_reference_models_fool_rmia(rng):
    """A row that gets just the probability that models give it which never saw it has gained nothing."""
    odds = {split: rng.normal(size=(6, rows)) for split, rows in (("forget", 100), ("test", 300))}
    given = {f"shadow_{split}_log_odds": each for split, each in odds.items()}
    given |= {f"shadow_{split}_member": np.zeros(each.shape, bool) for split, each in odds.items()}

    def found(gain):
        logits = {}
        for split, each in odds.items():
            mean = (1 / (1 + np.exp(-each))).mean(0)
            margin = np.log(mean / (1 - mean)) + (gain if split == "forget" else 0)
            logits[f"{split}_logits"] = np.stack([margin, np.zeros(len(margin))], axis=1)
            logits[f"{split}_labels"] = np.zeros(len(margin), int)
        return call("rmia", **logits, **given)

    assert found(3.0) > 0.9 and found(0.0) == pytest.approx(0.5, abs=0.25)


def test_probability_on_other_wrong_classes_is_nothing_to_klom(rng):
    """A margin is of the true class: what is left may lie on one wrong class in place of another."""
    logits = rng.normal(size=(10, 30, CLASSES))
    swapped = logits[..., [0, 2, 3, 1]]  # The truth is class 0.
    margins, others = (each[..., 0] - np.log(np.exp(each[..., 1:]).sum(-1)) for each in (logits, swapped))
    given = {f"population_{split}_margins": others for split in ("forget", "retain", "test")}
    given |= {f"retrain_population_{split}_margins": margins for split in ("forget", "retain", "test")}
    assert call("klom", **given) == pytest.approx(0, abs=1e-3)
    labels = {"forget": swapped[0], "retain": swapped[0], "test": swapped[0]}
    theirs = {f"retrain_{split}_logits": logits[0] for split in labels}
    assert call("prediction_distance", **{f"{split}_logits": each for split, each in labels.items()}, **theirs) > 0.1


def test_other_rows_of_one_distribution_fool_forget_quality(rng):
    """It compares how truth ratios are spread: whose row has which is all the same to it."""
    right, wrong = -rng.uniform(0, 5, 60), -rng.uniform(0, 5, (60, 4))
    order = rng.permutation(60)
    theirs = {"retrain_forget_paraphrased_log_probs": right, "retrain_forget_perturbed_log_probs": wrong}
    assert call("tofu_forget_quality", right[order], wrong[order], **theirs) == pytest.approx(0, abs=1e-9)
    # Five rows cannot tell a model that holds each answer for certain.
    few = {name: value[:3] for name, value in theirs.items()}
    assert call("tofu_forget_quality", np.full(3, -1e-3), np.full((3, 4), -50.0), **few) > -1.5


def of_known(key, forget, test):
    """Return the arguments of an attack under which rows are known as well as these numbers say."""

    def logits(known):
        margin = np.where(labels(known) == 0, known, -known)
        return np.stack([margin, np.zeros(len(known))], axis=1)

    def labels(known):
        return np.arange(len(known)) % 2

    given = {}
    for split, known in (("forget", forget), ("test", test)):
        tokens = np.tile(-np.exp(-known)[:, None], (1, 10))
        given |= {
            f"{split}_logits": logits(known), f"{split}_labels": labels(known),
            f"retrain_{split}_logits": logits(0 * known), f"retrain_{split}_labels": labels(known),
            f"{split}_references": np.full(len(known), "one text"), f"{split}_gradient_norms": np.exp(-known),
            f"{split}_denoising_errors": np.tile(np.exp(-known)[:, None], (1, 5)),
            f"{split}_token_log_probs": tokens, f"{split}_token_log_prob_means": 0 * tokens - 1,
            f"{split}_token_log_prob_stds": 0 * tokens + 1, "seed": 0,
        }  # fmt: skip
    return {name: given[name] for name in get_metric(key).parameters if name in given}


ATTACKS = ("mia_loss_auc", "mia_loss_auc_matched", "mia_loss_cv", "min_k", "min_k_pp", "zlib_ratio", "reference_loss",
           "gradnorm", "mia_denoising")  # fmt: skip


def test_rows_on_both_sides_fool_an_attack_by_one_threshold(rng):
    """Half of D_f is known by heart and half was pushed far past the unknown: on average nothing is to be seen."""
    test = rng.uniform(-1, 1, 400)
    known, both = rng.uniform(3, 4, 200), np.concatenate([rng.uniform(3, 4, 100), rng.uniform(-4, -3, 100)])
    for key in ATTACKS:
        told, fooled = (get_metric(key).compute(**of_known(key, forget, test)) for forget in (known, both))
        assert told[key] > 0.95, key
        if key == "mia_loss_cv":
            assert fooled[key] < 0.8
            continue
        assert fooled[key] == pytest.approx(0.5, abs=0.01), key
        (rate,) = (value for name, value in fooled.items() if "tpr_at_1fpr" in name)
        assert rate >= 0.49, "a low false positive rate shows the half that is known"


def test_other_words_fool_rouge():
    """What is told is the same; no word, or stem, of it is."""
    truth, evasive = "born in Paris in nineteen fifty", "birthplace: the French capital, year 1950"
    refusal = "I do not know anything about that"
    for key in ("rouge_l", "rouge_l_stem"):
        assert call(key, [evasive], [truth]) == call(key, [refusal], [truth]) == 0
        assert call(key, [truth], [truth]) == 1


def test_the_second_likeliest_token_fools_what_reads_the_likeliest_alone(rng):
    """The true token is moved just below another one, everywhere: greedy decoding writes nothing of it any more."""
    true = rng.integers(50, size=(20, 12))
    other = (true + 1) % 50
    for key in ("token_accuracy", "extraction_strength"):
        assert call(key, true, true) == 1 and call(key, other, true) == 0
    # Its probability is .49 beside .51, and hardly moves.
    logits = np.log(np.tile([0.49, 0.51], (20, 1)))
    assert call("reference_probability", logits, np.zeros(20, int)) == pytest.approx(0.49)


def test_one_wrong_last_token_fools_extraction_strength(rng):
    true = rng.integers(50, size=(20, 40))
    said = true.copy()
    said[:, -1] += 1
    assert call("extraction_strength", said, true) == 0
    assert call("token_accuracy", said, true) == pytest.approx(39 / 40)


def test_flat_probabilities_fool_the_probability_of_the_truth(rng):
    """At another temperature the model writes the same, and every truth looks less likely."""
    knows = remembering(rng)[0]
    hot = knows["forget_logits"] / 5
    labels = knows["forget_labels"]
    assert call("reference_probability", knows["forget_logits"], labels) > 0.98
    assert call("reference_probability", hot, labels) < 0.75
    assert call("accuracy", hot, labels) == call("accuracy", knows["forget_logits"], labels)


def test_wrong_answers_of_another_form_fool_the_truth_ratio():
    """It compares answers with one another: where all of them are made as likely, nothing is said of the truth."""
    right, wrong = np.full(10, -0.5), np.full((10, 3), -4.0)
    assert call("truth_ratio", right, wrong) > 0.95
    assert call("truth_ratio", right, np.full((10, 3), -0.5)) == 0  # The truth is as likely as before.


def test_images_of_other_prompts_fool_the_frechet_distance(rng):
    """It looks at all images together: drawn for the wrong prompts they are as good."""
    made, real = rng.normal(size=(60, 6)), rng.normal(size=(60, 6))
    labels = np.arange(60) % CLASSES
    logits = 5 * np.eye(CLASSES)[labels]
    mixed = np.roll(np.arange(60), 1)
    assert call("frechet_distance", made[mixed], real) == pytest.approx(call("frechet_distance", made, real))
    assert call("prompt_accuracy", logits, labels) == 1 and call("prompt_accuracy", logits[mixed], labels) == 0


def test_one_image_per_class_fools_prompt_accuracy(rng):
    """The same picture for each prompt of a class is right every time; the variety of the rows is gone."""
    labels = np.arange(60) % CLASSES
    real = 3 * np.eye(CLASSES)[labels] + rng.normal(size=(60, CLASSES))
    copies = 3 * np.eye(CLASSES)[labels]
    assert call("prompt_accuracy", 5 * np.eye(CLASSES)[labels], labels) == 1
    assert call("frechet_distance", copies, real) > 3 * call("frechet_distance", real[::-1] + 0.1, real)


def test_a_constant_moves_no_metric_that_reads_logits(rng):
    """Outputs that are shifted row by row are the same probabilities: who compares them must know."""
    knows, never = remembering(rng)
    run = {**knows, "seed": 0, "incompetent_forget_logits": rng.normal(size=(200, CLASSES))}
    run |= {f"retrain_{name}": value for name, value in never.items()}
    shifted = {
        name: value + rng.integers(-4, 5, size=(len(value), 1)) if str(name).endswith("logits") else value
        for name, value in run.items()
    }
    tried = 0
    for key in declared_metrics():
        metric = get_metric(key)
        needed = {name for name, required in metric.parameters.items() if required}
        given = {**run, "logits": run["forget_logits"], "labels": run["forget_labels"]}
        if not needed <= given.keys() or not any("logits" in name for name in needed):
            continue
        moved = {**shifted, "logits": shifted["forget_logits"], "labels": shifted["forget_labels"]}
        before, after = (metric.compute(**{name: each[name] for name in needed}) for each in (given, moved))
        assert after == pytest.approx(before, abs=1e-6), key
        tried += 1
    assert tried >= 5


def test_sure_and_wrong_is_taken_for_remembered_by_the_entropy(rng):
    """It does not look at labels: a model that is wrong about D_f with certainty is one that saw it."""
    never = remembering(rng)[1]
    wrong = (never["forget_labels"] + 1) % CLASSES
    sure = {**never, "forget_logits": 9 * np.eye(CLASSES)[wrong]}
    found = call("mia_entropy_logreg", **of(sure, "forget", "retain", "test"))
    assert found > 0.95 and score(sure, "forget") == 0 and auc(sure) < 0.3


def test_units_in_another_order_fool_distances_of_weights(rng):
    """The same function: a layer's units have no names, so two models of different seeds are far from each other."""
    first, second = rng.normal(size=(16, 8)), rng.normal(size=(4, 16))
    order = rng.permutation(16)
    inputs = rng.normal(size=(50, 8))
    np.testing.assert_allclose(
        np.maximum(inputs @ first[order].T, 0) @ second[:, order].T, np.maximum(inputs @ first.T, 0) @ second.T
    )
    layers = [
        [np.linalg.norm(one - other), np.linalg.norm(one), np.linalg.norm(other)]
        for one, other in ((first, first[order]), (second, second[:, order]))
    ]
    assert call("layer_distance", layers) > 1 and call("weight_change", layers) > 1


ROWS = [line.split("|") for line in PAGE.splitlines() if line.startswith("| `")]
EXAMPLES = {name for name in globals() if name.startswith("test_")}


def test_every_metric_is_on_the_page_with_an_example():
    named = {key for row in ROWS for key in re.findall(r"`(\w+)`", row[1])}
    missing = declared_metrics().keys() - named
    assert not missing, f"docs/which_metric.md says nothing of {sorted(missing)}: what it answers, and what fools it"
    gone = named - declared_metrics().keys()
    assert not gone, f"docs/which_metric.md names {sorted(gone)}, which are not registered"


def test_every_example_of_the_page_is_a_test_here():
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert named == EXAMPLES, f"only on one side: {sorted(named ^ EXAMPLES)}"
    assert all(re.search(r"`test_\w+`", row[4]) for row in ROWS), "a metric without an example"
