"""Space that computes `mia_loss_auc` from inputs typed as JSON."""

import json
from pathlib import Path

import evaluate
import gradio as gr
from evaluate.utils import parse_readme

FOLDER = Path(__file__).parent
EXAMPLE = """{
    "predictions": [[3.0, 0.0], [0.0, 2.0], [0.5, 0.0], [4.0, 0.0], [0.0, 5.0], [1.0, 0.0], [0.0, 0.3], [0.2, 0.0]],
    "references": [0, 1, 1, 0, 1, 0, 1, 1],
    "groups": ["forget", "forget", "forget", "retain", "retain", "test", "test", "test"]
}"""

metric = evaluate.load(str(FOLDER / "mia_loss_auc.py"))


def compute(inputs: str) -> dict:
    try:
        return metric.compute(**json.loads(inputs))
    except (TypeError, ValueError) as error:  # shown to the visitor in place of a stack trace
        raise gr.Error(str(error)) from error


demo = gr.Interface(
    fn=compute,
    inputs=gr.Code(EXAMPLE, language="json", label="Inputs"),
    outputs=gr.JSON(label="Result"),
    title="mia_loss_auc",
    description=metric.description,
    article=parse_readme(FOLDER / "README.md"),
    flagging_mode="never",
)

if __name__ == "__main__":
    demo.launch()
