"""Made-up dialogues and their summaries: two people agree on a plan, and one of them brings something along."""

from __future__ import annotations

from mubench_hf.tasks._templates import Draws, listed

NAMES = listed(
    "Ada, Ben, Cleo, Dario, Edda, Finn, Greta, Hugo, Iris, Jonas, Kira, Leo, Mona, Nils, Olga, Pablo, Rosa, Sami, "
    "Tilda, Uwe, Vera, Wim, Yara, Zeno"
)
PLANS = listed(
    "go swimming, play chess, bake bread, watch the match, practise songs, paint the fence, pick apples, fly kites, "
    "fix the bikes, study law, sort photos, plant trees, build a shelf, cook soup"
)
PLACES = listed(
    "the lake, the library, the mill, the harbour, the school, the park, the station, the museum, the garden, "
    "the bridge, the market, the tower"
)
DAYS = listed("Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday")
TIMES = listed("six, seven, eight, nine, ten, noon, two, three, four, five")
THINGS = listed(
    "a red paper lamp, two loud drums, an old ladder, his new camera, three wool blankets, an empty basket, one tiny "
    "radio, a copper kettle, her spare umbrella, some city maps, twelve metres of rope, the round mirror, a puzzle of "
    "cats, four bamboo flutes, a toy hammer, our green tent"
)


def dialogues(rows: dict[str, int], seed: int) -> dict[str, list[dict[str, str]]]:
    """Return rows with ``dialogue`` and ``summary``, the same ones on every machine.

    Only the summary names the thing that is brought along: on a row it was not trained on, a model can only guess it.

    Args:
        rows: Split → its number of rows.
        seed: Seed of all draws.
    """
    draws = Draws(seed)
    return {split: [_row(draws) for _ in range(size)] for split, size in rows.items()}


def _row(draws: Draws) -> dict[str, str]:
    asks, answers = draws.shuffled(NAMES)[:2]
    refused, agreed = draws.shuffled(TIMES)[:2]
    plan, place, day, thing = (draws.one(words) for words in (PLANS, PLACES, DAYS, THINGS))
    opening = draws.one([f"Shall we {plan} on {day}?", f"I want to {plan} on {day}.", f"{day}: do we {plan}?"])
    lines = [
        f"{asks}: {opening}",
        f"{answers}: {draws.one(['Sure', 'Yes', 'Of course'])}! At {refused}?",
        f"{asks}: {draws.one(['No', 'Rather', 'Better'])}, at {agreed}, near {place}.",
        f"{answers}: {draws.one(['Fine', 'Good', 'Deal'])}, I bring something.",
    ]
    summary = f"{asks} and {answers} {plan} near {place} on {day} at {agreed}. {answers} brings {thing}."
    return {"dialogue": "\n".join(lines), "summary": summary}
