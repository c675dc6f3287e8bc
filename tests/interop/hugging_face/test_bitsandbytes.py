"""Folders whose projections are in 4 bits, as written here: what comes back, and what is refused."""

import json
import shutil

import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file, save_file

from jaxgpt.inference.convert import convert
from jaxgpt.inference.load import load
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.models import GPT2, Llama
from jaxgpt.runs.storage import NF4
from jaxgpt.spec import ConfigError, JaxgptError

SIZE = {"num_layers": 2, "d_model": 64, "num_heads": 4, "context": 16, "vocab_size": 40}
MODELS = {"gpt2": GPT2(**SIZE), "llama": Llama(**SIZE, num_kv_heads=2)}
STEM = "transformer.h.1.attn.c_proj.weight"
STATE = f"{STEM}.quant_state.bitsandbytes__nf4"


@pytest.fixture(scope="module")
def folders(tmp_path_factory, weights):
    """Per model: its folder in 4 bits, converted from one in float32, and the parameters of the latter."""
    root, done = tmp_path_factory.mktemp("four"), {}
    for name, model in MODELS.items():
        params = weights(model)
        write_folder(root / f"{name}_whole", model, params)
        convert(root / f"{name}_whole", root / name, "nf4")
        done[name] = root / name, params
    return done


@pytest.mark.often("llama")
@pytest.mark.parametrize("name", MODELS)
def test_comes_back_as_what_is_stored(name, folders):
    """Exactly: in the fused matrix of GPT-2's queries, keys and values the offset of scales is one for all three."""
    folder, params = folders[name]
    got, want = (flatten_dict(tree, sep="/") for tree in (load(folder).params, params))
    for path, leaf in want.items():
        fused = name == "gpt2" and path.rpartition("/")[0].endswith(("/q", "/k", "/v"))
        if not fused:
            stored = NF4().store(path, jnp.asarray(leaf))
            np.testing.assert_array_equal(got[path], stored.astype(jnp.float32), err_msg=path)
        else:
            assert np.abs(got[path] - leaf).max() < 0.2


def test_size(folders):
    size = lambda folder: (folder / "model.safetensors").stat().st_size  # noqa: E731
    quantized = load_file(folders["gpt2"][0] / "model.safetensors")
    assert sum(leaf.nbytes for name, leaf in quantized.items() if name.startswith(STEM)) < 0.3 * 2 * 64 * 64 + 2000
    assert size(folders["gpt2"][0]) < size(folders["gpt2"][0].parent / "gpt2_whole")


def rewritten(folder, target, change):
    shutil.copytree(folder, target)
    tensors = {name: array.copy() for name, array in load_file(folder / "model.safetensors").items()}
    change(tensors)
    save_file(tensors, target / "model.safetensors")
    return target


def state(**changes):
    def change(tensors):
        content = json.loads(tensors[STATE].tobytes()) | changes
        tensors[STATE] = np.frombuffer(json.dumps(content).encode(), np.uint8)

    return change


def moved(name, to):
    return lambda tensors: tensors.update({to: tensors.pop(name)})


def cut(name, count=3):
    return lambda tensors: tensors.update({name: tensors[name][:-count].copy()})


def raw(text):
    return lambda tensors: tensors.update({STATE: np.frombuffer(text, np.uint8)})


BAD = {
    "fp4": (moved(STATE, STATE[:-3] + "fp4"), "quantised as 'fp4', which is not read, only nf4; give the unquantised"),
    "another block": (state(blocksize=128), "blocksize 128, which is not read, only 64"),
    "a shape of words": (state(shape=["a", 2]), r"shape \['a', 2\], expected two sizes"),
    "a shape that is another": (state(shape=[64, 128]), r"uint8 of shape \(2048, 1\), expected uint8 of 4096 numbers"),
    "a shape beyond memory": (state(shape=[2**30, 2**30]), "codes: uint8 of shape"),
    "another dtype": (state(dtype="float8"), "dtype 'float8', expected one of float32, float16, bfloat16"),
    "no number": (state(nested_offset="x"), "nested_offset 'x', expected a number"),
    "no JSON": (raw(b"\xff\xfe"), "its state: not sound JSON"),
    "an absurd state": (raw(b" " * 5000), "uint8 of shape .5000,., expected up to 4096 bytes"),
    "scales cut off": (cut(f"{STEM}.absmax"), r"\.absmax: uint8 of shape \(61,\), expected uint8 of 64 numbers"),
    "codes cut off": (cut(STEM), r"codes: uint8 of shape \(2045, 1\)"),
    "no scales": (lambda tensors: tensors.pop(f"{STEM}.nested_absmax"), "lacks .*nested_absmax; get the file again"),
    "another table": (lambda tensors: tensors[f"{STEM}.quant_map"].fill(1), "quant_map is another table than"),
    "NaN": (lambda tensors: tensors[f"{STEM}.nested_absmax"].fill(np.nan), "is not finite|not a finite|NaN"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_folders_are_refused_in_one_line(name, folders, tmp_path):
    change, message = BAD[name]
    folder = rewritten(folders["gpt2"][0], tmp_path / "bad", change)
    with pytest.raises(JaxgptError, match=message) as error:
        load(folder)
    assert len(error.value.problems) == 1


@pytest.mark.parametrize(
    ("how", "message"),
    [
        ({"quant_method": "gptq"}, "quantization_config: 'gptq' is not read, only bitsandbytes in 4 bits"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "bitsandbytes without load_in_4bit is not read"),
        (3, "quantization_config: 3 is not read"),
    ],
)
def test_other_methods_are_refused_by_name(how, message, folders, tmp_path):
    folder = rewritten(folders["gpt2"][0], tmp_path / "bad", lambda tensors: None)
    config = json.loads((folder / "config.json").read_text()) | {"quantization_config": how}
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ConfigError, match=message):
        load(folder)


def test_gguf_has_other_types(folders, tmp_path):
    with pytest.raises(ConfigError, match=r"^dtype: nf4 is a Hugging Face folder's"):
        convert(folders["llama"][0], tmp_path / "x.gguf", "nf4")
