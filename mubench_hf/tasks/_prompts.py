"""Instruction and answer as one list of tokens: by the tokenizer's chat template if it has one, else line by line."""

from __future__ import annotations

from typing import Any

from mubench_hf.errors import BadInput

IGNORED = -100
"""Label of a token that is given, not written."""


def instructed(
    tokenizer: Any, instruction: str, answer: str, *, prompt_tokens: int, answer_tokens: int, chat: bool = True
) -> dict[str, list[int]]:
    """Return ``input_ids``, ``attention_mask`` and ``labels``, which are -100 up to the answer, all of one length.

    A chat model is asked as it was trained to be: the instruction is a user's message and the answer the assistant's,
    up to the end token. Without a template a row is instruction, line break, answer and end.

    Args:
        tokenizer: The model's tokenizer.
        instruction: What is asked.
        answer: What is to be written.
        prompt_tokens: Most tokens before the answer; a longer instruction is cut off, what a template adds is not.
        answer_tokens: Most tokens of the answer with its end.
        chat: Whether a chat template is used if there is one.

    Raises:
        BadInput: If there is no end token, or the template cannot be used.
    """
    if tokenizer.eos_token_id is None:
        raise BadInput("The model's tokenizer has no end-of-sequence token, so an answer has no end. Set eos_token.")
    if chat and getattr(tokenizer, "chat_template", None):
        prompt, target = _chatted(tokenizer, instruction, answer, prompt_tokens)
    else:
        prompt = tokenizer(instruction + "\n", truncation=True, max_length=prompt_tokens)["input_ids"]
        # No start token in the middle of a row.
        target = tokenizer(answer, add_special_tokens=False, truncation=True, max_length=answer_tokens - 1)["input_ids"]
    # The last place is for the end token.
    target = [*target[: answer_tokens - 1], tokenizer.eos_token_id]
    ids = [*prompt, *target]
    return {"input_ids": ids, "attention_mask": [1] * len(ids), "labels": [IGNORED] * len(prompt) + target}


def _chatted(tokenizer: Any, instruction: str, answer: str, most: int) -> tuple[list[int], list[int]]:
    """Return the tokens before the answer, and the answer's without its end."""
    prompt = _applied(tokenizer, instruction)
    if len(prompt) > most:
        words = tokenizer(instruction, add_special_tokens=False)["input_ids"]
        kept = len(words) - (len(prompt) - most)
        if kept < 1:
            raise BadInput(f"The chat template alone takes more than the {most} tokens that a prompt may have.")
        instruction = tokenizer.decode(words[:kept])
        prompt = _applied(tokenizer, instruction)
    whole = _applied(tokenizer, instruction, answer)
    if whole[: len(prompt)] != prompt:
        raise BadInput(
            "The tokenizer's chat template begins a chat otherwise once it has an answer, so it does not tell which "
            "tokens are the answer. Set tokenizer.chat_template = None and save the tokenizer to do without."
        )
    target = whole[len(prompt) :]
    return prompt, target[: target.index(tokenizer.eos_token_id)] if tokenizer.eos_token_id in target else target


def _applied(tokenizer: Any, instruction: str, answer: str | None = None) -> list[int]:
    messages = [{"role": "user", "content": instruction}]
    if answer is not None:
        messages.append({"role": "assistant", "content": answer})
    try:
        made = tokenizer.apply_chat_template(messages, add_generation_prompt=answer is None, return_dict=True)
    except Exception as error:  # A template is a program, and raises whatever it likes.
        said = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadInput(f"The tokenizer's chat template cannot be applied: {said}") from error
    return list(made["input_ids"])
