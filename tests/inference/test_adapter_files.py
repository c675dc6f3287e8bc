"""`jaxgpt convert` of a run with an adapter: a PEFT folder, or with --merge a whole model that computes the same."""

import json

import numpy as np
import pytest
from close import assert_close

import jaxgpt
from jaxgpt.interop.peft.config import CONFIG

IDS = np.random.default_rng(0).integers(0, 257, (2, 7))
LORA = {"kind": "lora", "rank": 2, "fused_qkv": True, "targets": ["attention/", "down$"]}


@pytest.fixture
def call(jaxgpt_):
    """`call("convert", ...)`: exit status and lines of standard error."""
    return lambda *words: jaxgpt_(*words)[::2]


@pytest.fixture(scope="module")
def lora(adapted):
    return adapted(**{"model.adapter": LORA})


def test_an_adapter_alone_becomes_a_peft_folder(call, base, lora, tmp_path):
    status, lines = call("convert", lora, tmp_path / "peft")
    assert (status, lines) == (0, [f"wrote {tmp_path / 'peft'}"])
    assert sorted(path.name for path in (tmp_path / "peft").iterdir()) == [CONFIG, "adapter_model.safetensors"]
    assert json.loads((tmp_path / "peft" / CONFIG).read_text())["base_model_name_or_path"] == str(base)
    ours, theirs = jaxgpt.load(lora), jaxgpt.load(base, adapter={"a": tmp_path / "peft", "run": lora})
    assert_close(theirs.logits(IDS), ours.logits(IDS), 1e-6)
    np.testing.assert_array_equal(theirs.with_adapter("run").logits(IDS), ours.logits(IDS))
    size = sum(path.stat().st_size for path in (tmp_path / "peft").iterdir())
    assert size < sum(path.stat().st_size for path in base.iterdir()) / 2, "the base is not in it"


@pytest.mark.often("nf4")
@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "nf4"])
def test_merged_weights_compute_the_same_and_the_error_is_said(dtype, call, lora, tmp_path):
    status, lines = call("convert", lora, tmp_path / "whole", "--merge", "--dtype", dtype)
    said = " ".join(lines)
    assert status == 0 and "merged 5 arrays" in said and f"in {dtype} one is off by at most" in said
    want = jaxgpt.load(lora)
    got = jaxgpt.load(tmp_path / "whole")
    assert got.model.adapter is None and got.adapters == {}
    if dtype != "nf4":
        assert_close(got.logits(IDS), want.logits(IDS), 1e-5 if dtype == "float32" else 0.1)
    error, lost = (float(word) for word in said.replace(",", "").split() if "e-0" in word)
    low, high = {"float32": (0, 1e-7), "bfloat16": (1e-3, 4e-3), "nf4": (0.02, 0.2)}[dtype]
    assert low < error < high and error < lost < 10 * error


def test_a_peft_folder_is_merged_into_the_base_that_it_names(call, base, lora, tmp_path):
    call("convert", lora, tmp_path / "peft")
    status, _ = call("convert", tmp_path / "peft", tmp_path / "whole.gguf", "--merge")
    assert status == 0
    assert_close(jaxgpt.load(tmp_path / "whole.gguf").logits(IDS), jaxgpt.load(lora).logits(IDS), 1e-5)
    config = json.loads((tmp_path / "peft" / CONFIG).read_text())
    (tmp_path / "peft" / CONFIG).write_text(json.dumps(config | {"base_model_name_or_path": "not/here"}))
    status, (line,) = call("convert", tmp_path / "peft", tmp_path / "other", "--merge")
    assert status == 2 and "base_model_name_or_path" in line and "not/here" in line
    status, (line,) = call("sample", tmp_path / "peft")
    assert status == 2 and "is an adapter" in line


@pytest.mark.slow
def test_four_bits_in_training_are_said(call, base, adapted, tmp_path):
    run = adapted(**{"model.adapter": LORA, "storage": {"kind": "nf4"}})
    status, lines = call("convert", run, tmp_path / "peft")
    assert status == 0 and "in training the base was nf4" in " ".join(lines)
    status, lines = call("convert", run, tmp_path / "whole", "--merge")
    assert status == 0
    assert_close(jaxgpt.load(tmp_path / "whole").logits(IDS), jaxgpt.load(run).logits(IDS), 1e-5)


def test_what_does_not_go_is_refused_in_one_line(call, base, lora, adapted, tmp_path):
    prefix = adapted(**{"model.adapter": {"kind": "prefix", "tokens": 2}})
    bottleneck = adapted(**{"model.adapter": {"kind": "adapter"}})
    call("convert", lora, tmp_path / "peft")
    cases = [
        ((prefix, tmp_path / "out", "--merge"), "prefix is no change of weights"),
        ((bottleneck, tmp_path / "out"), "PEFT's files have no place for 'adapter'"),
        ((lora, tmp_path / "out.gguf"), "an adapter becomes a folder of PEFT's"),
        ((base, tmp_path / "out", "--merge"), "has no adapter"),
        ((tmp_path / "peft", tmp_path / "out"), "a folder of PEFT's already"),
    ]
    for words, line in cases:
        status, lines = call("convert", *words)
        assert status == 2 and len(lines) == 1 and line in lines[0], lines
        assert not (tmp_path / "out").exists()
