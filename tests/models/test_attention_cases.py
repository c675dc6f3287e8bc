"""What a model says that it will ask of a kernel is what it asks, and few calls lie between a block and the maths."""

import sys
from types import SimpleNamespace

import jax
import numpy as np
import pytest

import jaxgpt
import jaxgpt.peft
from jaxgpt.models import Decoder, Encoder
from jaxgpt.nn.block import Block
from jaxgpt.ops.attention import Auto, Reference, Scores, Side, case_of_call, tile
from jaxgpt.ops.patterns import Causal
from jaxgpt.ops.sharding import Placement, constraining
from jaxgpt.spec import ConfigError

B, T = 2, 8
SIZE = {"num_layers": 2, "d_model": 16, "num_heads": 4, "context": T, "vocab_size": 16}
PER_HEAD = {"kind": "per_head", "of": ["causal", {"kind": "banded", "window": 3}]}
MODELS = {
    "grouped, dropout": Decoder(**SIZE, num_kv_heads=2, dropout=0.1),
    "alibi, cap, heads apart": Decoder.model_validate(
        SIZE | {"position": "alibi", "soft_cap": 2.0, "pattern": [PER_HEAD, "causal"], "d_head": 8}
    ),
    "encoder": Encoder(**SIZE),
}
VIRTUAL = {
    "prompt": Decoder.model_validate(SIZE | {"context": 2 * T, "adapter": {"kind": "prompt", "tokens": 3}}),
    "prefix, heads apart": Decoder.model_validate(
        SIZE | {"context": 2 * T, "adapter": {"kind": "prefix", "tokens": 3}, "pattern": [PER_HEAD, "causal"]}
    ),
    "prefix, encoder": Encoder.model_validate(SIZE | {"context": 2 * T, "adapter": {"kind": "prefix", "tokens": 3}}),
}


def hidden(spec, numbering, dtype="float32"):
    """Traces a training pass over a batch whose tokens stand so."""
    rows = jax.ShapeDtypeStruct((B, T), np.int32)
    given = {"row": (), "documents": ("positions", "segments"), "any": ("positions",)}[numbering]
    module = spec.build(Auto(), dtype)

    def run(params, tokens, more):
        rngs = {"dropout": jax.random.key(0)}
        return module.apply({"params": params}, tokens, **more, train=True, rngs=rngs, method="hidden")

    jax.eval_shape(run, spec.shapes(), rows, dict.fromkeys(given, rows))


@pytest.mark.parametrize(
    ("name", "numbering"),
    [
        *((name, numbering) for name in MODELS for numbering in ("row", "documents", "any")),
        *((name, numbering) for name in VIRTUAL for numbering in ("row", "any")),
    ],
)
def test_a_model_tells_the_cases_of_its_calls(name, numbering, monkeypatch):
    spec, asked = (MODELS | VIRTUAL)[name], []
    spec.shapes()  # initialising attends too; it is done once
    compute = Reference.compute

    def noted(self, q, k, v, scores, case):
        asked.append(case)
        return compute(self, q, k, v, scores, case)

    monkeypatch.setattr(Reference, "compute", noted)
    hidden(spec, numbering, "bfloat16")
    assert {*asked} == {*spec.cases(T, "bfloat16", "cpu", numbering, numbering == "documents").values()}


@pytest.mark.parametrize("name", VIRTUAL)
def test_documents_apart_have_no_room_for_virtual_tokens(name):
    with pytest.raises(ConfigError, match=r"^data\.documents: separate ones have positions of their own"):
        hidden(VIRTUAL[name], "documents")


def test_six_calls_from_a_block_to_the_maths():
    """Frames of our own, the block's included, above the one that computes scores."""
    home, depths = jaxgpt.__path__[0], []

    def watch(frame, event, _):
        if event == "call" and frame.f_code is tile.tile_scores.__code__:
            ours, above = 0, frame.f_back
            while above is not None and above.f_code is not Block.__call__.__wrapped__.__code__:
                ours, above = ours + above.f_code.co_filename.startswith(home), above.f_back
            depths.append(ours + 1)

    sys.setprofile(watch)
    try:
        hidden(MODELS["encoder"], "row")
    finally:
        sys.setprofile(None)
    assert depths and max(depths) <= 6


def test_a_case_is_on_the_platform_of_the_mesh():
    """Whose devices need not be at hand: programs are compiled ahead of time for others."""
    mesh = SimpleNamespace(devices=np.array([SimpleNamespace(platform="tpu")]), size=1, shape={})
    q, scores = jax.ShapeDtypeStruct((B, 1, T, 4), np.float32), Scores(Causal(), Side(None), Side(None))
    assert case_of_call(q, q, scores).platform == "cpu"
    with constraining(Placement(mesh, lambda path, shape: None)):
        assert case_of_call(q, q, scores).platform == "tpu"
