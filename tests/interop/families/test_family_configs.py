"""What configurations of transformers mean: published ones are our sizes, both spellings agree, the rest is refused."""

import pytest

from jaxgpt.interop.families import bloom, gemma2, gpt1, gpt2, gpt_neo, gpt_neox, gptj, llama, mistral, qwen2, qwen3
from jaxgpt.interop.families.table import FAMILIES, by_config, by_model
from jaxgpt.interop.hugging_face.config import resolved_fields
from jaxgpt.models import BLOOM, GPT3, GPTJ, Decoder, Gemma2, GPTNeo, GPTNeoX, Llama, Mistral, Qwen2, Qwen3
from jaxgpt.spec import ConfigError

SMOLLM2 = {
    "architectures": ["LlamaForCausalLM"],
    "attention_bias": False,
    "attention_dropout": 0.0,
    "bos_token_id": 1,
    "hidden_act": "silu",
    "hidden_size": 576,
    "initializer_range": 0.041666666666666664,
    "intermediate_size": 1536,
    "max_position_embeddings": 8192,
    "mlp_bias": False,
    "model_type": "llama",
    "num_attention_heads": 9,
    "num_hidden_layers": 30,
    "num_key_value_heads": 3,
    "pretraining_tp": 1,
    "rms_norm_eps": 1e-05,
    "rope_interleaved": False,
    "rope_scaling": None,
    "rope_theta": 100000,
    "tie_word_embeddings": True,
    "torch_dtype": "bfloat16",
    "transformers_version": "4.42.3",
    "use_cache": True,
    "vocab_size": 49152,
}
LLAMA31 = {
    "model_type": "llama",
    "hidden_size": 4096,
    "intermediate_size": 14336,
    "max_position_embeddings": 131072,
    "num_attention_heads": 32,
    "num_hidden_layers": 32,
    "num_key_value_heads": 8,
    "rms_norm_eps": 1e-05,
    "rope_scaling": {
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 8192,
        "rope_type": "llama3",
    },
    "rope_theta": 500000.0,
    "tie_word_embeddings": False,
    "vocab_size": 128256,
}
PUBLISHED = {
    "smollm2-135m": (llama, Llama(**Llama.sizes["smollm2-135m"]), SMOLLM2),
    "llama3.1-8b": (llama, Llama(**Llama.sizes["llama3.1-8b"]), LLAMA31),
    "mistral-7b-v0.1": (
        mistral,
        Mistral(**Mistral.sizes["7b-v0.1"]),
        {
            "model_type": "mistral",
            "hidden_size": 4096,
            "intermediate_size": 14336,
            "max_position_embeddings": 32768,
            "num_attention_heads": 32,
            "num_hidden_layers": 32,
            "num_key_value_heads": 8,
            "rms_norm_eps": 1e-05,
            "rope_theta": 10000.0,
            "sliding_window": 4096,
            "tie_word_embeddings": False,
            "vocab_size": 32000,
        },
    ),
    "qwen2-0.5b": (
        qwen2,
        Qwen2(**Qwen2.sizes["0.5b"], context=131072),
        {
            "model_type": "qwen2",
            "hidden_size": 896,
            "intermediate_size": 4864,
            "max_position_embeddings": 131072,
            "max_window_layers": 24,
            "num_attention_heads": 14,
            "num_hidden_layers": 24,
            "num_key_value_heads": 2,
            "rms_norm_eps": 1e-06,
            "rope_theta": 1000000.0,
            "sliding_window": 131072,
            "tie_word_embeddings": True,
            "use_sliding_window": False,
            "vocab_size": 151936,
        },
    ),
    "qwen3-0.6b": (
        qwen3,
        Qwen3(**Qwen3.sizes["0.6b"]),
        {
            "model_type": "qwen3",
            "attention_bias": False,
            "head_dim": 128,
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "max_position_embeddings": 40960,
            "max_window_layers": 28,
            "num_attention_heads": 16,
            "num_hidden_layers": 28,
            "num_key_value_heads": 8,
            "rms_norm_eps": 1e-06,
            "rope_scaling": None,
            "rope_theta": 1000000,
            "sliding_window": None,
            "tie_word_embeddings": True,
            "use_sliding_window": False,
            "vocab_size": 151936,
        },
    ),
    "gemma-2-2b": (
        gemma2,
        Gemma2(**Gemma2.sizes["2b"]),
        {
            "model_type": "gemma2",
            "attention_bias": False,
            "attn_logit_softcapping": 50.0,
            "cache_implementation": "hybrid",
            "final_logit_softcapping": 30.0,
            "head_dim": 256,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_activation": "gelu_pytorch_tanh",
            "hidden_size": 2304,
            "intermediate_size": 9216,
            "max_position_embeddings": 8192,
            "num_attention_heads": 8,
            "num_hidden_layers": 26,
            "num_key_value_heads": 4,
            "query_pre_attn_scalar": 256,
            "rms_norm_eps": 1e-06,
            "rope_theta": 10000.0,
            "sliding_window": 4096,
            "vocab_size": 256000,
        },
    ),
    "pythia-70m": (
        gpt_neox,
        GPTNeoX(**GPTNeoX.sizes["pythia-70m"]),
        {
            "model_type": "gpt_neox",
            "hidden_act": "gelu",
            "hidden_size": 512,
            "intermediate_size": 2048,
            "layer_norm_eps": 1e-05,
            "max_position_embeddings": 2048,
            "num_attention_heads": 8,
            "num_hidden_layers": 6,
            "rotary_emb_base": 10000,
            "rotary_pct": 0.25,
            "tie_word_embeddings": False,
            "use_parallel_residual": True,
            "vocab_size": 50304,
        },
    ),
    "gpt-neox-20b": (
        gpt_neox,
        GPTNeoX(**GPTNeoX.sizes["20b"]),
        {"model_type": "gpt_neox", "hidden_act": "gelu_fast"},  # else what transformers assumes
    ),
    "gpt-j-6b": (
        gptj,
        GPTJ(**GPTJ.sizes["6b"]),
        {
            "model_type": "gptj",
            "activation_function": "gelu_new",
            "attn_pdrop": 0.0,
            "n_ctx": 2048,
            "n_embd": 4096,
            "n_head": 16,
            "n_inner": None,
            "n_layer": 28,
            "n_positions": 2048,
            "rotary": True,
            "rotary_dim": 64,
            "scale_attn_weights": True,
            "tie_word_embeddings": False,
            "vocab_size": 50400,
        },
    ),
    "gpt-neo-125m": (
        gpt_neo,
        GPTNeo(**GPTNeo.sizes["125m"]),
        {
            "model_type": "gpt_neo",
            "attention_layers": ["global", "local"] * 6,
            "attention_types": [[["global", "local"], 6]],
            "hidden_size": 768,
            "intermediate_size": None,
            "max_position_embeddings": 2048,
            "num_heads": 12,
            "num_layers": 12,
            "vocab_size": 50257,
            "window_size": 256,
        },
    ),
    "bloom-560m": (
        bloom,
        BLOOM(**BLOOM.sizes["560m"]),
        {
            "model_type": "bloom",
            "apply_residual_connection_post_layernorm": False,
            "hidden_size": 1024,
            "layer_norm_epsilon": 1e-05,
            "masked_softmax_fusion": True,
            "n_head": 16,
            "n_layer": 24,
            "offset_alibi": 100,
            "pretraining_tp": 1,
            "seq_length": 2048,
            "slow_but_exact": False,
            "vocab_size": 250880,
        },
    ),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_configurations_are_our_sizes(name):
    module, model, config = PUBLISHED[name]
    family = by_config(config)
    assert family is module.FAMILY and by_model(model) is family
    assert resolved_fields(family.spec(config)) == resolved_fields(model)
    assert resolved_fields(family.spec(family.config(model))) == resolved_fields(model)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.model_type)
