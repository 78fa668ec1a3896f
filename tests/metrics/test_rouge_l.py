import string
import unicodedata

import numpy as np
import pytest
from rouge_score.rouge_scorer import RougeScorer

from mubench_hf.metrics import rouge_l_stem
from mubench_hf.metrics.rouge_l import RANGE, rouge_l, row_scores
from mubench_hf.tasks import get_task

WORDS = ["the", "a", "cat", "dog", "sat", "lay", "on", "under", "mat", "rug"]


@pytest.fixture
def texts(rng):
    return lambda rows: [" ".join(rng.choice(WORDS, size=rng.integers(1, 12))) for _ in range(rows)]


def common_subsequence(one, other):
    """Length of the longest one, by the textbook's table."""
    best = np.zeros((len(one) + 1, len(other) + 1), int)
    for i, word in enumerate(one):
        for j, known in enumerate(other):
            best[i + 1, j + 1] = best[i, j] + 1 if word == known else max(best[i, j + 1], best[i + 1, j])
    return best[-1, -1]


def common_grams(one, other, n):
    grams = [[tuple(words[i : i + n]) for i in range(len(words) - n + 1)] for words in (one, other)]
    return sum(min(grams[0].count(gram), grams[1].count(gram)) for gram in set(grams[0])), *map(len, grams)


def f_measure(hits, said, true):
    return 2 * hits / (said + true) if said and true else 0.0


def test_agrees_with_its_formula(texts):
    predictions, references = texts(40), texts(40)
    rows = row_scores(predictions, references)
    for row, (said, true) in enumerate(zip(predictions, references, strict=True)):
        said, true = said.split(), true.split()
        expected = f_measure(common_subsequence(said, true), len(said), len(true))
        assert rows["rouge_l"][row] == pytest.approx(expected)
        for n in (1, 2):
            assert rows[f"rouge_{n}"][row] == pytest.approx(f_measure(*common_grams(said, true, n)))
    scores = rouge_l(predictions, references)
    assert scores == {name: pytest.approx(values.mean()) for name, values in rows.items()}
    assert all(RANGE[0] <= value <= RANGE[1] for value in scores.values())


def test_limits(texts):
    references = [f"{text} end of it" for text in texts(20)]
    assert rouge_l(references, references) == {"rouge_l": 1.0, "rouge_1": 1.0, "rouge_2": 1.0}
    assert rouge_l(["nothing shared"] * 20, references) == {"rouge_l": 0.0, "rouge_1": 0.0, "rouge_2": 0.0}
    assert rouge_l([""] * 20, references)["rouge_l"] == 0


ALPHABETS = {
    "Cyrillic": "абвгдежзийклмнопрстуфхцчшщъыьэюяёїґ",
    "Greek": "αβγδεζηθικλμνξοπρτυφχψω",
    "Arabic": "ابتثجحخدذرزسشصضطظعغفقكلمنهوي٠١٢٣",
    "Hebrew": "אבגדהוזחטיכלמנסעפצקרשת",
    "Devanagari": ["क", "की", "न्", "हिं", "दी", "में", "सौ", "१"],
    "Tamil": ["க", "கா", "ழ்", "மி", "தொ"],
    "Hangul": "가나다라마바사아자차카타파하",
    "Georgian": "აბგდევზთიკლმნო",
    "accented Latin": "áàâäãåçéèêëíìîïñóòôöõøúùûüýÿßœæłşğ",
}
"""Script → its letters, lower case, each with its marks."""

UNSPACED = {
    "Han": "她住在基辅写书天地人山水火木金土日月々",
    "kana": "あいうえおかきくけこアイウエオカキクケコー",
    "Thai": ["ก", "ขี่", "คู้", "ง", "จั", "เ", "แ", "ๆ", "๑"],
    "Khmer": ["ក", "ខា", "គិ", "ង"],
}
"""The same for scripts without spaces between words, where each letter is a word."""

