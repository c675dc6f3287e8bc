"""The families' sizes: parameter counts and FLOPs as the papers print them."""

import pytest

from jaxgpt.models import GPT1, GPT2, GPT3, Decoder

GPT2_COUNTS = {"124m": 124_439_808, "355m": 354_823_168, "774m": 774_030_080, "1558m": 1_557_611_200}
GPT3_TABLE = {  # Brown et al. 2020, table 2.1: layers, d_model, heads, d_head
    "125m": (12, 768, 12, 64),
    "350m": (24, 1024, 16, 64),
    "760m": (24, 1536, 16, 96),
    "1.3b": (24, 2048, 24, 128),
    "2.7b": (32, 2560, 32, 80),
    "6.7b": (32, 4096, 32, 128),
    "13b": (40, 5140, 40, 128),
    "175b": (96, 12288, 96, 128),
}


def test_gpt1_count():
    assert GPT1.sizes.keys() == {"117m"}
    assert GPT1(**GPT1.sizes["117m"], vocab_size=40_478).count() == 116_534_784


@pytest.mark.parametrize("size", GPT2_COUNTS)
def test_gpt2_counts(size):
    assert GPT2.sizes.keys() == GPT2_COUNTS.keys()
    assert GPT2(**GPT2.sizes[size], vocab_size=50_257).count() == GPT2_COUNTS[size]


@pytest.mark.parametrize("size", GPT3_TABLE)
def test_gpt3_counts(size):
    """By hand: embeddings, then for each layer four projections, an MLP of 4·d, biases and two norms; a last norm."""
    assert GPT3.sizes.keys() == GPT3_TABLE.keys()
    model = GPT3(**GPT3.sizes[size], vocab_size=50_257)
    layers, d, heads, width = GPT3_TABLE[size]
    assert (model.num_layers, model.d_model, model.num_heads, model.head_width) == (layers, d, heads, width)
    inner = heads * width
    layer = 4 * d * inner + 3 * inner + d + 8 * d * d + 4 * d + d + 4 * d
    assert model.count() == (50_257 + 2048) * d + layers * layer + 2 * d


def test_gpt3_is_as_large_as_it_says():
    assert GPT3(**GPT3.sizes["175b"], vocab_size=50_257).count() == pytest.approx(175e9, rel=0.003)
    assert GPT3(**GPT3.sizes["125m"], vocab_size=50_257).count() == pytest.approx(125e6, rel=0.01)


def test_gpt3_alternates_dense_and_banded():
    model = GPT3(**GPT3.sizes["125m"], vocab_size=50_257)
    assert [pattern.kind for pattern in model.pattern] == ["causal", "banded"] and model.num_layers % 2 == 0


def test_flops_of_gpt2():
    """855 MFLOP a token at 1024, attention counted dense, as nanoGPT does."""
    model = GPT2(**GPT2.sizes["124m"], vocab_size=50_257)
    assert model.flops_per_token(1024) == pytest.approx(855e6, abs=0.5e6)
    table = 1024 * 768
    assert model.flops_per_token(1024) == 6 * (124_439_808 - table) + 12 * 12 * 768 * 1024
    assert model.flops_per_token(1024, dense=False) == 6 * (124_439_808 - table) + 12 * 12 * 768 * 512.5


def test_flops_of_alternating_patterns():
    model = Decoder(
        num_layers=4, d_model=8, num_heads=2, vocab_size=8, context=64, position="none",
        pattern=["causal", {"kind": "banded", "window": 4}],
    )  # fmt: skip
    keys = 2 * 32.5 + 2 * (1 + 2 + 3 + 61 * 4) / 64
    assert model.flops_per_token(64, dense=False) == pytest.approx(6 * model.count() + 12 * 8 * keys)


def test_families_differ_where_the_papers_do():
    size = {"num_layers": 2, "d_model": 8, "num_heads": 2, "vocab_size": 8}
    one, two = GPT1(**size).shapes(), GPT2(**size).shapes()
    assert two.keys() - one.keys() == {"norm_f"}, "pre-norm ends with a norm, post-norm does not"
    assert "head" in GPT2(**size, tied=False).shapes() and "head" not in two
    assert GPT1(**size).context == 512 and GPT2(**size).context == 1024 and GPT3(**size).context == 2048
