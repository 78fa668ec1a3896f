"""Speech classifiers. Tiny configurations are for one second at 16 kHz, 16,000 samples.

Only a feature extractor prepares the rows: some of these checkpoints have no tokenizer, which a full processor needs.
"""

from __future__ import annotations

from typing import Any

from mubench_hf.models.architectures._parts import LARGE, maker, without_texts
from mubench_hf.models.registry import Architecture, Scale

SAMPLING_RATE = 16_000
NO_DROPOUT = {
    name: 0.0
    for name in ("hidden_dropout", "attention_dropout", "activation_dropout", "feat_proj_dropout", "final_dropout")
}
TINY_ENCODER = {
    "hidden_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 128,
    "classifier_proj_size": 64,
    "conv_dim": (16, 32, 64),
    "conv_kernel": (40, 8, 4),
    "conv_stride": (20, 8, 4),
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
    "feat_extract_norm": "layer",
    "do_stable_layer_norm": True,
    "apply_spec_augment": False,
    "layerdrop": 0.0,
    "initializer_range": 0.05,
    **NO_DROPOUT,
}
"""For a tiny wav2vec 2.0 or HuBERT: one frame every 40 ms, whereas the published ones have one every 20 ms."""

LAYER_NORM = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
"""How the larger HuBERTs differ from the base one besides size; wav2vec 2.0 large does not."""


def _speech(name: str, title: str, config: str, extractor: str = "Wav2Vec2FeatureExtractor", **values: Any) -> Any:
    processor = maker(extractor, sampling_rate=SAMPLING_RATE)
    return Architecture(
        name,
        title,
        modality="audio",
        auto_class="AutoModelForAudioClassification",
        processor_class="AutoFeatureExtractor",
        config=maker(config),
        real_processor=processor,
        **{
            "tiny_config": maker(config, **TINY_ENCODER),
            # It has no sizes: a tiny model reads the same inputs as a published one.
            "tiny_processor": without_texts(processor),
            **values,
        },
    )


def _whisper(width: int, layers: int, heads: int) -> dict[str, int]:
    ends = ("encoder", "decoder")
    return {
        "d_model": width,
        **{f"{end}_layers": layers for end in ends},
        **{f"{end}_attention_heads": heads for end in ends},
        **{f"{end}_ffn_dim": 4 * width for end in ends},
    }


ARCHITECTURES = (
    _speech(
        "wav2vec2",
        "wav2vec 2.0",
        "Wav2Vec2Config",
        scales={
            "base": Scale(
                "facebook/wav2vec2-base",
                94_569_090,
                "apache-2.0",
                revision="0b5b8e868dd84f03fd87d01f9c4ff0f080fecfe8",
                pickled=True,
            ),
            "large": Scale(
                "facebook/wav2vec2-large",
                315_691_906,
                "apache-2.0",
                LARGE,
                revision="312b2410566b698c7a649068d413b2067848bd75",
                pickled=True,
            ),
        },
    ),
    _speech(
        "hubert",
        "HuBERT",
        "HubertConfig",
        scales={
            "base": Scale(
                "facebook/hubert-base-ls960",
                94_569_090,
                "apache-2.0",
                revision="dba3bb02fda4248b6e082697eee756de8fe8aa8a",
            ),
            "large": Scale(
                "facebook/hubert-large-ll60k",
                315_701_634,
                "apache-2.0",
                {**LARGE, **LAYER_NORM},
                revision="ff022d095678a2995f3c49bab18a96a9e553f782",
                pickled=True,
            ),
            "xlarge": Scale(
                "facebook/hubert-xlarge-ll60k",
                962_825_858,
                "apache-2.0",
                {
                    "hidden_size": 1280,
                    "num_hidden_layers": 48,
                    "num_attention_heads": 16,
                    "intermediate_size": 5120,
                    **LAYER_NORM,
                },
                pickled=True,
            ),
        },
    ),
    _speech(
        "whisper",
        "Whisper",
        "WhisperConfig",
        "WhisperFeatureExtractor",
        # Only the encoder classifies; parameters are counted without the decoder.
        scales={
            "tiny": Scale(
                "openai/whisper-tiny", 8_307_458, "apache-2.0", revision="169d4a4341b33bc18d8881c4b69c2e104e1cc0af"
            ),
            "base": Scale(
                "openai/whisper-base",
                20_722_434,
                "apache-2.0",
                _whisper(512, 6, 8),
                revision="e37978b90ca9030d5170a5c07aadb050351a65bb",
            ),
            "small": Scale(
                "openai/whisper-small",
                88_351_490,
                "apache-2.0",
                _whisper(768, 12, 12),
                revision="973afd24965f72e36ca33b3055d56a652f456b4d",
            ),
        },
        tiny_config=maker(
            "WhisperConfig",
            d_model=64,
            encoder_layers=2,
            encoder_attention_heads=4,
            encoder_ffn_dim=128,
            max_source_positions=50,
            classifier_proj_size=64,
            init_std=0.05,
        ),
        tiny_processor=without_texts(maker("WhisperFeatureExtractor", sampling_rate=SAMPLING_RATE, chunk_length=1)),
        tiny_scale="micro",
    ),
)