SEPARATORS = [" ", ", ", " — ", "…", "。", "、", "؟ ", "। ", "«", "_", "\n", " 👍 ", "❤\ufe0f", "'", "’"]


def scored_by_construction(rng, words):
    """Check the scores of texts that are put together from known words against the formulas."""
    rows = [[list(rng.choice(words, rng.integers(1, 9))) for _ in range(15)] for _ in range(2)]
    said, true = ([f"{rng.choice(SEPARATORS)}".join(row) for row in side] for side in rows)
    found = row_scores(said, true)
    for row, (one, other) in enumerate(zip(*rows, strict=True)):
        expected = f_measure(common_subsequence(one, other), len(one), len(other))
        assert found["rouge_l"][row] == pytest.approx(expected), (said[row], true[row])
        for n in (1, 2):
            assert found[f"rouge_{n}"][row] == pytest.approx(f_measure(*common_grams(one, other, n)))
    return said


@pytest.mark.parametrize("script", ALPHABETS)
def test_words_of_other_scripts(script, rng):
    words = ["".join(rng.choice(list(ALPHABETS[script]), rng.integers(1, 5))) for _ in range(9)]
    words = [unicodedata.normalize("NFC", word) for word in words]
    said = scored_by_construction(rng, words)
    assert rouge_l(said, said)["rouge_l"] == 1
    apart = [unicodedata.normalize("NFD", text).upper() for text in said]
    if script not in ("accented Latin", "Greek"):  # Upper case has no ß, and lower case two sigmas.
        assert rouge_l(apart, said)["rouge_1"] == 1


@pytest.mark.parametrize("script", UNSPACED)
def test_letters_of_scripts_without_spaces(script, rng):
    letters = list(UNSPACED[script])
    rows = [[list(rng.choice(letters, rng.integers(2, 9))) for _ in range(9)] for _ in range(2)]
    joined = [["".join(row) for row in side] for side in rows]
    found = row_scores(*joined)["rouge_l"]
    for row, (one, other) in enumerate(zip(*rows, strict=True)):
        assert found[row] == pytest.approx(f_measure(common_subsequence(one, other), len(one), len(other)))
    scored_by_construction(rng, letters)


def test_ascii_texts_score_as_rouge_score_says(rng):
    letters = [*string.printable, *"   "]
    said, true = (["a" + "".join(rng.choice(letters, rng.integers(0, 60))) for _ in range(200)] for _ in range(2))
    check_as_rouge_score(said, true, stemmer=False)


def check_as_rouge_score(said, true, *, stemmer):
    """Check that texts have the scores that the package gives them by itself."""
    theirs, mine = (
        RougeScorer(["rougeL", "rouge1", "rouge2"], use_stemmer=stemmer),
        row_scores(said, true, stemmer=stemmer),
    )
    for row, (one, other) in enumerate(zip(said, true, strict=True)):
        expected = theirs.score(other, one)
        for name, key in (("rouge_l", "rougeL"), ("rouge_1", "rouge1"), ("rouge_2", "rouge2")):
            assert mine[name][row] == expected[key].fmeasure, (one, other)


ENDINGS = ["s", "es", "ies", "ed", "ing", "ly", "ational", "ness", "ment", "er", "ful", "y", "ion", "", ""]


def inflected(rng, rows):
    """Draw texts of words whose beginnings repeat and whose endings vary."""
    starts = ["walk", "relat", "happ", "die", "go", "agre", "nation", "sky", "us", "cat"]
    draw = lambda: "".join([rng.choice(starts), rng.choice(ENDINGS)])  # noqa: E731
    return [" ".join(draw() for _ in range(rng.integers(1, 20))) for _ in range(rows)]


