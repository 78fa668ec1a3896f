"""Causal language models. The tiny ones have byte-pair tokenizers."""

from __future__ import annotations

from typing import Any

from mubench_hf.models.architectures._bpe import EOS_ID, PAD_ID, TOKENS, VOCABULARY, bpe_tokenizer
from mubench_hf.models.architectures._parts import maker
from mubench_hf.models.registry import Architecture, Scale

TINY = {
    "vocab_size": VOCABULARY,
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "max_position_embeddings": TOKENS,
    "attention_dropout": 0.0,
    "tie_word_embeddings": True,
    "pad_token_id": PAD_ID,
    "bos_token_id": EOS_ID,
    "eos_token_id": EOS_ID,
}


LLAMA_CHAT = (
    "{% for message in messages %}{% if message['role'] == 'user' %}"
    "{{ bos_token + '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% else %}{{ ' ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
)
PHI_CHAT = (
    "{% for message in messages %}{% if message['role'] == 'user' %}{{ 'Question: ' + message['content'] + '\n' }}"
    "{% else %}{{ 'Answer: ' + message['content'] + eos_token }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ 'Answer:' }}{% endif %}"
)
"""How the reference asks these models; Zephyr's tokenizer has a template of its own. The tiny models have none."""


def _language(name: str, title: str, config: str, scales: dict[str, Scale], **tiny: Any) -> Architecture:
    return Architecture(
        name,
        title,
        modality="text",
        kind="causal_lm",
        auto_class="AutoModelForCausalLM",
        scales=scales,
        config=maker(config),
        tiny_config=maker(config, **TINY, **tiny),
        tiny_processor=bpe_tokenizer,
    )


ARCHITECTURES = (
    _language(
        "llama-2",
        "Llama 2",
        "LlamaConfig",
        {
            "7b-chat": Scale(
                # The reference's copy, which anyone can fetch: meta-llama's own asks for a licence agreement first.
                "NousResearch/Llama-2-7b-chat-hf",
                6_738_415_616,
                "llama2",
                {"max_position_embeddings": 4096, "rms_norm_eps": 1e-5},
                revision="351844e75ed0bcbbe3f10671b3c808d2b83894ee",
                processor_options={"chat_template": LLAMA_CHAT},
            )
        },
    ),
    _language(
        "phi",
        "Phi",
        "PhiConfig",
        {
            "1.5": Scale(
                "microsoft/phi-1_5",
                1_418_270_720,
                "mit",
                revision="675aa382d814580b22651a30acb1a585d7c25963",
                processor_options={"chat_template": PHI_CHAT},
            )
        },
    ),
    _language(
        "zephyr",
        "Zephyr (Mistral)",
        "MistralConfig",
        {
            "7b-beta": Scale(
                "HuggingFaceH4/zephyr-7b-beta",
                7_241_732_096,
                "mit",
                {"max_position_embeddings": 32_768, "rms_norm_eps": 1e-5},
                revision="892b3d7a7b1cf10c7a701c60881cd93df615734c",
            )
        },
        num_key_value_heads=2,
        head_dim=16,
    ),
)
