"""See a model forget: pick a deleted row and compare the original, the retrained and each unlearned model on it."""

from __future__ import annotations

import os
import random
from functools import partial
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd
from transformers.utils import logging

from mubench_hf.commands.list import markdown
from mubench_hf.demo import Bench, DemoRuns, Field
from mubench_hf.demo.panels import CSS, alert, answers_panel, sample_panel
from mubench_hf.errors import BadInput
from mubench_hf.trainers import list_methods

PLACES = {"Deleted (D_f)": "forget", "Kept (D_r)": "retain", "Never trained on (test)": "test"}
STEPS = {"Previous": -1, "Next": 1, "Any": 0}
FILES, TEXTS = 2, 4
"""Most files and texts that a row of one's own consists of, over all tasks."""
ALL_METHODS = ["original", *list_methods()]

AXES = ("Score on D_f", "Score on test")
PROGRESS = gr.Progress()
"""Gradio puts one of its own in the place of a default like this."""

RUNS = DemoRuns.local(os.environ["MUBENCH_RUNS"]) if os.environ.get("MUBENCH_RUNS") else DemoRuns.hub(
    os.environ.get("MUBENCH_ORG", "mubench")
)  # fmt: skip


def ask(bench: Bench, methods: list[str], sample: Any, progress: gr.Progress) -> str:
    """Return what each model says of a row."""
    if not methods:
        return alert("Choose at least one model above.")
    answers = [bench.answer(method, sample) for method in progress.tqdm(methods, desc="Asking the models")]
    return answers_panel(answers, sample, bench.sentence(answers))


def look(task, ratio, methods, split, row, progress=PROGRESS) -> tuple[str, str]:
    """Show a row of the data set and what the models say of it; rows are counted from 1."""
    try:
        chosen = RUNS.bench(task, ratio)
        count = chosen.count(PLACES[split])
        if row is None or not 1 <= row <= count:
            return "", alert(f"There is no row {row}. Allowed: a whole number from 1 to {count}.")
        sample = chosen.sample(PLACES[split], int(row) - 1)
        return sample_panel(sample), ask(chosen, methods, sample, progress)
    except BadInput as error:
        return "", alert(str(error))


def bring(task, ratio, methods, *values, progress=PROGRESS) -> tuple[str, str]:
    """Show a row of one's own and what the models say of it."""
    try:
        chosen = RUNS.bench(task, ratio)
        sample = chosen.own(own_values(chosen, values))
        return sample_panel(sample), ask(chosen, methods, sample, progress)
    except BadInput as error:
        return "", alert(str(error))


def slots(bench: Bench) -> list[Any]:
    """Return which input of the task each upload and each text box is for, ``None`` where for none.

    A task with more inputs than there are boxes has none: then only its own rows can be looked at.
    """
    files = [field for field in bench.inputs if field.medium in ("image", "audio", "video")]
    texts = [field for field in bench.inputs if field.medium == "text"]
    choices = [field for field in bench.inputs if field.medium == "choice"]
    boxes = ((files, FILES), (texts, TEXTS), (choices, 1))
    if any(len(fields) > size for fields, size in boxes):
        return [None] * (FILES + TEXTS + 1)
    return [field for fields, size in boxes for field in [*fields, *[None] * (size - len(fields))]]


def own_values(bench: Bench, values: tuple[Any, ...]) -> dict[str, Any]:
    """Return the inputs of one's own by name; an empty box is no input."""
    return {field.name: value for field, value in zip(slots(bench), values, strict=True) if field and value}


def choose(task, ratio, chosen) -> list[Any]:
    """Offer what there is for a task: its ratios, methods, rows and boxes for one's own."""
    ratios = RUNS.ratios(task)
    ratio = ratio if ratio in ratios else ratios[0]
    methods, there = RUNS.methods(task, ratio), RUNS.bench(task, ratio)
    kept = [method for method in methods if method in chosen] or methods
    # Where the rows to forget were named, there is no ratio to choose.
    offered = [
        gr.update(choices=[each for each in ratios if each], value=ratio, visible=ratio is not None),
        gr.update(choices=methods, value=kept),
    ]
    return [*offered, 1, f"### {there.title}", *plot(task, ratio), *map(box, slots(there))]


def box(field: Field | None) -> Any:
    """Return what becomes of an upload or text box: it asks for an input of the task, or there is none for it."""
    if field is None:
        return gr.update(visible=False, value=None)
    offered = {"text": {"placeholder": field.example}, "choice": {"choices": list(field.choices)}}
    label = f"{field.label} (may be left out)" if field.optional else field.label
    return gr.update(visible=True, value=None, label=label, **offered.get(field.medium, {}))


