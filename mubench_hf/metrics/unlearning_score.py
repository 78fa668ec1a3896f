"""Harmonic mean of utility kept on the test set and closeness to chance on D_f; 0 for a run that fails either."""

import datasets
import evaluate

from .checks import check_share, mean_over_runs

DIRECTION = "higher"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2406.14796"
HEADER = "Score"
PLACE = 100
DEFAULT = True

_COLUMNS = ("test_score", "forget_score", "original_test_score", "chance")
_INPUTS = """
Args:
    test_score (list of float): the unlearned model's score on the test set, one value per run, in [0, 1].
    forget_score (list of float): its score on D_f.
    original_test_score (list of float): the original model's score on the test set.
    chance (list of float): the score of random answers.
    method (str, optional): key of the method of all these runs, which says how much utility may be lost.
    allowed_utility_drop (float, optional): share of the original test score that may be lost, instead of the method's.
Returns:
    unlearning_score (float or None): mean over the runs, in [0, 1].
    unlearning_score_reason (str): why there is no score; present only if it is None.
"""
_ALLOWED_DROP, _ALLOWED_DROP_OF = 0.2, {"neggrad": 0.4}
# Scores are ratios of counts, so a score that lies exactly on a limit must not fall below it by rounding.
_ROUNDING = 1e-9


def unlearning_score(
    test_score: float,
    forget_score: float,
    original_test_score: float,
    chance: float,
    method: str | None = None,
    *,
    allowed_utility_drop: float | None = None,
) -> dict[str, float]:
    """Summary of one run without a retrained model; higher is better.

    Harmonic mean of u = 1 - |test_score - original_test_score| and f = 1 - |forget_score - chance|. It is 0 if the test
    score is below (1 - drop) * original_test_score, or the score on D_f below 0.8 * chance: the first model is ruined,
    the second answers D_f wrongly on purpose. As in the reference, drop is 0.4 for neggrad and 0.2 for all others. The
    reference's code gives 0 also for a test score that rises by more than that; here a rise lowers u alone.

    All scores are single numbers.

    Args:
        test_score: the unlearned model's score on the test set, in [0, 1].
        forget_score: its score on D_f, in [0, 1].
        original_test_score: the original model's score on the test set, in [0, 1].
        chance: the score of random answers, in [0, 1].
        method: key of the method; without one, the drop is 0.2.
        allowed_utility_drop: drop to use instead of the method's, in [0, 1].

    Returns:
        `unlearning_score` in [0, 1].

    Raises:
        ValueError: if an argument is missing (None or NaN) or outside [0, 1].

    Source: arXiv 2406.14796.
    """
    test = check_share("test_score", test_score)
    forget = check_share("forget_score", forget_score)
    original = check_share("original_test_score", original_test_score)
    chance = check_share("chance", chance)
    if allowed_utility_drop is None:
        allowed_utility_drop = _ALLOWED_DROP_OF.get(method, _ALLOWED_DROP)
    drop = check_share("allowed_utility_drop", allowed_utility_drop)

    ruined = test < (1 - drop) * original - _ROUNDING
    below_chance = forget < 0.8 * chance - _ROUNDING
    utility, forgetting = 1 - abs(test - original), 1 - abs(forget - chance)
    if ruined or below_chance or utility + forgetting == 0:  # the harmonic mean tends to 0 where both terms do
        return {"unlearning_score": 0.0}
    return {"unlearning_score": 2 * utility * forgetting / (utility + forgetting)}


class UnlearningScore(evaluate.Metric):
    """`evaluate` face of `unlearning_score`: one row per run; the result is the mean over runs."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features({column: datasets.Value("float64") for column in _COLUMNS}),
            reference_urls=["https://arxiv.org/abs/2406.14796"],
        )

    def _compute(self, method: str | None = None, allowed_utility_drop: float | None = None, **columns: list) -> dict:
        return mean_over_runs(unlearning_score, columns, method=method, allowed_utility_drop=allowed_utility_drop)
