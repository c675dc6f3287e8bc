"""4-bit folders of transformers, both ways, against its own dequantisation: no number differs (`make parity`).

Sizes are multiples of 64; for others bitsandbytes dequantises wrongly on a CPU with AVX-512."""

import re

import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from safetensors.numpy import load_file, save_file

from jaxgpt.inference.convert import convert
from jaxgpt.inference.load import load
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.models import GPT2, Llama

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore")]

SIZE = {"num_layers": 2, "d_model": 64, "num_heads": 4, "context": 16, "vocab_size": 40}
MODELS = {
    "gpt2": GPT2(**SIZE),
    "gpt2 with an output of its own": GPT2(**SIZE, tied=False),
    "llama": Llama(**SIZE, num_kv_heads=2, feed_forward={"kind": "gated", "d_ff": 128}),
}


def theirs(folder, target, **options):
    """Their model in 4 bits, and in `target` a folder of what it dequantises to."""
    import transformers

    model = transformers.AutoModelForCausalLM.from_pretrained(folder, **options)
    if target is not None:
        model.dequantize().save_pretrained(target)
        path = target / "model.safetensors"
        arrays = load_file(path)
        for name in arrays:  # it leaves GPT-2's projections (O, I), as which its own class would not load them
            if re.search(r"\.c_\w+\.weight$", name):
                arrays[name] = np.ascontiguousarray(arrays[name].T)
        save_file(arrays, path, metadata={"format": "pt"})
    return model


def assert_same(folder, other):
    ours, want = (flatten_dict(load(path).params, sep="/") for path in (folder, other))
    assert ours.keys() == want.keys()
    for path, leaf in want.items():
        np.testing.assert_array_equal(ours[path], leaf, err_msg=path)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("double", [True, False])
def test_theirs_are_read(name, double, tmp_path, weights):
    import torch
    from transformers import BitsAndBytesConfig

    write_folder(tmp_path / "whole", MODELS[name], weights(MODELS[name]))
    how = BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double,
        bnb_4bit_compute_dtype=torch.float32,
    )
    theirs(tmp_path / "whole", None, quantization_config=how).save_pretrained(tmp_path / "four")
    theirs(tmp_path / "four", tmp_path / "back")
    assert_same(tmp_path / "four", tmp_path / "back")


@pytest.mark.parametrize("name", MODELS)
def test_ours_are_read_by_them(name, tmp_path, weights):
    import bitsandbytes as bnb

    write_folder(tmp_path / "whole", MODELS[name], weights(MODELS[name]))
    convert(tmp_path / "whole", tmp_path / "four", "nf4")
    model = theirs(tmp_path / "four", None)
    four = [path for path, module in model.named_modules() if isinstance(module, bnb.nn.Linear4bit)]
    assert len(four) == 2 * (4 if name.startswith("gpt2") else 7)
    theirs(tmp_path / "four", tmp_path / "back")
    assert_same(tmp_path / "four", tmp_path / "back")
