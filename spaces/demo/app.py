"""See a model forget: pick a deleted row and compare the original, the retrained and each unlearned model on it."""

from __future__ import annotations

import os
import random
from functools import lru_cache
from pathlib import Path
from typing import Any

import gradio as gr
import pandas as pd

from mubench_hf.demo import Bench, DemoRuns
from mubench_hf.demo.panels import CSS, alert, answers_panel, sample_panel
from mubench_hf.errors import BadInput
from mubench_hf.overview import method_rows
from mubench_hf.tasks import get_task, list_tasks
from mubench_hf.trainers import list_methods

SPLITS = {"Deleted (D_f)": "forget", "Kept (D_r)": "retain", "Never trained on (test)": "test"}
RATIOS = list(range(1, 11))
FILES, TEXTS = 2, 4
"""Most files and texts that a row of one's own consists of, over all tasks."""
ALL_METHODS = ["original", *list_methods()]

RUNS = DemoRuns.local(os.environ["MUBENCH_RUNS"]) if os.environ.get("MUBENCH_RUNS") else DemoRuns.hub(
    os.environ.get("MUBENCH_ORG", "mubench")
)  # fmt: skip


@lru_cache(maxsize=4)
def bench(task: str, ratio: int) -> Bench:
    """Return a task's rows and models; those of the last few are kept."""
    return RUNS.bench(task, ratio)


def title(task: str) -> str:
    """Return the task's name for people."""
    return get_task(task).title


def ask(bench: Bench, methods: list[str], sample: Any, progress: gr.Progress) -> str:
    """Return what each model says of a row."""
    if not methods:
        return alert("Choose at least one model above.")
    answers = [bench.answer(method, sample) for method in progress.tqdm(methods, desc="Asking the models")]
    return answers_panel(answers, sample, bench.sentence(answers))


def look(task, ratio, methods, split, row, progress=gr.Progress()) -> tuple[str, str]:
    """Show a row of the data set and what the models say of it; rows are counted from 1."""
    try:
        chosen = bench(task, ratio)
        sample = chosen.sample(SPLITS[split], int(row or 0) - 1)
        return sample_panel(sample), ask(chosen, methods, sample, progress)
    except BadInput as error:
        return "", alert(str(error))


def bring(task, ratio, methods, *values, progress=gr.Progress()) -> tuple[str, str]:
    """Show a row of one's own and what the models say of it."""
    try:
        chosen = bench(task, ratio)
        sample = chosen.own(own_values(chosen, values))
        return sample_panel(sample), ask(chosen, methods, sample, progress)
    except BadInput as error:
        return "", alert(str(error))


def slots(bench: Bench) -> list[Any]:
    """Return which input of the task each upload and each text box is for, ``None`` where for none."""
    files = [field for field in bench.inputs if field.medium in ("image", "audio", "video")]
    texts = [field for field in bench.inputs if field.medium == "text"]
    choices = [field for field in bench.inputs if field.medium == "choice"]
    pad = lambda fields, size: [*fields, *[None] * (size - len(fields))]  # noqa: E731
    return [*pad(files, FILES), *pad(texts, TEXTS), *pad(choices, 1)]


def own_values(bench: Bench, values: tuple[Any, ...]) -> dict[str, Any]:
    """Return the inputs of one's own by name; an empty box is no input."""
    return {field.name: value for field, value in zip(slots(bench), values, strict=True) if field and value}


def choose(task, ratio, chosen) -> list[Any]:
    """Offer what there is for a task: its ratios, methods, rows and boxes for one's own."""
    ratios = RUNS.ratios(task)
    ratio = ratio if ratio in ratios else ratios[0]
    methods, there = RUNS.methods(task, ratio), bench(task, ratio)
    kept = [method for method in methods if method in chosen] or methods
    own = [
        gr.update(visible=field is not None, value=None, **({"label": field.label} if field else {}))
        | ({"choices": list(field.choices)} if field and field.medium == "choice" else {})
        for field in slots(there)
    ]
    heading = f"### {there.title}"
    return [gr.update(choices=ratios, value=ratio), gr.update(choices=methods, value=kept), 1, heading, plot(task, ratio), *own]


