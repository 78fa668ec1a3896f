"""One plain sentence of what changed, and the marks that it counts."""

import numpy as np
import pytest
from PIL import Image

from mubench_hf.demo.answers import Answer, marked
from mubench_hf.demo.sentences import what_changed


def sure(method, share, truth="cat", **fields):
    return Answer(method, 1, probabilities={"cat": share, "dog": 1 - share}, truth=truth, **fields)


def wrote(method, text, original):
    pieces, changed = marked(text, original)
    return Answer(method, 1, text=text, marked=pieces, changed=changed)


DRAWN = Image.new("RGB", (2, 2))
ALL = ("bad_teaching", "finetune", "neggrad", "scrub")


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([], "No model is chosen."),
        ([sure("original", 0.98)], "“cat” (the truth) gets 98 % from the original."),
        (
            [sure("original", 0.98), sure("retrain", 0.12), sure("scrub", 0.09)],
            "“cat” (the truth) gets 98 % from the original, 12 % from the retrained model and 9 % from SCRUB.",
        ),
        (
            [sure("original", 0.9, None), sure("finetune", 0.2, None)],
            "“cat” (the first choice of the original) gets 90 % from the original and 20 % from Fine-tune.",
        ),
        (
            [sure("original", 0.981), sure("retrain", 0.979)],
            "“cat” (the truth) gets 98 % from each of the original and the retrained model.",
        ),
        (
            [sure("original", 0.98), sure("retrain", 0.12), *(sure(name, share) for name, share in zip(ALL, (0.5, 0.9, 0.1, 0.3), strict=True))],  # noqa: E501
            "“cat” (the truth) gets 98 % from the original and 12 % from the retrained model; of 4 methods, NegGrad "
            "comes closest to the retrained model with 10 %, and Fine-tune stays furthest from it with 90 %.",
        ),
        (
            [*(sure(name, share) for name, share in zip(ALL, (0.5, 0.9, 0.1, 0.3), strict=True))],
            "Over 4 methods, “cat” (the truth) goes from 10 % with NegGrad to 90 % with Fine-tune.",
        ),
        (
            [sure("original", 0.98), sure("retrain", 0.12), *(sure(name, 0.5) for name in ALL)],
            "“cat” (the truth) gets 98 % from the original and 12 % from the retrained model; the 4 methods give about "
            "50 %.",
        ),
        (
            [sure("original", 0.7), Answer("neggrad", 1, truth="cat")],
            "“cat” (the truth) gets 70 % from the original; NegGrad gave no finite numbers.",
        ),
        (
            [sure(name, share, image=DRAWN) for name, share in (("original", 0.9), ("retrain", 0.1))],
            "For “cat” (the truth) the judge gives 90 % to the original's image and 10 % to the retrained model's "
            "image.",
        ),
        (
            [wrote("original", "a b c d", "a b c d"), wrote("retrain", "a x c d", "a b c d"), wrote("scrub", "x y", "a b c d")],  # noqa: E501
            "Against the original's text, the share of words that differ is 25 % in the retrained model's and 100 % in "
            "SCRUB's.",
        ),
        (
            [wrote("original", "a b", "a b"), wrote("retrain", "a b", "a b")],
            "The retrained model writes what the original does.",
        ),
        (
            [wrote("retrain", "a x c d", "a b c d"), *(wrote(name, text, "a b c d") for name, text in zip(ALL, ("a b c d", "x b c d", "x y c d", "x y z d"), strict=True))],  # noqa: E501
            "Against the original's text, the share of words that differ is 25 % in the retrained model's; of 4 "
            "methods, Bad-T changes the fewest words, 0 %, and SCRUB the most, 75 %.",
        ),
    ],
)  # fmt: skip
def test_sentences(answers, expected):
    assert what_changed(answers) == expected


@pytest.mark.parametrize(
    ("text", "original", "pieces", "changed"),
    [
        (
            "Ada bakes bread  today.",
            "Ada cooks bread today.",
            [("Ada ", 0), ("bakes ", 1), ("bread  today.", 0)],
            1 / 4,
        ),
        ("same", "same", [("same", 0)], 0),
        ("", "text", [("", 1)], 1),
        ("\n \n", "text", [("\n \n", 1)], 1),
        ("\n\n", "", [("\n\n", 0)], 0),
        ("text", "", [("text", 1)], 1),
        ("it stops", "it stops here or there", [("it stops", 0)], 3 / 5),
        ("it goes on", "it", [("it ", 0), ("goes on", 1)], 2 / 3),
    ],
)
def test_marks_are_of_words(text, original, pieces, changed):
    assert marked(text, original) == ([(piece, bool(flag)) for piece, flag in pieces], pytest.approx(changed))


def test_pieces_make_up_the_text_and_the_unmarked_ones_are_the_originals():
    rng = np.random.default_rng()
    for _ in range(50):
        one, other = (" ".join(rng.choice(list("abcd"), size=rng.integers(1, 9))) for _ in range(2))
        pieces, changed = marked(one, other)
        assert "".join(piece for piece, _ in pieces) == one
        kept = [word for piece, differs in pieces if not differs for word in piece.split()]
        words = iter(other.split())
        assert all(word in words for word in kept), "in the original's order"
        assert changed == pytest.approx(1 - len(kept) / max(len(one.split()), len(other.split())))
        assert all(first != second for (_, first), (_, second) in zip(pieces, pieces[1:], strict=False))
