"""What classes of transformers say of texts on random weights, of rows of uneven length: both ways between the two."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close

import jaxgpt
from jaxgpt.interop.families.table import by_config
from jaxgpt.interop.hugging_face.export import write_folder

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("float32_matmuls")]
torch = pytest.importorskip("torch", reason="needs torch: pip install 'jaxgpt[peer]'")
transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'jaxgpt[peer]'")

V, B, N, T, CONTEXT = 37, 3, 2, 16, 18
GPT = {"n_positions": CONTEXT, "n_embd": 24, "n_layer": 2, "n_head": 4}
WIDE = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4, "max_position_embeddings": CONTEXT}
LLAMA = WIDE | {"intermediate_size": 40, "num_key_value_heads": 2}
BERT = WIDE | {"intermediate_size": 40}
ROBERTA = BERT | {"type_vocab_size": 1}
NAMES = {"id2label": {0: "bad", 1: "so so", 2: "good"}, "label2id": {"bad": 0, "so so": 1, "good": 2}}
LABELS, NUMBER = ("bad", "so so", "good"), {"num_labels": 1}
CASES = {
    "OpenAIGPTDoubleHeadsModel": GPT,
    "GPT2DoubleHeadsModel": GPT,
    "BertForMultipleChoice": BERT,
    "RobertaForMultipleChoice": ROBERTA,
    "OpenAIGPTForSequenceClassification": GPT | NAMES,
    "GPT2ForSequenceClassification": GPT | NAMES,
    "GPTNeoForSequenceClassification": {"hidden_size": 24, "num_layers": 2, "num_heads": 4, "window_size": 5}
    | {"attention_types": [[["global", "local"], 1]], "max_position_embeddings": CONTEXT}
    | NAMES,
    "GPTJForSequenceClassification": GPT | {"rotary_dim": 4} | NAMES,
    "GPTNeoXForSequenceClassification": WIDE | {"intermediate_size": 40, "rotary_pct": 1.0} | NAMES,
    "LlamaForSequenceClassification": LLAMA | NAMES,
    "MistralForSequenceClassification": LLAMA | {"sliding_window": 5} | NAMES,
    "Qwen2ForSequenceClassification": LLAMA | NUMBER,
    "Qwen3ForSequenceClassification": LLAMA | NAMES,
    "Gemma2ForSequenceClassification": LLAMA | {"query_pre_attn_scalar": 6, "head_dim": 6} | NAMES,
    "BloomForSequenceClassification": {"hidden_size": 24, "n_layer": 2, "n_head": 4} | NAMES,
    "BertForSequenceClassification": BERT | NAMES,
    "BertForSequenceClassification, a number": BERT | NUMBER,
    "RobertaForSequenceClassification": ROBERTA | NAMES,
    "RobertaForSequenceClassification, a number": ROBERTA | NUMBER,
}
LENGTHS = np.array([[16, 3], [9, 16], [1, 12]])
REAL = np.arange(T) < LENGTHS[..., None]


class Pair:
    """A random Hugging Face model, its folder, and rows of uneven length: B with N candidates each."""

    def __init__(self, case, folder):
        self.kind = getattr(transformers, case.split(",")[0])
        self.config = self.kind.config_class(**{"vocab_size": V, "pad_token_id": 1} | CASES[case])
        for key in ("bos_token_id", "eos_token_id"):
            setattr(self.config, key, None)
        torch.manual_seed(0)
        self.theirs = self.kind(self.config).eval()
        with torch.no_grad():
            for name, tensor in self.theirs.named_parameters():  # no bias at 0, no gain at 1
                gain = any(part in name.lower() for part in ("norm", "ln_")) and name.endswith("weight")
                tensor.normal_(1.0 if gain else 0.0, 0.2)
        self.theirs.save_pretrained(folder)
        self.folder = folder
        draw = np.random.default_rng(0)
        self.ids = np.where(REAL, draw.integers(2, V, REAL.shape), 1)
        kinds = getattr(self.config, "type_vocab_size", 0)
        self.types = np.where(REAL, draw.integers(0, kinds, REAL.shape), 0) if kinds else None

    @property
    def chooses(self):
        return "Choice" in self.kind.__name__ or "Double" in self.kind.__name__

    def their_answers(self, model):
        """(B, N) for candidates, else (B·N, C); and (B·N, T, V), where there are logits of tokens."""
        rows = (lambda x: x) if self.chooses else (lambda x: x.reshape(-1, T))
        given = {"input_ids": rows(self.ids), "attention_mask": rows(REAL.astype(np.int64))}
        if self.types is not None:
            given["token_type_ids"] = rows(self.types)
        if "Double" in self.kind.__name__:
            given["mc_token_ids"] = LENGTHS - 1
            given["attention_mask"] = REAL.reshape(-1, T).astype(np.int64)  # GPT-1's class flattens all but this
        with torch.no_grad():
            out = model(**{name: torch.from_numpy(array) for name, array in given.items()})
        if "Double" in self.kind.__name__:
            return out.mc_logits.numpy(), out.logits.numpy().reshape(-1, T, V)
        return out.logits.numpy(), None

    def our_answers(self, model, params):
        given = {"segments": jnp.asarray(REAL.reshape(-1, T), jnp.int32)}
        if self.types is not None:
            given["token_types"] = jnp.asarray(self.types.reshape(-1, T))
        run = jax.jit(model.build().apply, static_argnames="method")
        ids = jnp.asarray(self.ids.reshape(-1, T))
        out = run({"params": params}, ids, **given, method="represent")
        return out.reshape(B, N) if self.chooses else out

    def our_tokens(self, model, params):
        segments = jnp.asarray(REAL.reshape(-1, T), jnp.int32)
        module = model.build()
        return jax.jit(
            lambda params, ids: module.apply(
                {"params": params}, ids, method=lambda m, x: m.unembed(m.hidden(x, segments=segments))
            )
        )(params, jnp.asarray(self.ids.reshape(-1, T)))


@pytest.fixture(scope="module", params=CASES)
def pair(request, tmp_path_factory):
    return Pair(request.param, tmp_path_factory.mktemp("task") / "theirs")


def same(pair, theirs, model, params):
    answers, tokens = pair.their_answers(theirs)
    assert answers.std() > 0.05
    assert_close(pair.our_answers(model, params), answers)
    if tokens is not None:
        real = REAL.reshape(-1, T)
        assert_close(np.asarray(pair.our_tokens(model, params))[real], tokens[real])


def test_their_folder_answers_the_same_here(pair):
    m = jaxgpt.load(pair.folder)
    head = m.model.text_head
    assert head.labels == (LABELS if pair.config.num_labels == 3 else None)
    assert (head.scale is None) == (pair.chooses or head.labels is not None)
    same(pair, pair.theirs, m.model, m.params)
    family = by_config(pair.config.to_dict())
    state = {name: tensor.detach().numpy() for name, tensor in pair.theirs.state_dict().items()}
    for name, tensor in family.write(m.params, m.model).items():
        np.testing.assert_array_equal(tensor, state[name])


def test_our_folder_is_loaded_as_the_right_class(pair, tmp_path, weights):
    model = jaxgpt.load(pair.folder).model
    params = weights(model, seed=3)
    write_folder(tmp_path / "ours", model, params)
    config = json.loads((tmp_path / "ours" / "config.json").read_text())
    assert config["architectures"] == [pair.kind.__name__]
    loaded, info = pair.kind.from_pretrained(tmp_path / "ours", output_loading_info=True)
    assert not any(info[kind] for kind in ("unexpected_keys", "mismatched_keys", "missing_keys"))
    if not pair.chooses:
        assert loaded.config.id2label == pair.config.id2label
        assert loaded.config.problem_type == (
            "regression" if pair.config.num_labels == 1 else "single_label_classification"
        )
        auto = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "ours")
        assert type(auto) is pair.kind
    loaded.config.pad_token_id = 1  # a vocabulary says which; there is none here
    same(pair, loaded.eval(), model, params)
    back = jaxgpt.load(tmp_path / "ours")
    family = by_config(config)
    assert family.config(back.model) == family.config(model) and back.model.text_head == model.text_head
    jax.tree.map(np.testing.assert_array_equal, back.params, params)
