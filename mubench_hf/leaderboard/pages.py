"""The leaderboard's tables as HTML. Whatever comes out of a result is escaped: it is text, never markup."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape
from pathlib import Path

from mubench_hf.leaderboard.board import Board, Row, TableKey
from mubench_hf.leaderboard.views import (
    MethodPage,
    ScorePair,
    best_rows,
    row_title,
    score_key,
    summary,
)
from mubench_hf.models import list_models
from mubench_hf.results.columns import Column
from mubench_hf.results.gap import GAP
from mubench_hf.results.grid import MISSING
from mubench_hf.results.notes import FLOOR, ONE_SEED
from mubench_hf.results.tables import ResultTable, gap_values, make_cell, signed, signed_interval
from mubench_hf.results.titles import method_title
from mubench_hf.runs.cost import TIMES
from mubench_hf.tasks import get_task
from mubench_hf.utils.inline import data_url

WORDS = {
    "higher": "higher is better",
    "lower": "lower is better",
    "match_retrained": "closest to retrain is best",
    None: "of no metric known here, so nothing says what is best",
}

CSS = (Path(__file__).parent / "style.css").read_text(encoding="utf-8")


def message(text: str) -> str:
    """Return a line that stands where something cannot be shown."""
    return f'<p class="mb-message" role="status">{escape(text)}</p>'


def table_title(key: TableKey) -> str:
    """Return what a table's numbers were measured on; of mini data, it says that they are not the task's."""
    title = get_task(key.task).title
    task = f"{title} mini (a stand-in, not {title})" if key.variant == "mini" else title
    external = "" if key.model in list_models() else " (external)"
    own = f" · submission {key.references}" if key.references else ""
    return f"{task} · {key.model}{external} · {key.del_ratio}% deleted{own}"


def board_table(
    key: TableKey, every: Sequence[Row], rows: Sequence[Row], columns: Sequence[Column], by: Column | None, down: bool
) -> str:
    """Return the chosen rows and columns of a table, with the notes below it.

    Args:
        key: Which table.
        every: All its rows: the best of a column is the best of these.
        rows: Rows to show, in order.
        columns: Columns to show.
        by: Column that they are sorted by.
        down: Whether the largest stands first.
    """
    heads = [_head("Method"), _head("Verified")]
    for column in columns:
        order = {True: ("descending", "▼"), False: ("ascending", "▲")}[down] if column == by else None
        heads.append(_column_head(column, order))
    heads.append(_head("Seeds"))
    best = [best_rows(every, column) for column in columns]
    body = [_row(best, row, columns) for row in rows]
    empty = f'<tr><td class="mb-text" colspan="{len(heads)}">No method fits the filter.</td></tr>'
    notes = ResultTable([row.group for row in every], get_task(key.task).title, get_task(key.task).metric).notes
    if stated := [column.header for column in columns if column.key in TIMES]:
        notes.append(f"* {', '.join(stated)}: as stated by whoever ran the method. Nothing can verify them.")
    return _table(table_title(key), heads, body or [empty]) + _list("mb-notes", notes)


def comparison_table(key: TableKey, first: Row, second: Row, lines: Sequence[ScorePair]) -> str:
    """Return two methods side by side, one score a line."""
    names = [row_title(row) for row in (first, second)]
    heads = [_head(name) for name in ("Score", *names, "Difference")] + [_head("Better", "mb-text")]
    body = []
    for line in lines:
        digits = line.column.digits
        cells = [f"<td>{_number(value, digits)}</td>" for value in (line.first, line.second)]
        cells.append(f"<td>{_signed(line.difference, digits)}</td>")
        better = escape(names[line.better - 1]) if line.better else MISSING
        cells.append(f'<td class="mb-text">{better} <small>{WORDS[line.column.direction]}</small></td>')
        body.append(f'<tr><th scope="row">{escape(line.column.header)}</th>{"".join(cells)}</tr>')
    return _table(f"{names[0]} and {names[1]} · {table_title(key)}", heads, body)


def method_html(board: Board, page: MethodPage) -> str:
    """Return a method's page: its place in the taxonomy, its source, and its row of every table."""
    papers = "".join(f' <a href="{escape(url)}" rel="noopener">{escape(url)}</a>' for url in page.papers)
    facts = {**{name: escape(word) for name, word in page.taxonomy.items()}, "Source": escape(page.source) + papers}
    parts = [f"<h3>{escape(page.title)}</h3><dl>"]
    parts += [f"<dt>{name}</dt><dd>{text}</dd>" for name, text in facts.items()]
    parts.append("</dl>")
    for source, title in (("full", "On the real data"), ("mini", "On the mini stand-ins")):
        results = [(key, row) for key, row in page.results if key.variant == source]
        if results:
            parts.append(_results_table(title, results, board))
    if not page.results:
        parts.append(message("There are no results of this method yet."))
    return f'<div class="mb-method">{"".join(parts)}</div>'


def _results_table(title: str, results: Sequence[tuple[TableKey, Row]], board: Board) -> str:
    """Return a method's rows of several tables below each other: rows of different tables are not comparable."""
    columns = list(dict.fromkeys(column for key, _ in results for column in board.columns(key)))
    columns.sort(key=lambda column: column.place)
    heads = [_head("Table"), _head("Verified"), *(_column_head(column) for column in columns), _head("Seeds")]
    body = [_row([best_rows(board.tables[key], each) for each in columns], row, columns, key) for key, row in results]
    return _table(title, heads, body)


