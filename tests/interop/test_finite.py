"""Weights that are no numbers are refused when loading, whatever the format, and the tensor is named."""

import ml_dtypes
import numpy as np
import pytest

import jaxgpt
from jaxgpt.inference.device_weights import computes
from jaxgpt.interop.finite import PIECE, is_finite
from jaxgpt.interop.gguf.write import write_gguf
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.models import GPT2, Llama
from jaxgpt.runs.checkpoint.checkpoint import save
from jaxgpt.spec import JaxgptError, dump_yaml
from jaxgpt.text.tokenizers.byte import ByteCodec

GPT = GPT2(num_layers=2, d_model=16, num_heads=2, vocab_size=257, context=8)
LLAMA = Llama(num_layers=2, d_model=16, num_heads=2, num_kv_heads=2, vocab_size=257, context=8)


@pytest.mark.parametrize("dtype", ["float32", "float16", "float64", ml_dtypes.bfloat16], ids=str)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_entry_anywhere_is_seen(dtype, bad):
    array = np.full((2, PIECE), np.finfo(np.float16).max, dtype)
    assert is_finite(array) and is_finite(array[:0]) and is_finite(array.T)
    for at in ((0, 0), (1, PIECE // 2), (1, PIECE - 1)):
        array[at] = bad
        assert not is_finite(array) and not is_finite(array.T)
        array[at] = -1.0


def spoiled(params, value):
    """The same weights but for one entry of the second layer."""
    up = params["blocks"]["layers"]["feed_forward"]["up"]["weight"].copy()
    up[1, 3, 2] = value
    layers = params["blocks"]["layers"]
    layers = layers | {"feed_forward": layers["feed_forward"] | {"up": {**layers["feed_forward"]["up"], "weight": up}}}
    return params | {"blocks": {"layers": layers}}


@pytest.fixture(params=["run", "hugging face", "gguf", "llama2.c"])
def written(request, weights, tiny, tmp_path):
    """`written(value)`: a checkpoint of that format with one such entry, and the name of its tensor."""

    def write(value):
        if request.param == "run":
            run = tiny(**{"model.vocab_size": 257})
            (tmp_path / "config.yaml").write_text(dump_yaml(run))
            ByteCodec().save(tmp_path / "tokenizer")
            save(tmp_path / "ckpt", 1, {"params": spoiled(weights(run.model), value)}, {})
            return tmp_path, "blocks/layers/feed_forward/up/weight"
        if request.param == "hugging face":
            write_folder(tmp_path / "hf", GPT, spoiled(weights(GPT), value))
            return tmp_path / "hf", "h.1.mlp.c_fc.weight"
        params = spoiled(weights(LLAMA), value)
        if request.param == "gguf":
            write_gguf(tmp_path / "m.gguf", LLAMA, params)
            return tmp_path / "m.gguf", "layers.1.mlp.up_proj.weight"
        layers = params["blocks"]["layers"]
        order = [params["embed"]["token"], layers["norm_attention"]["scale"]]
        order += [np.swapaxes(layers["attention"][name]["weight"], 1, 2) for name in "qkvo"]
        order += [layers["norm_feed_forward"]["scale"]]
        order += [np.swapaxes(layers["feed_forward"][name]["weight"], 1, 2) for name in ("gate", "down", "up")]
        order += [params["norm_final"]["scale"], np.zeros((2, 8, 4), np.float32)]
        inner = layers["feed_forward"]["up"]["weight"].shape[2]
        head = np.array([16, inner, 2, 2, 2, 257, 8], "<i4").tobytes()
        (tmp_path / "m.bin").write_bytes(head + b"".join(np.ascontiguousarray(part).tobytes() for part in order))
        return tmp_path / "m.bin", "layers.1.mlp.up_proj.weight"

    return write


@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_weights_that_are_no_numbers_are_refused(written, value):
    path, name = written(value)
    with pytest.raises(JaxgptError, match=f"{name}: holds NaN or infinity") as caught:
        jaxgpt.load(path)
    assert "\n" not in str(caught.value)


def test_weights_beyond_the_dtype_asked_for_are_refused(written):
    path, name = written(1e6)
    jaxgpt.load(path), jaxgpt.load(path, dtype="bfloat16")
    line = f"{name}: holds numbers beyond float16; use float32"
    if path.is_dir() and (path / "ckpt").exists() and not computes("float16"):
        line = "dtype: XLA has no float16 for this processor; load in float32 or bfloat16"
    with pytest.raises(JaxgptError, match=line):
        jaxgpt.load(path, dtype="float16")