def test_stems_are_those_of_rouge_score(rng):
    said, true = inflected(rng, 150), inflected(rng, 150)
    check_as_rouge_score(said, true, stemmer=True)
    rows = rouge_l_stem.row_scores(said, true)
    assert {f"{name}_stem": list(values) for name, values in row_scores(said, true, stemmer=True).items()} == {
        name: list(values) for name, values in rows.items()
    }
    assert rouge_l_stem.rouge_l_stem(said, true) == {
        name: pytest.approx(values.mean()) for name, values in rows.items()
    }
    assert rouge_l_stem.rouge_l_stem(said, true)["rouge_l_stem"] > rouge_l(said, true)["rouge_l"] + 0.05


def test_stems_make_inflected_forms_equal_and_leave_other_scripts_alone(load):
    said, true = ["Maren has been walking dogs"], ["Maren has been walked dog"]
    assert rouge_l(said, true)["rouge_l"] == pytest.approx(3 / 5)
    assert rouge_l(said, true, stemmer=True)["rouge_l"] == 1
    assert load("rouge_l").compute(predictions=said, references=true, stemmer=True)["rouge_l"] == 1
    assert load("rouge_l_stem").compute(predictions=said, references=true)["rouge_l_stem"] == 1
    words = [["книга", "книги", "город"], ["книга", "книгу", "город"]]
    other = [[" ".join(row)] for row in words]
    assert rouge_l_stem.rouge_l_stem(*other)["rouge_l_stem"] == rouge_l(*other)["rouge_l"] == pytest.approx(2 / 3)


def test_without_a_word_there_are_no_stems(load):
    with pytest.raises(ValueError, match="neither text of row 0 has a word"):
        rouge_l_stem.rouge_l_stem(["!"], ["?"])
    result = load("rouge_l_stem").compute(predictions=["!"], references=["?"])
    assert result["rouge_l_stem"] is None and "row 0" in result["rouge_l_stem_reason"]


def test_what_is_not_seen_makes_no_other_word():
    pairs = [
        ("می\u200cخواهم", "میخواهم"),
        ("co\u00adoperate", "cooperate"),
        ("caf\u0065\u0301", "café"),
        ("1\ufe0f", "1"),
    ]
    assert rouge_l(*map(list, zip(*pairs, strict=True)))["rouge_l"] == 1


def test_rows_without_a_word_have_no_score(load):
    said, true = ["fine", "👍🏽!"], ["fine", " … "]
    with pytest.raises(ValueError, match="neither text of row 1 has a word"):
        rouge_l(said, true)
    result = load("rouge_l").compute(predictions=said, references=true)
    assert result["rouge_l"] is None and "row 1" in result["rouge_l_reason"]
    assert rouge_l(["👍"], ["fine"])["rouge_l"] == rouge_l(["fine"], ["👍"])["rouge_l"] == 0


def test_arrays_of_texts_are_welcome(texts):
    predictions, references = texts(9), texts(9)
    assert rouge_l(np.array(predictions), np.array(references)) == rouge_l(predictions, references)


@pytest.mark.parametrize(
    ("predictions", "references", "message"),
    [([], [], "empty"), (["a"], ["a", "b"], "1 predictions for 2"), (["a", None], ["a", "b"], "None in row 1")],
)
def test_impossible_inputs_are_named(predictions, references, message):
    with pytest.raises(ValueError, match=message):
        rouge_l(predictions, references)


def test_evaluate_agrees_and_gives_none_with_a_reason(texts, load):
    predictions, references = texts(9), texts(9)
    metric = load("rouge_l")
    assert metric.compute(predictions=predictions, references=references) == rouge_l(predictions, references)
    result = metric.compute(predictions=[], references=[])
    assert result["rouge_l"] is None and "empty" in result["rouge_l_reason"]


@pytest.mark.parametrize("task", ["samsum", "celeb_profile"])
def test_tasks_that_compare_with_the_paper_report_stems_beside_an_unchanged_main_score(task):
    assert get_task(task).metrics[:2] == ("rouge_l", "rouge_l_stem") and get_task(task).metric == "rouge_l"
    assert any("`rouge_l_stem`" in line for line in get_task(task).full.differs)
