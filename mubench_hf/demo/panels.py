"""A row and what models say of it, as HTML: whatever comes from data, models or people is shown as text."""

from __future__ import annotations

import io
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path
from typing import Any

from mubench_hf.demo import Answer, Sample, Shown
from mubench_hf.results.titles import method_title
from mubench_hf.utils.inline import data_url

TOP = 5
"""Classes shown of each model, the most probable ones; the true one always is."""

PLACES = {"forget": "deleted (D_f)", "retain": "kept (D_r)", "test": "never trained on (test)"}

CSS = """
.mu-row, .mu-answers { display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, 17rem), 1fr)); }
.mu-row figure, .mu-answers article { margin: 0; padding: .75rem; border: 1px solid var(--border-color-primary);
  border-radius: var(--block-radius); background: var(--block-background-fill); color: var(--body-text-color);
  min-width: 0; overflow-wrap: anywhere; }
.mu-row img, .mu-row video, .mu-answers img { width: 100%; max-width: 14rem; image-rendering: pixelated; }
.mu-row audio { width: 100%; }
.mu-text { white-space: pre-wrap; max-height: 16rem; overflow: auto; }
.mu-answers h3, .mu-row figcaption { margin: 0 0 .5rem; font-weight: 600; }
.mu-answers table { width: 100%; border-collapse: collapse; table-layout: fixed; margin: .25rem 0; }
.mu-answers table, .mu-answers table * { border: 0 !important; padding: .1rem .2rem !important; }
.mu-answers th { text-align: left; font-weight: 400; width: 38%; }
.mu-answers td + td { width: 4rem; text-align: right; font-variant-numeric: tabular-nums; }
.mu-answers .truth th { font-weight: 700; }
.mu-answers meter { width: 100%; height: 1rem; }
.mu-answers mark { background: var(--color-accent-soft); color: inherit; text-decoration: underline; }
.mu-answers footer { margin-top: .75rem; }
.mu-methods table { display: block; overflow-x: auto; }
.mu-methods th, .mu-methods td { overflow-wrap: normal; word-break: normal; min-width: 5rem; }
.mu-sentence { font-size: 1.1rem; color: var(--body-text-color); }
.mu-alert { padding: .75rem; border-left: 4px solid #d55e00; background: var(--block-background-fill);
  color: var(--body-text-color); overflow-wrap: anywhere; }
"""


def sample_panel(sample: Sample) -> str:
    """Return a row in its own media, with where it is from and its truth."""
    place = "your own" if sample.split is None else f"{PLACES[sample.split]}, row {sample.index} of the data set"
    truth = "" if sample.truth is None else f" Truth: <strong>{escape(sample.truth)}</strong>"
    figures = "".join(_figure(shown) for shown in sample.shown)
    return f'<p>This row is {escape(place)}.{truth}</p><div class="mu-row">{figures}</div>'


def answers_panel(answers: Sequence[Answer], sample: Sample, sentence: str) -> str:
    """Return one sentence of what changed, and a card for each model's answer."""
    cards = "".join(_card(answer, sample) for answer in answers)
    return f'<p class="mu-sentence" role="status">{escape(sentence)}</p><div class="mu-answers">{cards}</div>'


def alert(message: str) -> str:
    """Return a message that stands where the answer would."""
    return f'<p class="mu-alert" role="alert">{escape(message)}</p>'


def _figure(shown: Shown) -> str:
    return f"<figure><figcaption>{escape(shown.name)}</figcaption>{MEDIA[shown.medium](shown)}</figure>"


def _image(picture: Any, alt: str) -> str:
    stream = io.BytesIO()
    picture.convert("RGB").save(stream, "PNG")
    return f'<img alt="{escape(alt)}" src="{data_url("image/png", stream.getvalue())}">'


def _audio(shown: Shown) -> str:
    import soundfile

    (rate, samples), stream = shown.value, io.BytesIO()
    soundfile.write(stream, samples, rate, format="WAV", subtype="PCM_16")
    return (
        f'<audio controls aria-label="{escape(shown.name)}" src="{data_url("audio/wav", stream.getvalue())}"></audio>'
    )


def _video(shown: Shown) -> str:
    kind = "video/webm" if str(shown.value).endswith(".webm") else "video/mp4"
    source = data_url(kind, Path(shown.value).read_bytes())
    return f'<video controls loop muted aria-label="{escape(shown.name)}" src="{source}"></video>'


def _text(shown: Shown) -> str:
    return f'<div class="mu-text" tabindex="0">{escape(shown.value)}</div>'


MEDIA: dict[str, Callable[[Shown], str]] = {
    "image": lambda shown: _image(shown.value, shown.name),
    "audio": _audio,
    "video": _video,
    "text": _text,
    "choice": _text,
}
"""Medium → its HTML. Media travel inside the page, so that the server hands out no files."""


def _card(answer: Answer, sample: Sample) -> str:
    title = method_title(answer.method)
    parts = [f"<h3>{escape(title)} <small>seed {answer.seed}</small></h3>"]
    if answer.text is not None:
        pieces = answer.marked or [(answer.text, False)]
        marked = "".join(f"<mark>{escape(text)}</mark>" if other else escape(text) for text, other in pieces)
        parts.append(f'<div class="mu-text" tabindex="0">{marked if answer.text.strip() else "(nothing)"}</div>')
    if answer.image is not None:
        parts.append(_image(answer.image, f"What {title} draws"))
    if answer.probabilities is not None:
        parts.append(_bars(answer.probabilities, sample.truth))
    if answer.membership is None:
        sure = f"Membership attacker: no answer, {escape(answer.membership_reason or 'for no stated reason')}."
    else:
        share = f'<data class="membership" value="{answer.membership!r}">{answer.membership:.0%}</data>'
        meter = _meter(answer.membership, "certainty of the attacker")
        sure = f"Membership attacker: {share} sure that it was trained on{meter}"
    return f'<article data-method="{escape(answer.method)}">{"".join(parts)}<footer>{sure}</footer></article>'


def _bars(probabilities: dict[str, float], truth: str | None) -> str:
    shown = sorted(probabilities, key=lambda name: -probabilities[name])[:TOP]
    if truth in probabilities and truth not in shown:
        shown[-1] = truth
    rows = ""
    for name in shown:
        value, mark = probabilities[name], ' class="truth"' if name == truth else ""
        rows += (
            f'<tr{mark}><th scope="row">{escape(name)}</th><td>{_meter(value, name)}</td>'
            f'<td><data value="{value!r}">{value:.3f}</data></td></tr>'
        )
    return f"<table><tbody>{rows}</tbody></table>"


def _meter(value: float, label: str) -> str:
    return f'<meter min="0" max="1" value="{value:.6f}" aria-label="{escape(label)}"></meter>'