def left_out_html(board: Board) -> str:
    """Return the files that are not shown, each with the reason."""
    if not board.left_out:
        return "<p>Every file was read.</p>"
    return _list("mb-notes", [f"{left.path}: {left.reason[:500]}" for left in board.left_out[:100]])


def download_link(text: str, name: str) -> str:
    """Return a link that saves a CSV; it holds the file itself, so that the server keeps none."""
    url = data_url("text/csv", text.encode())
    return f'<a class="mb-download" download="{escape(name)}" href="{url}">Download CSV</a>'


def _table(caption: str, heads: Sequence[str], body: Iterable[str]) -> str:
    # The caption stands outside of what scrolls, so that all of it is seen on a narrow screen.
    label = escape(caption)
    return (
        f'<p class="mb-caption" aria-hidden="true">{label}</p>'
        f'<div class="mb-scroll" role="region" tabindex="0" aria-label="{label}"><table aria-label="{label}">'
        f"<thead><tr>{''.join(heads)}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _head(text: str, name: str = "") -> str:
    return f'<th scope="col" class="{name}">{escape(text)}</th>'


def _column_head(column: Column, order: tuple[str, str] | None = None) -> str:
    words = WORDS[column.direction] + ("; stated, cannot be verified" if column.key in TIMES else "")
    sort, sign = (f' aria-sort="{order[0]}"', f" {order[1]}") if order else ("", "")
    name = escape(column.header) + "*" * (column.key in TIMES)
    return f'<th scope="col"{sort} title="{escape(words)}">{name} {column.arrow}{sign}</th>'


def _row(best: Sequence[set[str]], row: Row, columns: Sequence[Column], place: TableKey | None = None) -> str:
    """Return a row, named after its method or, on a method's own page, after its table.

    ``best`` holds the labels of each column's best rows.
    """
    group = row.group
    name, more = escape(method_title(group.method)), f"{escape(group.method)}{_differs(row)}"
    if place is not None:
        mini = " mini" if place.variant == "mini" else ""
        name, more = (
            escape(get_task(place.task).title) + mini,
            escape(f"{place.model} · {place.del_ratio}% deleted") + _differs(row),
        )
    status = "" if group.status == "ok" else f'<small class="mb-bad">{escape(group.status)}</small>'
    cells = [f'<th scope="row">{name} <small>{more}</small>{status}</th>', f'<td class="mb-text">{_verified(row)}</td>']
    for column, labels in zip(columns, best, strict=True):
        mark = ' class="mb-best"' if row.label in labels else ""
        cells.append(f'<td{mark} data-key="{escape(score_key(row, column))}">{_cell(row, column)}</td>')
    cells.append(f"<td>{escape(', '.join(map(str, group.seeds)))}</td>")
    return f'<tr data-method="{escape(row.label)}">{"".join(cells)}</tr>'


def _differs(row: Row) -> str:
    """Return what sets a row apart from the preset's, a setting at a time so that lines break between them."""
    parts = ['<span class="mb-external">external</span>'] * ("method" in row.group.external)
    parts += [f"<code>{escape(name)}={escape(str(value))}</code>" for name, value in row.group.differs.items()]
    parts += [f"submission <code>{escape(row.submission)}</code>"] * bool(row.submission)
    return "".join(f" · {part}" for part in parts)


def _cell(row: Row, column: Column) -> str:
    group, metric = row.group, get_task(row.group.task).metric
    cell = make_cell(group, column, metric)
    if cell.mean == MISSING:
        reasons = summary(row, column).reasons or (ONE_SEED,)
        return f'<span title="{escape("; ".join(reasons)[:300])}">{MISSING}</span>'
    text = cell.mean + (f" <small>{cell.std}</small>" if cell.std else "")
    if column.key == GAP:
        seeds, _ = gap_values(group, column, metric)
        each = ", ".join(f"seed {seed}: {value:.{column.digits}f}" for seed, value in seeds.items())
        text = f'<span title="{escape(each)}">{text}</span>'
    if cell.gap:
        found = row.group.gap_sample(score_key(row, column))
        ends = signed_interval(found.interval(), column.digits) if found else ""
        text += f' <small title="{escape(ends)}">({cell.gap})</small>'
    if cell.floor:
        text += f' <small title="two retrained models of different seeds: {FLOOR}">{cell.floor}</small>'
    if cell.count:
        text += f' <small title="mean over {cell.count.replace("/", " of ")} seeds">{cell.count}</small>'
    return text


def _verified(row: Row) -> str:
    if row.is_verified:
        return '<span class="mb-mark">✓ yes</span>'
    return f"{row.verified} of {len(row.group.seeds)}" if row.verified else "no"


def _number(value: float | None, digits: int) -> str:
    return MISSING if value is None else f"{value:.{digits}f}"


def _signed(value: float | None, digits: int) -> str:
    return MISSING if value is None else signed(value, digits)


def _list(name: str, lines: Iterable[str]) -> str:
    return f'<ul class="{name}">{"".join(f"<li>{escape(line)}</li>" for line in lines)}</ul>'
