"""A model without biases goes to classes that always have them, with zeros there: its logits stay as they are."""

import jax
import numpy as np
import pytest
from close import assert_close
from rarely import mostly

from jaxgpt.interop.families.table import FAMILIES, by_model
from jaxgpt.interop.gguf import read as gguf
from jaxgpt.interop.gguf.write import write_gguf
from jaxgpt.interop.hugging_face import folder as hf_folder
from jaxgpt.interop.hugging_face.config import resolved_fields
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.models import BERT, BLOOM, GPT1, GPT2, GPTJ, Decoder, GPTNeo, GPTNeoX, Llama, RoBERTa
from jaxgpt.spec import ConfigError

SIZE = {"num_layers": 2, "d_model": 16, "num_heads": 2, "context": 8, "vocab_size": 40}
LAYER = {"kind": "layer", "bias": False}
BARE = {"bias": False, "norm": LAYER}
MODELS = {
    "gpt2": GPT2(**SIZE, **BARE),
    "gpt2, norms with biases": GPT2(**SIZE, bias=False),
    "gpt2, only queries, keys and values": GPT2(**SIZE, bias=False, qkv_bias=True, tied=False),
    "gpt1": GPT1(**SIZE, **BARE),
    "gpt_neo": GPTNeo(**SIZE, **BARE, pattern="causal"),
    "gptj": GPTJ(**SIZE, **BARE, head_bias=False, position={"kind": "rotary", "width": 4}),
    "gpt_neox": GPTNeoX(**SIZE, **BARE),
    "gpt_neox, only attention's output": GPTNeoX(**SIZE, **BARE, o_bias=True),
    "bloom": BLOOM(**SIZE, **BARE, embed_norm=LAYER),
    "llama, only attention's output": Llama(**SIZE, num_kv_heads=2, o_bias=True),
    "bert": BERT(**SIZE, **BARE, embed_norm=LAYER),
    "roberta": RoBERTa(**SIZE, **BARE, embed_norm=LAYER),
    "a decoder of no family": Decoder(**SIZE, **BARE, position="alibi", embed_norm=LAYER),
}
TOKENS = np.random.default_rng(0).integers(0, 40, (2, 8))


def logits(model, params):
    return model.build().apply({"params": params}, TOKENS)


def check(model, params, source, written):
    """What came back is what was said to be written: the same model but for zeros in its biases."""
    again = source.read("float32", None)
    assert source.model.shapes() == written.shapes() != model.shapes()
    assert not isinstance(model, Decoder) or resolved_fields(source.model) == resolved_fields(written)
    own = dict(jax.tree_util.tree_leaves_with_path(params))
    for path, leaf in jax.tree_util.tree_leaves_with_path(again):
        if path in own:
            np.testing.assert_array_equal(leaf, own[path])
        else:
            assert path[-1].key == "bias" and not leaf.any()
    assert_close(logits(source.model, again), logits(model, params), 1e-6)


@pytest.mark.often("gpt2")
@pytest.mark.parametrize("name", mostly(MODELS, "gpt2", "gptj", "gpt_neox"))
def test_a_folder_holds_the_same_model_with_zeros(name, weights, tmp_path):
    model = MODELS[name]
    params = weights(model)
    written = write_folder(tmp_path / "hf", model, params)
    check(model, params, hf_folder.read_source(tmp_path / "hf"), written)


@pytest.mark.parametrize("name", ["gpt2", "gpt2, norms with biases", "llama, only attention's output"])
def test_so_does_a_gguf_file(name, weights, tmp_path):
    model = MODELS[name]
    params = weights(model)
    written = write_gguf(tmp_path / "m.gguf", model, params)
    check(model, params, gguf.read_source(tmp_path / "m.gguf"), written)


def test_a_model_that_fits_as_it_is_is_written_as_it_is(weights, tmp_path):
    for model in (Llama(**SIZE), GPT2(**SIZE), Llama(**SIZE, qkv_bias=True), BERT(**SIZE)):
        family = by_model(model)
        assert family.filled(model) is model and write_folder(tmp_path / str(id(model)), model, weights(model)) is model


def test_every_family_takes_biases_of_its_own_model_only():
    """`filled` adds biases, and nothing else: what does not fit for another reason is said without them."""
    for family in FAMILIES:
        model = family.kind(**SIZE | {"context": 4096, "d_model": 128})
        assert family.filled(model) is model
    with pytest.raises(ConfigError) as caught:
        by_model(GPT2(**SIZE, **BARE, position="alibi"))
    assert [problem.split(":")[0] for problem in caught.value.problems] == ["model.position"]
