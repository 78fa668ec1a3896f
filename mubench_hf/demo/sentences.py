"""One plain sentence of how several models' answers to one sample differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

from mubench_hf.demo.answers import Answer
from mubench_hf.results.titles import method_title
from mubench_hf.runs.scores import REFERENCES

ORIGINAL, RETRAIN = REFERENCES

EACH = 2
"""Most methods of which each is named; of more, the two ends are."""


def what_changed(answers: Sequence[Answer]) -> str:
    """Return what changed against the original and the retrained model, as far as they are among the answers."""
    if not answers:
        return "No model is chosen."
    if any(answer.marked is not None for answer in answers):
        return _sentence(_of_texts([answer for answer in answers if answer.marked is not None]))
    told = [answer for answer in answers if answer.probabilities]
    silent = [name_of(answer.method) for answer in answers if not answer.probabilities]
    parts = [*(_of_classes(told) if told else []), *([f"{_listed(silent)} gave no finite numbers"] if silent else [])]
    return _sentence(parts)


def name_of(method: str) -> str:
    """Return what a model is called in a sentence."""
    return {ORIGINAL: "the original", RETRAIN: "the retrained model"}.get(method) or method_title(method)


def _of_classes(answers: Sequence[Answer]) -> list[str]:
    """Return what the models make of the truth, or of the first one's first choice where it is not known."""
    first = next((answer for answer in answers if answer.method == ORIGINAL), answers[0])
    known = first.truth in first.probabilities
    focus = first.truth if known else max(first.probabilities, key=first.probabilities.get)
    said = f"“{focus}” ({'the truth' if known else f'the first choice of {name_of(first.method)}'})"
    shares = {answer.method: answer.probabilities[focus] for answer in answers}
    if len(shares) > 1 and len(set(map(_percent, shares.values()))) == 1:
        models = _listed(map(name_of, shares)) if len(shares) <= EACH + 2 else f"the {len(shares)} models"
        return [f"{said} gets {_percent(shares[first.method])} from each of {models}"]
    if first.image is not None:
        lead, each = f"for {said} the judge gives", _each(shares, lambda share, name: f"{share} to {name}'s image")
    else:
        lead, each = f"{said} gets", _each(shares, lambda share, name: f"{share} from {name}")
    return [*([f"{lead} {each}"] if each else []), *_ends_of_classes(shares, said)]


def _ends_of_classes(shares: Mapping[str, float], said: str) -> list[str]:
    methods, retrain = _methods(shares), shares.get(RETRAIN)
    if len(methods) <= EACH:
        return []
    if retrain is None:
        order = sorted(methods, key=methods.get)
        low, high = (f"{_percent(methods[name])} with {name_of(name)}" for name in (order[0], order[-1]))
        return [f"over {len(order)} methods, {said} goes from {low} to {high}"]
    order = sorted(methods, key=lambda name: abs(methods[name] - retrain))
    near, far = (_percent(methods[name]) for name in (order[0], order[-1]))
    if near == far:
        return [f"the {len(order)} methods give about {near}"]
    return [
        f"of {len(order)} methods, {name_of(order[0])} comes closest to the retrained model with {near}, and "
        f"{name_of(order[-1])} stays furthest from it with {far}"
    ]


def _of_texts(answers: Sequence[Answer]) -> list[str]:
    """Return how much of the original's text changed."""
    shares = {answer.method: answer.changed for answer in answers if answer.method != ORIGINAL}
    if not shares:
        return ["the original's text is what others are compared with"]
    if not any(shares.values()):
        return [f"{_listed(map(name_of, shares))} {'write' if len(shares) > 1 else 'writes'} what the original does"]
    each = _each(shares, lambda share, name: f"{share} in {name}'s")
    parts = [f"against the original's text, the share of words that differ is {each}"] if each else []
    methods = _methods(shares)
    if len(methods) > EACH:
        order = sorted(methods, key=methods.get)
        least, most = (_percent(methods[name]) for name in (order[0], order[-1]))
        ends = f"{name_of(order[0])} changes the fewest words, {least}, and {name_of(order[-1])} the most, {most}"
        parts.append(f"of {len(order)} methods, {ends}")
    return parts


def _each(shares: Mapping[str, float], item: Callable[[str, str], str]) -> str:
    """Return the shares of the references, and of the methods too unless there are many; empty where that is none."""
    methods = _methods(shares)
    named = [name for name in shares if name not in methods or len(methods) <= EACH]
    return _listed(item(_percent(shares[name]), name_of(name)) for name in named) if named else ""


def _methods(shares: Mapping[str, float]) -> dict[str, float]:
    return {name: share for name, share in shares.items() if name not in REFERENCES}


def _listed(names: Iterable[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"


def _sentence(parts: Iterable[str]) -> str:
    text = "; ".join(parts)
    return f"{text[:1].upper()}{text[1:]}."
