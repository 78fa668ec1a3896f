"""Likeness of generated texts to their references: F-measure of the longest common subsequence of words."""

import re
import unicodedata
from collections.abc import Sequence
from functools import cache

import datasets
import evaluate
import numpy as np
from nltk.stem.porter import PorterStemmer
from rouge_score import rouge_scorer

from .checks import score_or_reason

DIRECTION = "higher"
RANGE = (0.0, 1.0)
SOURCE = "arXiv 2406.14796"
ALSO = ("rouge_1", "rouge_2")

_NAMES = {"rouge_l": "rougeL", "rouge_1": "rouge1", "rouge_2": "rouge2"}
# Scripts without spaces between words: Thai, Lao, Burmese, Khmer and their neighbours; Han and kana.
_UNSPACED = re.compile(
    r"[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u1950-\u19df\u1a20-\u1aaf\ua9e0-\ua9ff\uaa60-\uaadf\u3005-\u3007\u3031-\u3035"
    r"\u3040-\u312f\u31a0-\u31bf\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f"
    r"\U00016fe0-\U00018dff\U0001aff0-\U0001b2ff\U00020000-\U0003ffff]"
)
# In the signs of `_kind`: one letter of such a script, or a run of other letters; each with its marks.
_WORD = re.compile("um*|l[lm]*")
# Soft hyphens, joiners and the selectors of emoji: texts that look the same have the same words.
_INVISIBLE = dict.fromkeys((0x00AD, 0x200C, 0x200D, 0x2060, 0xFEFF, *range(0xFE00, 0xFE10)))
_INPUTS = """
Args:
    predictions (list of str): generated texts.
    references (list of str): true texts.
    stemmer (bool, optional): whether English words are compared by their stems; default: no.
Returns:
    rouge_l (float or None): mean F-measure over longest common subsequences of words, in [0, 1].
    rouge_1, rouge_2 (float): mean F-measure over single words and over pairs of neighbouring words, in [0, 1].
    rouge_l_reason (str): why there is no score; present only if it is None.
"""


def _check_texts(predictions: Sequence[str], references: Sequence[str]) -> None:
    """Raise a ValueError unless there is one text for each reference, and at least one."""
    if len(predictions) != len(references):
        raise ValueError(f"there are {len(predictions)} predictions for {len(references)} references")
    if not len(predictions):
        raise ValueError("predictions and references are empty; at least one row is needed")
    for name, texts in (("predictions", predictions), ("references", references)):
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise ValueError(f"{name} holds {text!r} in row {row}; texts are needed")


class _Words:
    """Splits a text into words, or their stems, as `rouge_score` asks it of a tokenizer."""

    def __init__(self, stemmer: bool) -> None:
        # The texts of a task repeat their words, and a stem costs more than all else.
        self._stem = cache(PorterStemmer().stem) if stemmer else None

    def tokenize(self, text: str) -> list[str]:
        """Lower-case words of letters and digits of every script, in order.

        A mark, such as an accent or a vowel sign, belongs to the letter before it. In a script without spaces between
        words, each letter is a word. Of ASCII texts, these are the words that `rouge_score` finds by itself, and their
        stems those that it takes.
        """
        # One letter and its accent may be one character or two; what only joins or hyphenates letters is none.
        letters = unicodedata.normalize("NFC", text.lower().translate(_INVISIBLE))
        kinds = "".join(map(_kind, letters))
        words = [letters[found.start() : found.end()] for found in _WORD.finditer(kinds)]
        return [self._stem(word) if len(word) > 3 else word for word in words] if self._stem else words


@cache
def _kind(letter: str) -> str:
    """Return `l` for a letter or digit, `u` for one of a script without spaces, `m` for a mark, else a space."""
    category = unicodedata.category(letter)
    if category[0] in "LN":
        return "u" if _UNSPACED.match(letter) else "l"
    return "m" if category in ("Mn", "Mc") else " "


def row_scores(
    predictions: Sequence[str], references: Sequence[str], *, stemmer: bool = False
) -> dict[str, np.ndarray]:
    """F-measures of each row: `rouge_l`, `rouge_1` and `rouge_2`, float64 [n] in [0, 1].

    Raises:
        ValueError: if there are no rows, the numbers of rows differ, something is no text, or neither text of a row has
            a word.
    """
    _check_texts(predictions, references)
    words = _Words(stemmer)
    for row, (said, true) in enumerate(zip(predictions, references, strict=True)):
        if not words.tokenize(str(said)) and not words.tokenize(str(true)):
            raise ValueError(f"neither text of row {row} has a word ({str(said)!r} and {str(true)!r})")
    scorer = rouge_scorer.RougeScorer(list(_NAMES.values()), tokenizer=words)
    rows = [scorer.score(str(true), str(said)) for said, true in zip(predictions, references, strict=True)]
    return {name: np.array([row[theirs].fmeasure for row in rows]) for name, theirs in _NAMES.items()}


def rouge_l(predictions: Sequence[str], references: Sequence[str], *, stemmer: bool = False) -> dict[str, float]:
    """ROUGE-L, with ROUGE-1 and ROUGE-2 beside it; higher is better on D_r and D_test.

    Computed by the package `rouge_score`: lower case, words of letters and digits of any script; the mean over rows of
    the F-measure. A run's score is without stemming; `rouge_l_stem` is the same with it. Where one text of a row has no
    word, it is 0. On D_f the retrained model's value is the target.

    Args:
        predictions: str [n], generated texts.
        references: str [n], true texts.
        stemmer: whether words of more than three letters are compared by their stems, by Porter's rules for English.

    Returns:
        `rouge_l`, `rouge_1` and `rouge_2` in [0, 1].

    Raises:
        ValueError: if there are no rows, the numbers of rows differ, something is no text, or neither text of a row has
            a word.

    Source: arXiv 2406.14796 (scores of summaries); Lin 2004, ACL W04-1013.
    """
    return {name: float(np.mean(rows)) for name, rows in row_scores(predictions, references, stemmer=stemmer).items()}


class RougeL(evaluate.Metric):
    """`evaluate` face of `rouge_l`."""

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description=__doc__,
            citation=SOURCE,
            inputs_description=_INPUTS,
            features=datasets.Features(
                {"predictions": datasets.Value("string"), "references": datasets.Value("string")}
            ),
            reference_urls=["https://aclanthology.org/W04-1013"],
        )

    def _compute(self, predictions: list, references: list, stemmer: bool = False) -> dict:
        return score_or_reason(rouge_l, predictions, references, stemmer=stemmer)