def plot(task: str, ratio: int | None) -> tuple[Any, pd.DataFrame]:
    """Return all runs by their scores on D_f and on the test set, as a plot with some room, and a table."""
    metric = RUNS.bench(task, ratio).task.metric
    rows = [
        {
            "Method": result.method,
            "Score on D_f": result.scores[f"forget_{metric}"],
            "Score on test": result.scores[f"test_{metric}"],
            "Seed": result.seed,
            "Gap to retrained": result.scores.get("average_gap"),
        }
        for result in RUNS.results(task, ratio)
        if result.scores.get(f"forget_{metric}") is not None
    ]
    points = pd.DataFrame(rows, columns=["Method", *AXES, "Seed", "Gap to retrained"]).round(3)
    limits = ([points[axis].min() - 0.03, points[axis].max() + 0.03] for axis in AXES)
    return gr.update(value=points, **dict(zip(("x_lim", "y_lim"), limits, strict=True))), points


def step(by: int, task, ratio, split, row) -> int:
    """Return the number of the row ``by`` places on, around the end; 0 draws one."""
    count = RUNS.bench(task, ratio).count(PLACES[split])
    return random.randint(1, count) if by == 0 else (int(row or 1) - 1 + by) % count + 1


class Page:
    """The page: its parts, and what happens when.

    Raises:
        BadInput: If there are no runs to look at.
    """

    def __init__(self) -> None:
        tasks = RUNS.tasks()
        ratios = RUNS.ratios(tasks[0])
        with gr.Blocks(title="See a model forget") as self.blocks:
            gr.Markdown("# See a model forget\nPick a row that was deleted from training, and ask the models.")
            with gr.Row():
                self.task = gr.Dropdown(tasks, label="Task", value=tasks[0], min_width=280)
                ten = list(range(1, 11))
                self.ratio = gr.Dropdown(
                    ten, label="Deleted, % of train", value=ratios[0], visible=ratios[0] is not None, min_width=280
                )
            self.methods = gr.CheckboxGroup(ALL_METHODS, label="Models", value=RUNS.methods(tasks[0], ratios[0]))
            self.heading = gr.Markdown()
            with gr.Tab("Try it"):
                self.add_rows()
            with gr.Tab("Forgetting against utility"):
                gr.Markdown("Each point is one run. A good method lies where the retrained model lies.")
                self.points = gr.ScatterPlot(
                    x=AXES[0], y=AXES[1], color="Method", tooltip="all", height=460, label="Runs"
                )
                self.numbers = gr.Dataframe(label="Their numbers", interactive=False)
            with gr.Tab("How it works"):
                gr.Markdown(Path(__file__).with_name("how_it_works.md").read_text(encoding="utf-8"))
                gr.Markdown(markdown("methods"), elem_classes="mu-methods")
            self.add_events()

    def add_rows(self) -> None:
        """Add what one picks a row with, or brings one's own, and where the row and the answers appear."""
        with gr.Row():
            self.split = gr.Radio(list(PLACES), value="Deleted (D_f)", label="Row from", min_width=280)
            self.row = gr.Number(1, precision=0, label="Row number", minimum=1)
        with gr.Row():
            self.steps = {by: gr.Button(name, size="sm", min_width=80) for name, by in STEPS.items()}
        with gr.Accordion("Bring your own", open=False):
            files = [gr.File(label="File", visible=False, height=140) for _ in range(FILES)]
            texts = [gr.Textbox(label="Text", visible=False, lines=2, max_lines=8) for _ in range(TEXTS)]
            self.own = [*files, *texts, gr.Dropdown([], label="Truth", visible=False)]
            self.send = gr.Button("Ask the models", variant="primary")
        self.shown, self.said = gr.HTML(label="The row"), gr.HTML(label="What the models say")

    def add_events(self) -> None:
        """Say what happens when."""
        offer = [self.task, self.ratio, self.methods]
        offered = [self.ratio, self.methods, self.row, self.heading, self.points, self.numbers, *self.own]
        where, answer = [*offer, self.split, self.row], [self.shown, self.said]
        # One question at a time, and of those of one person that wait, only the last.
        asking = {"concurrency_id": "models", "concurrency_limit": 1, "trigger_mode": "always_last"}
        quiet = {"show_progress": "hidden", "api_visibility": "private"}
        changes = [self.methods.input, self.split.input, self.row.submit, self.row.blur]
        # First, for names of the API are given in order.
        gr.on(changes, look, where, answer, **asking, api_name="look")
        for event in (self.blocks.load, self.task.input, self.ratio.input):
            event(choose, offer, offered, **quiet).then(look, where, answer, **asking, api_visibility="private")
        for by, button in self.steps.items():
            moved = button.click(partial(step, by), [self.task, self.ratio, self.split, self.row], self.row, **quiet)
            moved.then(look, where, answer, **asking, api_visibility="private")
        self.send.click(bring, [*offer, *self.own], answer, **asking, api_name="bring")


if __name__ == "__main__":
    logging.disable_progress_bar()  # One for each model that is loaded.
    opens = bool(os.environ.get("MUBENCH_OPEN"))
    Page().blocks.queue(max_size=64).launch(css=CSS, max_file_size="50mb", footer_links=[], inbrowser=opens)
