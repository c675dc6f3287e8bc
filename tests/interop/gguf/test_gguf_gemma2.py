"""Gemma 2 in GGUF, by llama.cpp's conventions: norms stored plus 1, caps, every other layer slides, output tied."""

import gguf
import jax
import numpy as np
import pytest
from close import assert_close

import jaxgpt
from jaxgpt.interop.families.table import by_config
from jaxgpt.interop.gguf.header import read_header
from jaxgpt.interop.gguf.read import read_source
from jaxgpt.interop.gguf.write import write_gguf
from jaxgpt.interop.hugging_face.config import resolved_fields
from jaxgpt.models import Gemma2
from jaxgpt.spec import ConfigError

CONFIG = {
    "model_type": "gemma2",
    "vocab_size": 50,
    "hidden_size": 24,
    "intermediate_size": 40,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "query_pre_attn_scalar": 8,
    "max_position_embeddings": 16,
    "sliding_window": 4,
    "attn_logit_softcapping": 3.0,
    "final_logit_softcapping": 2.0,
    "rms_norm_eps": 1e-5,
}
MODEL = by_config(CONFIG).spec(CONFIG)


def test_what_we_write_reads_back(weights, tmp_path):
    params = weights(MODEL)
    write_gguf(tmp_path / "m.gguf", MODEL, params)
    source = read_source(tmp_path / "m.gguf")
    assert resolved_fields(source.model) == resolved_fields(MODEL) and source.model.kind == "gemma2"
    got = source.read("float32", None)
    assert jax.tree.structure(got) == jax.tree.structure(params)
    assert_close(got, params, 1e-6)
    np.testing.assert_array_equal(got["embed"]["token"], params["embed"]["token"])
    header = read_header(tmp_path / "m.gguf")
    names = {"post_attention_norm", "post_ffw_norm", "attn_norm", "ffn_norm"}
    assert {f"blk.3.{name}.weight" for name in names} < header.tensors.keys() and "output.weight" not in header.tensors
    assert header.fields["gemma2.attention.sliding_window"] == 4 and header.fields["gemma2.attn_logit_softcapping"] == 3


def test_the_scale_of_scores_follows_from_the_size():
    from jaxgpt.interop.gguf.names import ARCHITECTURES

    for name in ("2b", "9b", "27b"):
        model = Gemma2(**Gemma2.sizes[name])
        config = by_config(CONFIG).config(model)
        want = config.pop("query_pre_attn_scalar")
        assert ARCHITECTURES["gemma2"].derived(config) == {
            "query_pre_attn_scalar": want,
            "head_dim": config["head_dim"],
        }


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ({"soft_cap": None}, r"model\.soft_cap: None; GGUF's 'gemma2' has 50\.0 only"),
        ({"logit_cap": None}, r"model\.logit_cap: None; GGUF's 'gemma2' has 30\.0 only"),
        ({"score_scale": 0.25}, r"model\.score_scale: 0\.25; GGUF's 'gemma2' has 0\.35.* only"),
        ({"pattern": ("causal", {"kind": "banded", "window": 4})}, r"model\.pattern: "),
        ({"tied": False}, r"its tensor lm_head\.weight has no place in GGUF's 'gemma2'"),
    ],
    ids=str,
)
def test_what_llama_cpp_would_compute_otherwise_is_refused(change, line, weights, tmp_path):
    model = MODEL.evolve(**change)
    with pytest.raises(ConfigError, match=line):
        write_gguf(tmp_path / "m.gguf", model, weights(model))
    assert not list(tmp_path.iterdir())


def test_another_order_of_windows_is_refused(weights, tmp_path, monkeypatch):
    write_gguf(tmp_path / "m.gguf", MODEL, weights(MODEL))
    header = read_header(tmp_path / "m.gguf")
    header.fields["gemma2.attention.sliding_window_pattern"] = 3
    monkeypatch.setattr("jaxgpt.interop.gguf.read.read_header", lambda path: header)
    with pytest.raises(ConfigError, match=r"gemma2\.attention\.sliding_window_pattern: 3 is not supported, only 2"):
        read_source(tmp_path / "m.gguf")


@pytest.fixture
def theirs():
    """A random Gemma2ForCausalLM: no weight is where it starts."""
    torch = pytest.importorskip("torch", reason="needs torch: pip install 'jaxgpt[peer]'")
    transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'jaxgpt[peer]'")
    torch.manual_seed(0)
    model = transformers.Gemma2ForCausalLM(transformers.Gemma2Config(**CONFIG, attn_implementation="eager")).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
    return model


def logits(model, ids):
    import torch

    with torch.no_grad():
        return model(torch.from_numpy(ids)).logits.numpy()


IDS = np.random.default_rng(0).integers(0, 50, (2, 14))


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_file_made_by_their_rules_gives_their_logits(theirs, tmp_path):
    """Written with the gguf package alone: its names of tensors and keys, the converter's plus 1, no scale of scores,
    no rotary base."""
    writer = gguf.GGUFWriter(tmp_path / "m.gguf", "gemma2")
    writer.add_context_length(CONFIG["max_position_embeddings"])
    writer.add_embedding_length(CONFIG["hidden_size"])
    writer.add_block_count(CONFIG["num_hidden_layers"])
    writer.add_feed_forward_length(CONFIG["intermediate_size"])
    writer.add_head_count(CONFIG["num_attention_heads"])
    writer.add_head_count_kv(CONFIG["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(CONFIG["rms_norm_eps"])
    writer.add_key_length(CONFIG["head_dim"])
    writer.add_value_length(CONFIG["head_dim"])
    writer.add_attn_logit_softcapping(CONFIG["attn_logit_softcapping"])
    writer.add_final_logit_softcapping(CONFIG["final_logit_softcapping"])
    writer.add_sliding_window(CONFIG["sliding_window"])
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.GEMMA2, CONFIG["num_hidden_layers"])
    for name, tensor in theirs.state_dict().items():
        if name != "lm_head.weight":
            array = tensor.numpy() + np.float32(name.endswith("norm.weight"))
            writer.add_tensor(names.get_name(name, (".weight",)), array)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    m = jaxgpt.load(tmp_path / "m.gguf")
    assert resolved_fields(m.model) == resolved_fields(MODEL)
    assert_close(m.logits(IDS), logits(theirs, IDS))


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_transformers_reads_a_file_of_ours(theirs, weights, tmp_path):
    from transformers.modeling_gguf_pytorch_utils import load_gguf_checkpoint

    write_gguf(tmp_path / "m.gguf", MODEL, weights(MODEL))
    held = load_gguf_checkpoint(str(tmp_path / "m.gguf"), return_tensors=True, model_to_load=theirs)
    assert held["config"]["head_dim"] == 8 and held["config"]["sliding_window"] == 4
    theirs.load_state_dict(held["tensors"], strict=False)
    assert_close(jaxgpt.load(tmp_path / "m.gguf").logits(IDS), logits(theirs, IDS))