def plot(task: str, ratio: int) -> pd.DataFrame:
    """Return one line a run: its score on D_f and on the test set."""
    metric = get_task(task).metric
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
    return pd.DataFrame(rows, columns=["Method", "Score on D_f", "Score on test", "Seed", "Gap to retrained"]).round(3)


def step(task, ratio, split, row, by: int) -> int:
    """Return the number of the row ``by`` places on, around the end; 0 draws one."""
    count = bench(task, ratio).count(SPLITS[split])
    return random.randint(1, count) if by == 0 else (int(row or 1) - 1 + by) % count + 1


def taxonomy() -> str:
    """Return the table of methods as Markdown."""
    header, *rows = method_rows()
    return "\n".join(f"| {' | '.join(cells)} |" for cells in [header, ["---"] * len(header), *rows])


def build() -> gr.Blocks:
    """Return the page.

    Raises:
        BadInput: If there are no runs to look at.
    """
    tasks = RUNS.tasks()
    with gr.Blocks(title="See a model forget") as page:
        gr.Markdown("# See a model forget\nPick a row that was deleted from training, and ask the models before and after.")
        with gr.Row():
            task = gr.Dropdown([(title(name), name) for name in list_tasks() if name in tasks], label="Task", value=tasks[0])
            ratio = gr.Dropdown(RATIOS, label="Deleted, % of train", value=RUNS.ratios(tasks[0])[0])
        methods = gr.CheckboxGroup(ALL_METHODS, label="Models", value=RUNS.methods(tasks[0], RUNS.ratios(tasks[0])[0]))
        heading = gr.Markdown()
        with gr.Tab("Try it"):
            with gr.Row():
                split = gr.Radio(list(SPLITS), value="Deleted (D_f)", label="Row from")
                row = gr.Number(1, precision=0, label="Row number", minimum=1)
            with gr.Row():
                before, after, draw = gr.Button("Previous"), gr.Button("Next"), gr.Button("Any")
            with gr.Accordion("Bring your own", open=False):
                files = [gr.File(label="File", visible=False, height=140) for _ in range(FILES)]
                texts = [gr.Textbox(label="Text", visible=False, lines=2, max_lines=8) for _ in range(TEXTS)]
                truth = gr.Dropdown([], label="Truth", visible=False)
                own = [*files, *texts, truth]
                send = gr.Button("Ask the models", variant="primary")
            shown, said = gr.HTML(label="The row"), gr.HTML(label="What the models say")
        with gr.Tab("Forgetting against utility"):
            gr.Markdown(
                "Each point is one run. A good method lies where the retrained model lies: as little of D_f known, as "
                "much of the test set."
            )
            points = gr.ScatterPlot(
                x="Score on D_f", y="Score on test", color="Method", tooltip="all", height=420, label="Runs"
            )
        with gr.Tab("How it works"):
            gr.Markdown(Path(__file__).with_name("how_it_works.md").read_text(encoding="utf-8") + "\n\n" + taxonomy())
        wire(page, task, ratio, methods, heading, split, row, before, after, draw, own, send, shown, said, points)
    return page


def wire(page, task, ratio, methods, heading, split, row, before, after, draw, own, send, shown, said, points) -> None:
    """Say what happens when."""
    where, answer = [task, ratio, methods, split, row], [shown, said]
    offer, offered = [task, ratio, methods], [ratio, methods, row, heading, points, *own]
    asking = {"concurrency_id": "models", "concurrency_limit": 1}
    quiet = {"show_progress": "hidden", "api_visibility": "private"}
    for event in (page.load, task.input, ratio.input):
        event(choose, offer, offered, **quiet).then(look, where, answer, **asking, api_visibility="private")
    gr.on([methods.input, split.input, row.submit, row.blur], look, where, answer, **asking, api_name="look")
    for button, by in ((before, -1), (after, 1), (draw, 0)):
        moved = button.click(lambda *at, by=by: step(*at, by=by), [task, ratio, split, row], row, **quiet)
        moved.then(look, where, answer, **asking, api_visibility="private")
    send.click(bring, [task, ratio, methods, *own], answer, **asking, api_name="bring")


if __name__ == "__main__":
    opens = bool(os.environ.get("MUBENCH_OPEN"))
    build().queue(max_size=64).launch(css=CSS, max_file_size="50mb", footer_links=[], inbrowser=opens)
