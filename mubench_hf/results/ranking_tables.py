"""The ranking of metrics as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mubench_hf.results.ranking import MOVES, Rank, Share, left_out
from mubench_hf.runs.meta.states import STATES

_ARROWS = {"higher": "↑", "lower": "↓", "match_retrained": "→"}
HEADERS = ("Score", "All pairs", "Nothing hidden", "Hidden", *MOVES, "Pairs")


def ranking_rows(ranks: Sequence[Rank]) -> list[tuple[str, ...]]:
    """Return one row of texts per score, in the order of ``HEADERS``."""
    return [
        (
            f"`{rank.score}` {_ARROWS[rank.direction]}",
            *map(_share, (rank.every, rank.seen, rank.hidden)),
            *("–" if rank.moves[move] is None else f"{rank.moves[move]:.2f}" for move in MOVES),
            str(rank.every.pairs),
        )
        for rank in ranks
    ]


def markdown_ranking(ranks: Sequence[Rank]) -> str:
    """Return the ranking as a Markdown table."""
    rule = ("---", *["---:"] * (len(HEADERS) - 1))
    return "\n".join(f"| {' | '.join(row)} |" for row in (HEADERS, rule, *ranking_rows(ranks)))


def print_ranking(ranks: Sequence[Rank]) -> None:
    """Print the ranking to the terminal."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for number, header in enumerate(HEADERS):
        table.add_column(header, justify="right" if number else "left")
    for row in ranking_rows(ranks):
        table.add_row(*(Text(cell.replace("`", "")) for cell in row))
    Console().print(table)


def state_lines(notes: Mapping[tuple[str, int], Mapping[str, Mapping]]) -> Iterator[str]:
    """Yield a line per state: how it was made, and in how many cases it is not what it should be.

    Args:
        notes: Task and seed → what ``make_states`` returns.
    """
    without = {unit: left_out(each) for unit, each in notes.items()}
    for state, how in STATES.items():
        lost = [unit for unit, states in without.items() if state in states]
        reasons = {str(notes[unit][state].get("reason", "relearning does not undo it")) for unit in lost}
        tail = f" Left out in {len(lost)} of {len(notes)} cases: {'; '.join(sorted(reasons))}." if lost else ""
        yield f"- {state}: {how}.{tail}"


def _share(share: Share | None) -> str:
    return "–" if share is None else f"{share.value:.2f} ({share.low:.2f}–{share.high:.2f})"
