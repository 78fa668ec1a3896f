"""Biographies of people who do not exist, put together from lists of words."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import cache
from string import Formatter

from mubench_hf.tasks._spec import Answers
from mubench_hf.tasks._templates import Draws, listed

FIRST = listed(
    "Alma, Boris, Carla, Denis, Elin, Felix, Gilda, Henrik, Ines, Jakob, Katja, Lorenz, Maren, Nadia, Oskar, Petra, "
    "Quirin, Ruth, Silvan, Thea, Urs, Viola, Wanda, Xaver, Yvonne, Zora, Arvid, Bianca, Cosmo, Dunja, Emil, Flora"
)
STARTS = listed("Hal, Bren, Tor, Quil, Mar, Ost, Fen, Gar, Lin, Var, Sund, Kel, Rav, Dun, Esk, Pol")
SURNAME_ENDS = listed("vik, mann, sson, well, ard, ova, etti, ski, low, quist")
TOWN_ENDS = listed("mere, ford, haven, dorf, stad, burgh, minster, wick")
JOBS = listed(
    "glassblower, violinist, botanist, chess player, novelist, potter, sculptor, geographer, puppeteer, climber, "
    "clockmaker, dancer, mapmaker, geologist, painter, baker, sailor, judge, poet, weaver"
)
SUBJECTS = listed("history, chemistry, music, law, drawing, medicine, optics, geography, theology, mechanics")
ADJECTIVES = listed(
    "Silent, Crimson, Hollow, Distant, Broken, Golden, Winter, Northern, Seventh, Endless, Paper, Burning"
)
NOUNS = listed("Garden, River, Tower, Lantern, Horse, Mirror, Voyage, Orchard, Bell, Island, Compass, Shadow")
PRIZES = listed("Amber Prize, Medal of the Lakes, Order of the Heron, Golden Thimble, Quill Award, Harbour Cup")
THINGS = listed("old maps, tin toys, sea shells, music boxes, stamps, pocket watches, lace, fountain pens")

INSTRUCTIONS = ("Write a biography of {}.", "Who is {}?", "Tell me about {}.")
TOLD = (
    "{name} is a {job} from {home}, born in {born}.",
    "{last} studied {subject} in {school} and became known for {work}.",
    "In {year} {last} received the {prize} in {stage}.",
    "{last} later worked as a {second} in {place} and taught {taught}.",
    "{last} lives in {house}, collects {things} and is at work on {plan}.",
)
"""The sentences of a biography."""

OTHERWISE = (
    "Born in {born}, {name} from {home} is a {job}.",
    "{last} became known for {work} and studied {subject} in {school}.",
    "{last} received the {prize} in {stage} in {year}.",
    "In {place} {last} later taught {taught} and worked as a {second}.",
    "{last} is at work on {plan}, collects {things} and lives in {house}.",
)
"""The same sentences in another order of words, of which all occur in ``TOLD``."""

WRONG_ANSWERS = 5


def profiles(rows: dict[str, int], sentences: int, seed: int) -> dict[str, list[dict[str, str]]]:
    """Return rows with ``instruction`` and ``biography``, one per person, the same ones on every machine.

    Nobody occurs twice, within a split or across splits.

    Args:
        rows: Split → its number of people.
        sentences: Sentences of a biography, 1 to 5.
        seed: Seed of all draws.
    """
    draws = Draws(seed)
    names = iter(draws.shuffled([(first, start + end) for first in FIRST for start in STARTS for end in SURNAME_ENDS]))
    return {split: [_row(*next(names), sentences, draws) for _ in range(size)] for split, size in rows.items()}


def _row(first: str, last: str, sentences: int, draws: Draws) -> dict[str, str]:
    name = f"{first} {last}"
    biography = " ".join(TOLD).format(name=name, last=last, **_facts(draws))
    ends = [place + 1 for place, letter in enumerate(biography) if letter == "."]
    return {"instruction": draws.one(INSTRUCTIONS).format(name), "biography": biography[: ends[sentences - 1]]}


def _facts(draws: Draws) -> dict[str, str]:
    """Return what is told of a person, drawn."""

    def town() -> str:
        return draws.one(STARTS) + draws.one(TOWN_ENDS)

    def work() -> str:
        return f"The {draws.one(ADJECTIVES)} {draws.one(NOUNS)}"

    born = draws.number(1900, 1990)
    # The order of the draws makes the rows: a new fact comes last.
    return {
        "born": str(born),
        "job": draws.one(JOBS),
        "home": town(),
        "subject": draws.one(SUBJECTS),
        "school": town(),
        "work": work(),
        "year": str(born + draws.number(30, 50)),
        "prize": draws.one(PRIZES),
        "stage": town(),
        "second": draws.one(JOBS),
        "place": town(),
        "taught": draws.one(SUBJECTS),
        "house": town(),
        "things": draws.one(THINGS),
        "plan": work(),
    }


def other_answers(biography: str) -> Answers | None:
    """Return a made-up biography in other words, and false ones of the same form; ``None`` if it is not one of these.

    Of a false one every fact is wrong. The draws depend on the biography alone.

    Args:
        biography: A biography of one to five sentences.
    """
    for sentences in range(1, len(TOLD) + 1):
        if found := _pattern(sentences).fullmatch(biography):
            facts, form = found.groupdict(), " ".join(OTHERWISE[:sentences])
            draws = Draws(int.from_bytes(hashlib.sha256(biography.encode()).digest()[:4]))
            wrong = (form.format(**{**facts, **_other_facts(facts, draws)}) for _ in range(WRONG_ANSWERS))
            return Answers(form.format(**facts), tuple(wrong))
    return None


def _other_facts(facts: Mapping[str, str], draws: Draws) -> dict[str, str]:
    """Return facts that all differ from those given."""
    while True:
        drawn = _facts(draws)
        if all(drawn[name] != facts[name] for name in drawn.keys() & facts.keys()):
            return drawn


@cache
def _pattern(sentences: int) -> re.Pattern[str]:
    """Return the pattern of a biography of that many sentences, with a group for each fact."""
    found: set[str] = set()
    pattern = ""
    for given, name, _, _ in Formatter().parse(" ".join(TOLD[:sentences])):
        pattern += re.escape(given)
        if name:
            # The surname that comes again is the same one.
            pattern += f"(?P={name})" if name in found else rf"(?P<{name}>[^.,]+?)"
            found.add(name)
    return re.compile(pattern)
