"""llama2.c's checkpoints: both float versions, tied or not, and what is refused. Real weights where there are any."""

import struct
from pathlib import Path

import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

import jaxgpt
from jaxgpt.interop.llama2c import read_source
from jaxgpt.models import Decoder
from jaxgpt.spec import ConfigError, parse
from jaxgpt.text.tokenizers.sentencepiece import SPACE

DIM, HIDDEN, LAYERS, HEADS, KV, VOCAB, CONTEXT = SIZES = (16, 24, 2, 4, 2, 262, 12)
PIECES = ["<unk>", "\n<s>\n", "\n</s>\n", *(f"<0x{byte:02X}>" for byte in range(256)), " ", "a", " a"]
LAYERED = {
    "norm_attention/scale": (DIM,),
    "attention/q/weight": (DIM, DIM),
    "attention/k/weight": (DIM // 2, DIM),
    "attention/v/weight": (DIM // 2, DIM),
    "attention/o/weight": (DIM, DIM),
    "norm_feed_forward/scale": (DIM,),
    "feed_forward/gate/weight": (HIDDEN, DIM),
    "feed_forward/down/weight": (DIM, HIDDEN),
    "feed_forward/up/weight": (HIDDEN, DIM),
}


@pytest.fixture
def arrays():
    """Theirs, (out, in), under our paths."""
    rng = np.random.default_rng(0)
    shapes = {path: (LAYERS, *shape) for path, shape in LAYERED.items()}
    shapes |= {"embed/token": (VOCAB, DIM), "norm_final/scale": (DIM,), "lm_head/weight": (VOCAB, DIM)}
    return {path: rng.normal(path.endswith("scale"), 0.3, shape).astype("<f4") for path, shape in shapes.items()}


def write(path: Path, arrays, version=0, tied=True, sizes=SIZES) -> Path:
    """As `export.py` does: version 0 with its tables of cosines and sines, version 1 without."""
    norms = ["norm_attention/scale", "norm_feed_forward/scale"]
    if version == 0:
        order = ["embed/token", *LAYERED, "norm_final/scale", "tables"]
        head = struct.pack("<7i", *sizes[:5], sizes[5] if tied else -sizes[5], sizes[6])
    else:
        order = [*norms, "norm_final/scale", "embed/token", *(name for name in LAYERED if name not in norms)]
        head = (struct.pack("<Ii7iB", 0x616B3432, version, *sizes, tied)).ljust(256, b"\0")
    order += [] if tied else ["lm_head/weight"]
    held = {**arrays, "tables": np.full((CONTEXT, DIM // HEADS), 7, "<f4")}
    path.write_bytes(head + b"".join(held[name].tobytes() for name in order))
    (path.parent / f"tok{VOCAB}.bin").write_bytes(
        struct.pack("<I", 6)
        + b"".join(struct.pack("<fi", -i, len(text)) + text.encode() for i, text in enumerate(PIECES))
    )
    return path


@pytest.mark.often("True-0", "False-1")
@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize("tied", [True, False])
def test_logits_are_those_of_pairs_side_by_side(arrays, version, tied, tmp_path):
    """The same numbers in a Decoder that turns neighbouring channels, as llama2.c does."""
    source = read_source(write(tmp_path / "model.bin", arrays, version, tied))
    spec = {
        "kind": "decoder",
        "num_layers": LAYERS,
        "d_model": DIM,
        "num_heads": HEADS,
        "num_kv_heads": KV,
        "position": {"kind": "rotary", "pairing": "interleaved"},
        "norm": {"kind": "rms"},
        "feed_forward": {"kind": "gated", "d_ff": HIDDEN},
        "bias": False,
        "tied": tied,
        "context": CONTEXT,
        "vocab_size": VOCAB,
    }
    plain = parse(Decoder, spec)
    turned = {path: leaf if leaf.ndim < 3 else leaf.swapaxes(1, 2) for path, leaf in arrays.items()}
    turned["lm_head/weight"] = arrays["lm_head/weight"].T
    tree: dict = {"blocks": {"layers": {}}}
    for path, leaf in turned.items():
        *folders, name = (["blocks", "layers"] if path in LAYERED else []) + path.split("/")
        node = tree
        for folder in folders:
            node = node.setdefault(folder, {})
        node[name] = leaf
    if tied:
        del tree["lm_head"]
    ids = jnp.asarray(np.random.default_rng(1).integers(0, VOCAB, (2, CONTEXT)))
    want = plain.build().apply({"params": tree}, ids)
    got = source.model.build().apply({"params": source.read("float32", None)}, ids)
    assert np.std(want) > 0.1
    assert_close(got, want)


def test_its_tokenizer_lies_beside_it(arrays, tmp_path):
    path = write(tmp_path / "model.bin", arrays)
    codec = read_source(path).codec
    assert (codec.bos, codec.eot, codec.encode("a a")) == (1, 1, [261, 261])
    (tmp_path / f"tok{VOCAB}.bin").rename(tmp_path / "tokenizer.bin")
    assert read_source(path).codec.digest == codec.digest
    (tmp_path / "tokenizer.bin").unlink()
    assert read_source(path).codec is None
    assert SPACE not in codec.decode([261, 261])


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda data: data[:-4], "the file is damaged or another thing"),
        (lambda data: data + b"\0", "the file is damaged or another thing"),
        (lambda data: data[:20], "20 bytes hold no header"),
        (
            lambda data: struct.pack("<7i", 2**31 - 2, 2**31 - 1, 2**31 - 1, 1, 1, 2**31 - 1, 1),
            "28 bytes, but a header",
        ),
        (lambda data: data[:12] + struct.pack("<i", 3) + data[16:], "n_heads 3.*not a checkpoint of llama2.c"),
        (lambda data: data[:12] + struct.pack("<i", 0) + data[16:], "n_heads 0.*not a checkpoint of llama2.c"),
        (lambda data: struct.pack("<Ii", 0x616B3432, 2) + data, "version 2 is quantised"),
        (lambda data: struct.pack("<Ii", 0x616B3432, 9) + data, "version 9"),
        (lambda data: bytes(range(256)), "not a checkpoint of llama2.c"),
    ],
)
def test_another_file_is_one_line(spoil, match, arrays, tmp_path):
    path = write(tmp_path / "model.bin", arrays)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(ConfigError, match=match) as caught:
        read_source(path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parity
def test_stories260k_writes_the_golden_text(data_folder):
    """200 greedy steps from the start token, as llama2.c's own test states them."""
    folder = data_folder / "stories260K"
    if not folder.is_dir():
        pytest.skip(f"no data at {folder}")
    held = jaxgpt.load(folder / "stories260K.bin")
    assert held.generate([""], max_new=200) == [(folder / "golden.txt").read_text()]
