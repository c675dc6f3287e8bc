"""GGUF: what the gguf package writes is read, what we write reads back bit for bit, and every fault is a line."""

import struct

import gguf
import jax
import ml_dtypes
import numpy as np
import pytest
from gguf import GGMLQuantizationType as Kind

from jaxgpt.interop.families.table import by_config
from jaxgpt.interop.gguf.header import read_header
from jaxgpt.interop.gguf.read import llama_3_factors, read_source
from jaxgpt.interop.gguf.write import write_gguf
from jaxgpt.interop.hugging_face.config import resolved_fields
from jaxgpt.spec import ConfigError, JaxgptError
from jaxgpt.text import ByteBPE
from jaxgpt.text.tokenizers.byte import ByteCodec

D, F, HEADS, KV, LAYERS, VOCAB = 256, 512, 4, 2, 2, 1100
"""Widths that K-quants, in blocks of 256, divide."""
LLAMA = {
    "model_type": "llama",
    "vocab_size": VOCAB,
    "hidden_size": D,
    "intermediate_size": F,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "num_key_value_heads": KV,
    "max_position_embeddings": 16,
    "rms_norm_eps": 1e-5,
    "tie_word_embeddings": True,
}
SCALING = {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0, "original_max_position_embeddings": 8192}
CONFIGS = {
    "llama": LLAMA,
    "llama-untied-biases": LLAMA | {"tie_word_embeddings": False, "attention_bias": True, "rope_theta": 5e5},
    "llama-wide-heads": LLAMA | {"head_dim": 32},
    "llama-linear": LLAMA | {"rope_scaling": {"rope_type": "linear", "factor": 2.0}},
    "llama-3.1": LLAMA | {"rope_scaling": {"rope_type": "llama3", **SCALING}},
    "qwen2": LLAMA | {"model_type": "qwen2"},
    "qwen3": LLAMA | {"model_type": "qwen3", "head_dim": 32},
    "gpt2": {
        "model_type": "gpt2",
        "vocab_size": VOCAB,
        "n_positions": 16,
        "n_embd": D,
        "n_layer": LAYERS,
        "n_head": HEADS,
    },
}


@pytest.fixture(scope="module")
def codec():
    return ByteBPE(vocab_size=300).train(lambda: ["the cat sat on the mat, and the dog 1234 sat on the cat.\n"] * 4)


@pytest.fixture
def file(weights, codec, tmp_path):
    """`file(name, dtype)` writes a random model of that configuration; gives its path, the model and its weights."""

    def write(name="llama", dtype="float32", vocabulary=codec):
        model = by_config(CONFIGS[name]).spec(CONFIGS[name])
        params = weights(model)
        write_gguf(tmp_path / "model.gguf", model, params, vocabulary, {"bos_token_id": 1}, dtype)
        return tmp_path / "model.gguf", model, params

    return write


