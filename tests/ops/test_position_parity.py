"""Rotary stretching and T5's buckets against transformers (`make parity`)."""

import numpy as np
import pytest
from close import assert_close

from jaxgpt.ops.positions import RelativeBias, Rotary, RotaryLinear, RotaryLlama3, RotaryYaRN

pytestmark = pytest.mark.parity


def theirs(kind, **scaling):
    """transformers' inverse frequencies and attention factor for a Llama of head width 64, trained on 2048 tokens."""
    import torch
    from transformers import LlamaConfig
    from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

    config = LlamaConfig(hidden_size=256, num_attention_heads=4, max_position_embeddings=2048)
    config.rope_parameters = {"rope_type": kind, "rope_theta": 10000.0, **scaling}
    rates, factor = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))
    return rates.numpy(), factor


@pytest.mark.parametrize(
    ("ours", "kind", "scaling"),
    [
        (RotaryLinear(factor=4, pairing="half"), "linear", {"factor": 4.0}),
        (
            RotaryLlama3(factor=8, trained=512, slow=1, fast=4, pairing="half"),
            "llama3",
            {
                "factor": 8.0,
                "original_max_position_embeddings": 512,
                "low_freq_factor": 1.0,
                "high_freq_factor": 4.0,
            },
        ),
        (
            RotaryYaRN(factor=4, trained=2048, pairing="half"),
            "yarn",
            {"factor": 4.0, "original_max_position_embeddings": 2048},
        ),
        (
            RotaryYaRN(factor=16, trained=512, fast=16, slow=2, pairing="half"),
            "yarn",
            {"factor": 16.0, "original_max_position_embeddings": 512, "beta_fast": 16, "beta_slow": 2},
        ),
    ],
    ids=str,
)
def test_stretched_rates_equal_theirs(ours, kind, scaling):
    rates, factor = theirs(kind, **scaling)
    assert_close(ours.rates(64), rates, 2e-6)
    assert ours.magnitude() == pytest.approx(factor, rel=1e-6)


def test_half_pairing_equals_llamas_rotation():
    import torch
    from transformers import LlamaConfig
    from transformers.models.llama.modeling_llama import LlamaRotaryEmbedding, apply_rotary_pos_emb

    x = np.random.default_rng(0).standard_normal((1, 4, 50, 64)).astype(np.float32)
    embed = LlamaRotaryEmbedding(LlamaConfig(hidden_size=256, num_attention_heads=4))
    cos, sin = embed(torch.tensor(x), torch.arange(50)[None])
    want, _ = apply_rotary_pos_emb(torch.tensor(x), torch.tensor(x), cos, sin)
    got = Rotary(pairing="half").rotate(x, np.arange(50, dtype=np.int32))
    assert_close(got, want.numpy(), 2e-5)


@pytest.mark.parametrize("two_sided", [False, True])
def test_buckets_equal_t5s(two_sided):
    import torch
    from transformers.models.t5.modeling_t5 import T5Attention

    distance = np.arange(-300, 300)
    want = T5Attention._relative_position_bucket(torch.tensor(-distance), bidirectional=two_sided)
    np.testing.assert_array_equal(RelativeBias(two_sided=two_sided).bucket(distance), want.numpy())
