"""Space that computes a metric from inputs typed as JSON; the card's title says which one, its example what to type."""

import ast
import doctest
import json
from pathlib import Path

import evaluate
import gradio as gr
from evaluate.utils import parse_readme
from huggingface_hub import RepoCard

CARD = Path(__file__).parent / "README.md"
NAME = RepoCard.load(CARD).data["title"]

metric = evaluate.load(str(CARD.with_name(f"{NAME}.py")))


def example(card: str) -> str:
    """Return the inputs of the first `metric.compute(...)` of a card, one argument per line."""
    steps = doctest.DocTestParser().get_examples(card)
    nodes = (node for step in steps for node in ast.walk(ast.parse(step.source)) if isinstance(node, ast.Call))
    call = next(node for node in nodes if getattr(node.func, "attr", None) == "compute")
    inputs = {argument.arg: ast.literal_eval(argument.value) for argument in call.keywords}
    return "{\n" + ",\n".join(f"    {json.dumps(name)}: {json.dumps(value)}" for name, value in inputs.items()) + "\n}"


def compute(inputs: str) -> dict:
    try:
        return metric.compute(**json.loads(inputs))
    except (TypeError, ValueError) as error:  # Shown to the visitor in place of a stack trace.
        raise gr.Error(str(error)) from error


demo = gr.Interface(
    fn=compute,
    inputs=gr.Code(example(CARD.read_text(encoding="utf-8")), language="json", label="Inputs"),
    outputs=gr.JSON(label="Result"),
    title=NAME,
    description=metric.description,
    article=parse_readme(CARD),
    flagging_mode="never",
)

if __name__ == "__main__":
    demo.launch()