def leaves(tree):
    return {jax.tree_util.keystr(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


@pytest.mark.parametrize("name", CONFIGS)
def test_what_we_write_reads_back_bit_for_bit(name, file, codec):
    path, model, params = file(name)
    source = read_source(path)
    assert resolved_fields(source.model) == resolved_fields(model)
    got, want = leaves(source.read("float32", None)), leaves(params)
    assert got.keys() == want.keys()
    for key in want:
        np.testing.assert_array_equal(got[key], want[key], err_msg=key, strict=True)
    assert source.codec.encode("the cats' 1234 é") == codec.encode("the cats' 1234 é") and source.codec.eot == codec.eot
    assert source.generation == {"bos_token_id": 1, "eos_token_id": codec.eot}


@pytest.mark.parametrize(("dtype", "rounded"), [("float16", np.float16), ("bfloat16", ml_dtypes.bfloat16)])
def test_half_precision_rounds_matrices_and_keeps_vectors(dtype, rounded, file):
    path, _, params = file("llama", dtype)
    for key, leaf in leaves(read_source(path).read("float32", None)).items():
        want = leaves(params)[key]
        vector = "scale" in key
        np.testing.assert_array_equal(leaf, want if vector else want.astype(rounded).astype(np.float32), err_msg=key)


def test_leaves_come_one_at_a_time_in_the_dtype_asked_for(file):
    path, _, params = file()
    seen = []
    tree = read_source(path).read("bfloat16", lambda name, leaf: seen.append((name, leaf.dtype)) or name)
    assert {dtype for _, dtype in seen} == {np.dtype(ml_dtypes.bfloat16)}
    assert sorted(name for name, _ in seen) == sorted(jax.tree.leaves(tree)) and len(seen) == len(leaves(params))


def test_the_head_is_what_the_package_reads(file):
    path, _, _ = file("llama-untied-biases")
    header, theirs = read_header(path), gguf.GGUFReader(path)
    assert {"tokenizer.ggml.tokens", "llama.rope.freq_base"} <= header.fields.keys()
    for key, value in header.fields.items():
        want = theirs.fields[key].contents()
        assert (value.tolist() if isinstance(value, np.ndarray) else value) == pytest.approx(want), key
    placed = {
        one.name: (one.tensor_type, tuple(one.shape)[::-1], one.data_offset, one.n_bytes) for one in theirs.tensors
    }
    assert header.tensors == placed


QUANTS = ["Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q8_0", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "BF16", "F16", "F32"]


@pytest.mark.parametrize("kind", [Kind[name] for name in QUANTS], ids=QUANTS)
def test_quantised_matrices_are_the_packages_numbers(kind, weights, tmp_path):
    """Written with the gguf package alone, in llama.cpp's layout: queries and keys with pairs side by side."""
    model, rng = by_config(LLAMA).spec(LLAMA), np.random.default_rng(0)
    writer = gguf.GGUFWriter(tmp_path / "q.gguf", "llama")
    writer.add_context_length(16)
    writer.add_embedding_length(D)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(F)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_vocab_size(VOCAB)
    kv = D // HEADS * KV
    shapes = {"attn_q": (D, D), "attn_k": (kv, D), "attn_v": (kv, D), "attn_output": (D, D)}
    shapes |= {"ffn_gate": (F, D), "ffn_up": (F, D), "ffn_down": (D, F)}
    shapes = {f"blk.{i}.{name}": shape for i in range(LAYERS) for name, shape in shapes.items()}
    want = {}
    for name, shape in (shapes | {"token_embd": (VOCAB, D)}).items():
        width = gguf.quant_shape_to_byte_shape(shape, kind)
        if kind in (Kind.F32, Kind.F16, Kind.BF16) or not kind.name.endswith("K"):
            raw = gguf.quantize(rng.standard_normal(shape, np.float32), kind)
        else:  # the package does not quantise these; any bytes are blocks, and these hold no infinite scales
            raw = rng.integers(0, 64, width, np.uint8)
        want[name] = gguf.dequantize(raw, kind).reshape(shape)
        writer.add_tensor(f"{name}.weight", raw, raw_dtype=kind)
    norms = [f"blk.{i}.{name}" for i in range(LAYERS) for name in ("attn_norm", "ffn_norm")]
    for name in [*norms, "output_norm"]:
        writer.add_tensor(f"{name}.weight", rng.standard_normal(D, np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    source = read_source(tmp_path / "q.gguf")
    assert (source.model, source.codec) == (model, None)
    tree = source.read("float32", None)
    np.testing.assert_array_equal(tree["embed"]["token"], want["token_embd"])
    blocks = tree["blocks"]["layers"]
    for i in range(LAYERS):
        np.testing.assert_array_equal(blocks["feed_forward"]["down"]["weight"][i], want[f"blk.{i}.ffn_down"].T)
        np.testing.assert_array_equal(blocks["attention"]["v"]["weight"][i], want[f"blk.{i}.attn_v"].T)
        for name, heads in (("q", HEADS), ("k", KV)):
            side_by_side = want[f"blk.{i}.attn_{name}"].reshape(heads, D // HEADS, D)
            apart = np.concatenate([side_by_side[:, 0::2], side_by_side[:, 1::2]], 1).reshape(-1, D)
            np.testing.assert_array_equal(blocks["attention"][name]["weight"][i], apart.T)


def test_a_model_that_the_format_has_no_words_for_is_refused_by_field(weights, tmp_path):
    config = LLAMA | {"model_type": "qwen2", "use_sliding_window": True, "sliding_window": 4, "max_window_layers": 1}
    model = by_config(config).spec(config)
    with pytest.raises(ConfigError, match=r"model\.pattern: .*GGUF's 'qwen2' has"):
        write_gguf(tmp_path / "m.gguf", model, weights(model))
    config = {"model_type": "bloom", "hidden_size": 16, "n_head": 2, "n_layer": 1, "vocab_size": 40, "seq_length": 8}
    bloom = by_config(config).spec(config)
    with pytest.raises(ConfigError, match="'bloom' is not written as GGUF; known: llama"):
        write_gguf(tmp_path / "m.gguf", bloom, weights(bloom))
    assert not list(tmp_path.iterdir())


def test_a_mistral_is_a_llama_with_a_window_or_without(weights, tmp_path, monkeypatch):
    window = {"model_type": "mistral", "sliding_window": 4}
    with pytest.raises(ConfigError, match="'mistral' is not written"):  # llama.cpp would see too far back
        write_gguf(tmp_path / "m.gguf", by_config(window).spec(LLAMA | window), {})
    plain = by_config(window).spec(LLAMA | window | {"sliding_window": None})
    write_gguf(tmp_path / "m.gguf", plain, weights(plain))
    source = read_source(tmp_path / "m.gguf")
    assert source.model.kind == "llama" and resolved_fields(source.model) == resolved_fields(plain)
    header = read_header(tmp_path / "m.gguf")
    header.fields["llama.attention.sliding_window"] = 4
    monkeypatch.setattr("jaxgpt.interop.gguf.read.read_header", lambda path: header)
    assert resolved_fields(read_source(tmp_path / "m.gguf").model) == resolved_fields(
        by_config(window).spec(LLAMA | window)
    )


def test_numbers_beyond_float16_are_not_written(weights, tmp_path):
    model = by_config(LLAMA).spec(LLAMA)
    params = weights(model)
    params["embed"]["token"][0, 0] = 1e6
    with pytest.raises(ConfigError, match=r"token_embd\.weight: holds numbers beyond float16"):
        write_gguf(tmp_path / "m.gguf", model, params, dtype="float16")
    assert not list(tmp_path.iterdir())


def test_llama_3_factors_are_those_of_the_wavelengths():
    """As the paper's code states it: by the wavelength of each pair."""
    got = llama_3_factors(SCALING, 500000.0, 128)
    for i, factor in enumerate(got):
        wavelength = 2 * np.pi * 500000.0 ** (2 * i / 128)
        if wavelength < 8192 / 4:
            assert factor == 1
        elif wavelength > 8192:
            assert factor == 8
        else:
            smooth = (8192 / wavelength - 1) / (4 - 1)
            assert factor == pytest.approx(1 / ((1 - smooth) / 8 + smooth))


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


def key(name, kind, raw):
    return text(name) + struct.pack("<I", kind) + raw


def head(*fields, tensors=b"", counts=None, version=3):
    counts = (len(tensors) > 0, len(fields)) if counts is None else counts
    return b"GGUF" + struct.pack("<IQQ", version, *counts) + b"".join(fields) + tensors


def tensor(name="t", shape=(4,), kind=0, offset=0):
    return text(name) + struct.pack(f"<I{len(shape)}QIQ", len(shape), *shape, kind, offset)


HUGE = 2**62
DAMAGED = {
    "empty": (b"", "cannot be read as GGUF"),
    "another": (b"PK\3\4" + b"\0" * 60, "no GGUF"),
    "short": (b"GGUF\3\0", r"byte 4: version of 4 bytes would end beyond the file's 6"),
    "version": (head(version=1), "version 1; expected 2 or 3"),
    "big-endian": (head(version=3 << 24), "big-endian"),
    "keys": (head(counts=(0, HUGE)), "keys, at most 131,072 each are read"),
    "tensors": (head(counts=(HUGE, 0)), "tensors and 0 keys, at most 131,072 each are read"),
    "key-length": (head(struct.pack("<Q", HUGE) + b"abc"), "a key of 4,611,686,018,427,387,904 bytes would end beyond"),
    "type": (head(key("a", 99, b"")), "a has type 99"),
    "twice": (head(key("a", 0, b"\1"), key("a", 0, b"\1")), "a more than once"),
    "array": (head(key("a", 9, struct.pack("<IQ", 4, HUGE))), "would end beyond"),
    "texts": (head(key("a", 9, struct.pack("<IQ", 8, HUGE))), "texts do not fit the file"),
    "arrays": (head(key("a", 9, struct.pack("<IQ", 9, HUGE))), "an array of arrays"),
    "name": (head(key("a\n", 0, b"\1")), "not up to 512 printable characters"),
    "axes": (head(tensors=text("t") + struct.pack("<I", 10**9)), "1000000000 axes"),
    "format": (head(tensors=tensor(kind=77)), "number format 77"),
    "blocks": (head(tensors=tensor(kind=2)), "blocks of 32 for Q4_0"),
    "beyond": (head(tensors=tensor(shape=(HUGE, HUGE))), "t: ends at byte"),
    "aligned": (head(tensors=tensor(offset=1)) + b"\0" * 99, "not aligned"),
    "alignment": (
        head(key("general.alignment", 4, struct.pack("<I", 0))),
        "general.alignment: 0, expected a power of two",
    ),
    "overlap": (head(tensors=tensor("a") + tensor("b"), counts=(2, 0)) + b"\0" * 99, "inside the tensor before it"),
    "architecture": (head(key("general.architecture", 8, text("mamba"))), "'mamba' is not read; known: gemma2, gpt2"),
    "no settings": (head(key("general.architecture", 8, text("llama"))), "llama.context_length: missing"),
}


@pytest.mark.parametrize("case", DAMAGED)
def test_a_damaged_file_is_refused_in_one_line_each(case, tmp_path):
    data, match = DAMAGED[case]
    path = tmp_path / "model.gguf"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match=match) as caught:
        read_source(path)
    assert all(line.startswith(str(path)) for line in str(caught.value).splitlines())


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_a_file_cut_short_is_refused(share, file):
    path, _, _ = file()
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(ConfigError, match="the file is damaged"):
        read_source(path)


def test_every_tensor_that_does_not_fit_is_named(file, tmp_path):
    path, _, _ = file()
    data = path.read_bytes().replace(b"blk.1.ffn_up.weight", b"blk.1.ffn_xx.weight")
    path.write_bytes(data.replace(b"blk.0.attn_v.weight", b"blk.0.attn_w.weight"))
    with pytest.raises(JaxgptError) as caught:
        read_source(path).read("float32", None)
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert [sum(word in line for line in lines) for word in ("missing", "no place for it", "blk.1.ffn_xx")] == [2, 2, 1]


def test_a_byte_vocabulary_goes_in_and_out(file):
    path, _, _ = file(vocabulary=ByteCodec())
    back = read_source(path).codec
    assert (back.encode("naïve 1"), back.eot) == (ByteCodec().encode("naïve 1"), 256)
