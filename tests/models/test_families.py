"""The families' sizes: parameter counts and FLOPs as the papers print them."""

import pytest

from jaxgpt.models import BLOOM, GPT1, GPT2, GPT3, GPTJ, Decoder, Gemma2, GPTNeo, GPTNeoX, Llama, Mistral, Qwen2, Qwen3

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

PUBLISHED = {  # what the checkpoints hold, each tied table once
    GPTNeo: {"125m": 125_198_592, "1.3b": 1_315_575_808, "2.7b": 2_651_307_520},
    GPTJ: {"6b": 6_050_882_784},
    GPTNeoX: {  # Pythia's as its paper's table 1 prints them; the two smallest by hand
        "pythia-14m": 2 * 50304 * 128 + 6 * (12 * 128**2 + 13 * 128) + 2 * 128,
        "pythia-31m": 2 * 50304 * 256 + 6 * (12 * 256**2 + 13 * 256) + 2 * 256,
        "pythia-70m": 70_426_624,
        "pythia-160m": 162_322_944,
        "pythia-410m": 405_334_016,
        "pythia-1b": 1_011_781_632,
        "pythia-1.4b": 1_414_647_808,
        "pythia-2.8b": 2_775_208_960,
        "pythia-6.9b": 6_857_302_016,
        "pythia-12b": 11_846_072_320,
        "20b": 20_554_567_680,
    },
    Llama: {
        "smollm-135m": 134_515_008,
        "smollm-360m": 361_821_120,
        "smollm-1.7b": 1_711_376_384,
        "smollm2-135m": 134_515_008,
        "smollm2-360m": 361_821_120,
        "smollm2-1.7b": 1_711_376_384,
        "tinyllama-1.1b": 1_100_048_384,
        "llama2-7b": 6_738_415_616,
        "llama2-13b": 13_015_864_320,
        "llama2-70b": 68_976_648_192,
        "llama3-8b": 8_030_261_248,
        "llama3-70b": 70_553_706_496,
        "llama3.1-8b": 8_030_261_248,
        "llama3.1-70b": 70_553_706_496,
        "llama3.1-405b": 405_853_388_800,
        "llama3.2-1b": 1_235_814_400,
        "llama3.2-3b": 3_212_749_824,
    },
    Mistral: {"7b-v0.1": 7_241_732_096, "7b-v0.2": 7_241_732_096, "7b-v0.3": 7_248_023_552},
    Qwen2: {
        "0.5b": 494_032_768,
        "1.5b": 1_543_714_304,
        "2.5-3b": 3_085_938_688,
        "7b": 7_615_616_512,
        "2.5-14b": 14_770_033_664,
        "2.5-32b": 32_763_876_352,
        "72b": 72_706_203_648,
    },
    Qwen3: {
        "0.6b": 596_049_920,
        "1.7b": 1_720_574_976,
        "4b": 4_022_468_096,
        "8b": 8_190_735_360,
        "14b": 14_768_307_200,
        "32b": 32_762_123_264,
    },
    Gemma2: {"2b": 2_614_341_888, "9b": 9_241_705_984, "27b": 27_227_128_320},
    BLOOM: {
        "560m": 559_214_592,
        "1b1": 1_065_314_304,
        "1b7": 1_722_408_960,
        "3b": 3_002_557_440,
        "7b1": 7_069_016_064,
        "176b": 176_247_271_424,
    },
}


@pytest.mark.often("llama", "bloom", "mistral")
@pytest.mark.parametrize("family", PUBLISHED, ids=lambda family: family.kind)
def test_counts_are_those_of_the_checkpoints(family):
    assert {size: family(**fields).count() for size, fields in family.sizes.items()} == PUBLISHED[family]


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
    assert model.flops_per_token(1024) == pytest.approx(855e6, rel=6e-4)
    table = 1024 * 768
    assert model.flops_per_token(1024) == 6 * (124_439_808 - table) + 12 * 12 * 768 * 1024
    assert model.flops_per_token(1024, dense=False) == 6 * (124_439_808 - table) + 12 * 12 * 768 * 512.5


def test_flops_of_an_output_of_its_own():
    """One table scores, the other is looked up, tied or not."""
    tied = Decoder(num_layers=1, d_model=8, num_heads=2, vocab_size=12, context=16, position="none")
    own = tied.evolve(tied=False)
    assert own.count() == tied.count() + 12 * 8 and own.flops_per_token(16) == tied.flops_per_token(16)
    assert own.flops_per_token(16, scored=0) == tied.flops_per_token(16, scored=0) == tied.flops_per_token(16) - 6 * 96


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
    assert two.keys() - one.keys() == {"norm_final"}, "pre-norm ends with a norm, post-norm does not"
    assert "lm_head" in GPT2(**size, tied=False).shapes() and "lm_head" not in two
    assert GPT1(**size).context == 512 and GPT2(**size).context == 1024 and GPT3(**size).context == 2048
