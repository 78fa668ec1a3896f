"""What metrics of answers in words share: checks of tokens, and how likely wrong answers are beside the right one.

`evaluate.load` and a published Space copy this file along with a metric that says `from .answers import ...`. Like the
metrics, it imports nothing of the package.
"""

import numpy as np
from numpy.typing import ArrayLike


def check_tokens(predicted_tokens: ArrayLike, label_tokens: ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return predicted and true tokens as int64 [n, positions], and which positions are scored, bool of that shape.

    Raises:
        ValueError: if there are no rows, shapes differ or a row has no scored position.
    """
    tokens = {}
    for name, values in (("predicted_tokens", predicted_tokens), ("label_tokens", label_tokens)):
        try:
            array = np.asarray(values)
        except ValueError:
            raise ValueError(
                f"{name} is not a rectangular array; int [n, positions], padded with -100, is needed"
            ) from None
        if array.ndim != 2 or not array.size or array.dtype.kind not in "iu":
            raise ValueError(f"{name} is {array.dtype} of shape {array.shape}; int [n, positions] is needed")
        tokens[name] = array.astype(np.int64)
    predicted, true = tokens.values()
    if predicted.shape != true.shape:
        raise ValueError(f"predicted_tokens has shape {predicted.shape} and label_tokens {true.shape}; both must agree")
    scored = true != -100
    empty = np.flatnonzero(~scored.any(axis=1))
    if empty.size:
        raise ValueError(f"label_tokens has no scored position in row {empty[0]}; a token that is not -100 is needed")
    return predicted, true, scored


def log_truth_ratios(prefix: str, paraphrased: ArrayLike, perturbed: ArrayLike) -> np.ndarray:
    """Return the logarithm of each row's truth ratio, float64 [n]: how likely wrong answers are beside the right one.

    Args:
        prefix: What the two names begin with in messages.
        paraphrased: float [n], mean log-probability of the tokens of a right answer in other words.
        perturbed: float [n, k], the same of k wrong answers.

    Raises:
        ValueError: if there are no rows or no wrong answers, shapes do not fit, or a value is above 0 or not finite.
    """
    arrays = []
    for name, values, ndim in (("paraphrased_log_probs", paraphrased, 1), ("perturbed_log_probs", perturbed, 2)):
        shape = "[n]" if ndim == 1 else "[n, answers]"
        try:
            array = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise ValueError(f"{prefix}{name} is not a rectangular array of numbers; float {shape} is needed") from None
        if array.ndim != ndim or not array.size:
            raise ValueError(f"{prefix}{name} has shape {array.shape}; {shape}, with one or more of each, is needed")
        broken = np.flatnonzero(~((array <= 0) & (array > -np.inf)).reshape(len(array), -1).all(axis=1))  # also NaN
        if broken.size:
            raise ValueError(
                f"{prefix}{name} holds {array[broken[0]]} in row {broken[0]}; finite numbers up to 0 are needed"
            )
        arrays.append(array)
    right, wrong = arrays
    if len(right) != len(wrong):
        raise ValueError(
            f"{prefix}paraphrased_log_probs has {len(right)} rows and {prefix}perturbed_log_probs {len(wrong)}; "
            "as many are needed"
        )
    return wrong.mean(axis=1) - right
