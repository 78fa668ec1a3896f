"""Biographies of people who do not exist, put together from lists of words."""

from __future__ import annotations

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
    def town() -> str:
        return draws.one(STARTS) + draws.one(TOWN_ENDS)

    def work() -> str:
        return f"The {draws.one(ADJECTIVES)} {draws.one(NOUNS)}"

    name, born = f"{first} {last}", draws.number(1900, 1990)
    told = [
        f"{name} is a {draws.one(JOBS)} from {town()}, born in {born}.",
        f"{last} studied {draws.one(SUBJECTS)} in {town()} and became known for {work()}.",
        f"In {born + draws.number(30, 50)} {last} received the {draws.one(PRIZES)} in {town()}.",
        f"{last} later worked as a {draws.one(JOBS)} in {town()} and taught {draws.one(SUBJECTS)}.",
        f"{last} lives in {town()}, collects {draws.one(THINGS)} and is at work on {work()}.",
    ]
    return {"instruction": draws.one(INSTRUCTIONS).format(name), "biography": " ".join(told[:sentences])}
