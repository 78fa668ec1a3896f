"""The leaderboard: methods side by side, for each task, data source, model and deletion ratio."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import gradio as gr

from mubench_hf.errors import BadInput
from mubench_hf.leaderboard.board import Board, TableKey, read_board
from mubench_hf.leaderboard.pages import (
    CSS,
    board_table,
    comparison_table,
    download_link,
    left_out_html,
    message,
    method_html,
)
from mubench_hf.leaderboard.plot import plot_html
from mubench_hf.leaderboard.reading import RESULTS
from mubench_hf.leaderboard.views import arrange, csv_text, find_row, method_page, methods_of, row_title, side_by_side
from mubench_hf.results.columns import Column
from mubench_hf.tasks import get_task

WHERE = os.environ.get("MUBENCH_RESULTS", RESULTS)
OWN_ORDER = "the table's own order"
SECONDS_BETWEEN_READS = 3

INTRO = """# MU-Bench leaderboard
Machine unlearning removes the influence of some training rows, D_f, from a model and keeps what it knows of the rest,
D_r. The reference is a model retrained without D_f: the closer to it, the better, at a part of its time.
[Paper](https://arxiv.org/abs/2406.14796)"""

ABOUT = (Path(__file__).parent / "about.md").read_text(encoding="utf-8")


class Shelf:
    """The board as it was read last, for all visitors."""

    def __init__(self, where: str):
        self.where, self.board, self.error, self.read_at, self.lock = where, Board({}), "", 0.0, threading.Lock()

    def read(self) -> None:
        """Read it anew, unless that was done a moment ago; if it fails, what was there stays."""
        with self.lock:
            if self.read_at and time.monotonic() - self.read_at < SECONDS_BETWEEN_READS:
                return
            try:
                self.board, self.error = read_board(self.where), ""
            except BadInput as error:
                self.error = str(error)
            self.read_at = time.monotonic()

    def state(self) -> str:
        """Return what is shown, or why nothing is."""
        if self.error:
            return message(f"The results cannot be read. {self.error}")
        if not self.board.tables:
            return message(f"There are no results in {self.where} yet.")
        rows = sum(len(rows) for rows in self.board.tables.values())
        left = f", {len(self.board.left_out)} files left out, listed below" if self.board.left_out else ""
        return f"<p>{rows} rows in {len(self.board.tables)} tables{left}.</p>"


shelf = Shelf(WHERE)


def tasks() -> list[tuple[str, str]]:
    """Return (label, value) of every task and source there are results of."""
    found = dict.fromkeys((key.task, key.variant) for key in shelf.board.tables)
    return [
        (get_task(task).title + (" mini (stand-in)" if source == "mini" else ""), f"{task} {source}")
        for task, source in found
    ]


def keys_of(task: str | None, model: str | None = None) -> list[TableKey]:
    """Return the tables of a task and source, and of a model where one is given."""
    keys = [key for key in shelf.board.tables if f"{key.task} {key.variant}" == task]
    return [key for key in keys if model is None or key.model == model]


def ratio_of(key: TableKey) -> int | str:
    """Return what chooses a table of a task and model: its ratio, and whose retrained models it compares with."""
    return f"{key.del_ratio} {key.references}" if key.references else key.del_ratio


def key_of(task: str | None, model: str | None, ratio: int | str | None) -> TableKey:
    """Return the table that is chosen.

    Raises:
        BadInput: If there is none.
    """
    for key in keys_of(task, model):
        if ratio_of(key) == ratio:
            return key
    raise BadInput("There is no such table. Choose task, model and deletion ratio above.")


def choices(values: list, chosen: object = None) -> dict:
    """Return an update of a selector: what can be chosen, and what was, if it still can be."""
    plain = [value[1] if isinstance(value, tuple) else value for value in values]
    return gr.update(choices=values, value=chosen if chosen in plain else next(iter(plain), None))


def reload(task: str | None, method: str | None) -> tuple:
    """Read the results anew."""
    shelf.read()
    return shelf.state(), choices(tasks(), task), left_out_html(shelf.board), choices(methods_of(shelf.board), method)


def choose_task(task: str | None, model: str | None) -> dict:
    """Offer the models of a task."""
    return choices(list(dict.fromkeys(key.model for key in keys_of(task))), model)


def choose_model(task: str | None, model: str | None, ratio: int | str | None) -> dict:
    """Offer the deletion ratios of a model."""
    keys = keys_of(task, model)
    named = [f"{key.del_ratio}%" + (f", submission {key.references}" if key.references else "") for key in keys]
    return choices(list(zip(named, map(ratio_of, keys), strict=True)), ratio)


def choose_table(task: str | None, model: str | None, ratio: int | str | None, by: str, a: str, b: str) -> tuple:
    """Offer the columns and methods of a table."""
    try:
        key = key_of(task, model, ratio)
    except BadInput:
        return gr.update(choices=[], value=[]), choices([OWN_ORDER]), choices([]), choices([])
    headers = [column.header for column in shelf.board.columns(key)]
    methods = [(row_title(row), row.label) for row in shelf.board.tables[key]]
    names = [value for _, value in methods]
    other = b if b in names and b != a else next((name for name in reversed(names) if name != a), None)
    return (
        gr.update(choices=headers, value=headers),
        choices([OWN_ORDER, *headers], by),
        choices(methods, a),
        choices(methods, other),
    )


def named(key: TableKey, headers: list[str]) -> list[Column]:
    """Return the columns of these headers, in the table's order."""
    return [column for column in shelf.board.columns(key) if column.header in headers]


def show_table(task, model, ratio, text: str, by: str, down: bool, headers: list[str]) -> tuple:
    """Show the table, the link to its CSV and the plot."""
    try:
        key = key_of(task, model, ratio)
    except BadInput as error:
        return message(str(error)), "", message(str(error))
    every, columns = shelf.board.tables[key], named(key, headers)
    sort = next((column for column in shelf.board.columns(key) if column.header == by), None)
    rows = arrange(every, text, sort, down)
    name = f"{key.task}-{key.variant}-{key.model}-df{key.del_ratio}pct.csv"
    table = board_table(key, every, rows, columns, sort, down)
    return table, download_link(csv_text(rows, columns), name), plot_html(key, every)


def show_comparison(task, model, ratio, a: str | None, b: str | None) -> str:
    """Show two methods side by side."""
    try:
        key = key_of(task, model, ratio)
        first, second = (find_row(shelf.board, key, str(name)) for name in (a, b))
    except BadInput as error:
        return message(str(error))
    return comparison_table(key, first, second, side_by_side(first, second, shelf.board.columns(key)))


def show_method(method: str) -> str:
    """Show the page of a method."""
    return method_html(shelf.board, method_page(shelf.board, method))


def html(name: str) -> gr.HTML:
    """Return a place for HTML that is styled by this app alone."""
    return gr.HTML(elem_id=name, apply_default_css=False)


with gr.Blocks(title="MU-Bench leaderboard") as demo:
    gr.Markdown(INTRO)
    with gr.Row():
        task = gr.Dropdown([], label="Task and data", elem_id="task", min_width=280)
        model = gr.Dropdown([], label="Model", elem_id="model", min_width=280)
        ratio = gr.Dropdown([], label="Deleted share of the train set", elem_id="ratio", min_width=280)
    with gr.Row():
        state = html("state")
        again = gr.Button("Reload", elem_id="reload", scale=0, size="sm")
    with gr.Tabs():
        with gr.Tab("Table"):
            with gr.Row():
                text = gr.Textbox(label="Filter methods", max_length=100, elem_id="filter", min_width=280)
                by = gr.Dropdown([OWN_ORDER], value=OWN_ORDER, label="Sort by", elem_id="sort", min_width=280)
                order = [("Smallest first", False), ("Largest first", True)]
                down = gr.Radio(order, value=False, label="Order", elem_id="order", min_width=280)
            with gr.Accordion("Columns", open=False):
                headers = gr.CheckboxGroup([], label="Columns to show", elem_id="columns")
            table, link = html("table"), html("download")
        with gr.Tab("Plot"):
            picture = html("plot")
        with gr.Tab("Compare"):
            with gr.Row():
                first = gr.Dropdown([], label="First method", elem_id="first", min_width=280)
                second = gr.Dropdown([], label="Second method", elem_id="second", min_width=280)
            comparison = html("comparison")
        with gr.Tab("Methods"):
            method = gr.Dropdown(methods_of(shelf.board), label="Method", elem_id="method")
            page = html("page")
    with gr.Accordion("Files left out", open=False):
        left_out = html("left-out")
    with gr.Accordion("About, and how to submit", open=False):
        gr.Markdown(ABOUT)

    chosen = [task, model, ratio]
    shown = dict(fn=show_table, inputs=[*chosen, text, by, down, headers], outputs=[table, link, picture])
    compared = dict(fn=show_comparison, inputs=[*chosen, first, second], outputs=comparison)
    paged = dict(fn=show_method, inputs=method, outputs=page)
    for start in (demo.load, again.click):
        step = start(reload, [task, method], [state, task, left_out, method])
        step = step.then(choose_task, [task, model], model).then(choose_model, chosen, ratio)
        step = step.then(choose_table, [*chosen, by, first, second], [headers, by, first, second])
        step.then(**shown).then(**compared).then(**paged)
    steps = {task.input: [(choose_task, [task, model], model), (choose_model, chosen, ratio)],
             model.input: [(choose_model, chosen, ratio)], ratio.input: []}  # fmt: skip
    for start, before in steps.items():
        step = start(lambda: None)
        for function, inputs, outputs in before:
            step = step.then(function, inputs, outputs)
        step.then(choose_table, [*chosen, by, first, second], [headers, by, first, second]).then(**shown).then(
            **compared
        )
    gr.on([text.change, by.input, down.input, headers.input], **shown)
    gr.on([first.input, second.input], **compared)
    gr.on([method.input], **paged)

if __name__ == "__main__":
    shelf.read()
    demo.queue(default_concurrency_limit=4, max_size=200).launch(
        css=CSS, footer_links=["settings"], max_file_size="1kb"
    )