def test_a_family_is_found_by_its_class_where_its_type_is_not_named(family):
    assert by_config({"architectures": [family.architecture]}) is family


@pytest.mark.parametrize(
    ("older", "newer"),
    [
        ({"rope_theta": 77.0}, {"rope_theta": 77.0, "rope_type": "default"}),
        (
            {"rope_theta": 77.0, "rope_scaling": {"type": "linear", "factor": 2.0}},
            {"rope_theta": 77.0, "rope_type": "linear", "factor": 2.0},
        ),
        (
            {"rope_theta": 500000.0, "rope_scaling": LLAMA31["rope_scaling"]},
            LLAMA31["rope_scaling"] | {"rope_theta": 500000.0},
        ),
        (
            {"rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512}},
            {"rope_theta": 10000.0, "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 512},
        ),
    ],
    ids=["default", "linear", "llama3", "yarn"],
)
def test_both_spellings_of_rotary_positions_agree(older, newer):
    model = llama.FAMILY.spec(older)
    assert model == llama.FAMILY.spec({"rope_parameters": newer})
    assert model.position == llama.FAMILY.spec(llama.FAMILY.config(model)).position


def test_a_share_of_channels_comes_back_as_it_was():
    for width in range(2, 81, 2):
        model = GPTNeoX(
            num_layers=1,
            d_model=160,
            num_heads=2,
            vocab_size=8,
            position={"kind": "rotary", "pairing": "half", "width": width},
        )
        back = gpt_neox.FAMILY.spec(gpt_neox.FAMILY.config(model))
        assert (back.position.width or 80) == width


@pytest.mark.parametrize(
    ("module", "change", "start"),
    [
        (gpt2, {"add_cross_attention": True}, "add_cross_attention: True"),
        (gpt1, {"afn": "mish"}, "afn: 'mish'"),
        (gpt_neo, {"attention_types": [[["global", "sparse"], 12]]}, "attention_types: "),
        (gpt_neo, {"attention_types": [[["global"], 3]]}, "attention_types: "),
        (gpt_neo, {"attention_types": 5}, "attention_types: 5"),
        (gpt_neo, {"window_size": 0}, "window_size: 0"),
        (gpt_neo, {"resid_dropout": 0.1}, "resid_dropout 0.1, embed_dropout 0.0, attention_dropout 0.0"),
        (gptj, {"tie_word_embeddings": True}, "tie_word_embeddings: True"),
        (gptj, {"rotary_dim": None}, "rotary_dim: None"),
        (gpt_neox, {"rotary_pct": 1.5}, "rotary_pct: 1.5"),
        (gpt_neox, {"rope_scaling": {"type": "dynamic", "factor": 2.0}}, "rope_scaling.rope_type: 'dynamic'"),
        (llama, {"rope_scaling": "linear"}, "rope_scaling: 'linear'"),
        (llama, {"rope_scaling": {"rope_type": "longrope"}}, "rope_scaling.rope_type: 'longrope'"),
        (llama, {"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "mscale": 1.0}}, "rope_scaling.mscale: 1.0"),
        (
            llama,
            {"rope_scaling": {"rope_type": "yarn", "factor": 2.0, "truncate": False}},
            "rope_scaling.truncate: False",
        ),
        (llama, {"partial_rotary_factor": 0.5}, "partial_rotary_factor: 0.5"),
        (llama, {"rope_parameters": {"partial_rotary_factor": 0.5}}, "rope_parameters.partial_rotary_factor"),
        (llama, {"attention_dropout": 0.1}, "attention_dropout: 0.1"),
        (llama, {"hidden_act": ["silu"]}, "hidden_act: ['silu']"),
        (llama, {"num_attention_heads": 12}, "hidden_size: 4096 is not a multiple of num_attention_heads 12"),
        (llama, {"num_hidden_layers": 10**9}, "num_hidden_layers: 1000000000"),
        (mistral, {"sliding_window": -1}, "sliding_window: -1"),
        (qwen2, {"layer_types": ["full_attention"]}, "layer_types: "),
        (qwen2, {"layer_types": ["full_attention"] * 31 + ["chunked_attention"]}, "layer_types: "),
        (qwen2, {"layer_types": ["sliding_attention"] * 32}, "layer_types: some layers slide"),
        (qwen3, {"use_sliding_window": True, "max_window_layers": None}, "max_window_layers: None"),
        (gemma2, {"use_bidirectional_attention": True}, "use_bidirectional_attention: True"),
        (gemma2, {"query_pre_attn_scalar": 0}, "query_pre_attn_scalar: 0"),
        (bloom, {"apply_residual_connection_post_layernorm": True}, "apply_residual_connection_post_layernorm: True"),
    ],
    ids=str,
)
def test_a_key_that_cannot_be_followed_is_one_line(module, change, start):
    with pytest.raises(ConfigError) as caught:
        module.FAMILY.spec(change)
    assert len(caught.value.problems) == 1 and caught.value.problems[0].startswith(start), caught.value.problems


def test_a_type_that_is_not_known_is_refused():
    with pytest.raises(ConfigError, match=r"^model_type: 'mamba' is not supported; known: .*llama") as caught:
        by_config({"model_type": "mamba"})
    assert len(caught.value.problems) == 1
    with pytest.raises(ConfigError, match="model_type: None"):
        by_config({})


SIZE = {"num_layers": 2, "d_model": 8, "num_heads": 2, "vocab_size": 11, "context": 6}


@pytest.mark.parametrize(
    ("model", "model_type"),
    [
        (Decoder(**SIZE), "gpt2"),
        (GPT3(**SIZE, pattern="causal"), "gpt2"),
        (Decoder(**SIZE, norm_place="post"), "openai-gpt"),
        (Decoder(**SIZE, position="alibi", embed_norm="layer"), "bloom"),
        (Decoder(**SIZE, norm="rms", position="rotary", feed_forward="gated", bias=False), "llama"),
        (Decoder(**SIZE, norm="rms", position="rotary", feed_forward="gated", bias=False, qkv_bias=True), "qwen2"),
        (Decoder(**SIZE, norm="rms", position="rotary", feed_forward="gated", bias=False, qk_norm="rms"), "qwen3"),
        (Llama(**SIZE | {"num_heads": 3, "d_head": 4}), "mistral"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.kind,
)
def test_a_model_made_of_parts_is_written_as_the_first_class_that_can_hold_it(model, model_type):
    assert by_model(model).model_type == model_type


@pytest.mark.parametrize(
    ("model", "starts"),
    [
        (
            Llama(**SIZE, soft_cap=5.0, qk_norm="rms"),
            ["model.qk_norm: rms; Hugging Face's 'llama' has None", "model.soft_cap: 5.0"],
        ),
        (
            Mistral(**SIZE, pattern=[{"kind": "banded", "window": 2}, {"kind": "banded", "window": 3}]),
            ["model.pattern: [banded window 2, banded window 3]"],
        ),
        (
            GPTJ(**SIZE, position={"kind": "rotary", "pairing": "half"}),
            ["model.position: rotary pairing 'half'; Hugging"],
        ),
        (GPTNeoX(**SIZE, position="rotary"), ["model.position: rotary; Hugging Face's 'gpt_neox' has rotary"]),
        (Gemma2(**SIZE, pattern="causal"), ["model.embed_scale: None; Hugging Face's 'gemma2' has 2.82"]),
        (BLOOM(**SIZE, feed_forward={"kind": "mlp", "d_ff": 12}), ["model.feed_forward: mlp d_ff 12"]),
    ],
    ids=lambda value: None if isinstance(value, list) else value.kind,
)
def test_what_a_models_own_class_cannot_hold_is_named(model, starts):
    with pytest.raises(ConfigError) as caught:
        by_model(model)
    found = caught.value.problems
    assert len(found) == len(starts) and all(map(str.startswith, found, starts)), found


def test_what_no_class_can_hold_is_named_by_the_nearest():
    with pytest.raises(ConfigError) as caught:
        by_model(GPT3(**SIZE, position="rotary", pattern=["causal", {"kind": "banded", "window": 2}]))
    assert caught.value.problems == [
        "model.position: rotary; Hugging Face's 'gpt2' has learned only; change the field",
        "model.pattern: [causal, banded window 2]; Hugging Face's 'gpt2' has [causal] only; change the field",
    ]


def test_what_transformers_would_not_load_is_not_written():
    with pytest.raises(ConfigError, match=r"^model: Hugging Face's 'llama' does not fit: hidden_size: 8 is not a mul"):
        llama.FAMILY.config(Llama(**SIZE | {"num_heads": 3, "d_head": 4}))
