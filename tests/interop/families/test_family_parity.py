"""Every decoder family equals its class in transformers on random weights, in float32: logits and gradients, padded and
packed rows, cached generation, and both ways between the two."""

import inspect
from functools import lru_cache
from itertools import chain

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close, cancelled

from jaxgpt.decode import generate
from jaxgpt.interop.families import bloom, gemma2, gpt1, gpt2, gpt_neo, gpt_neox, gptj, llama, mistral, qwen2, qwen3
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.interop.hugging_face.folder import read_source
from jaxgpt.objectives import LanguageModel

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("float32_matmuls")]
torch = pytest.importorskip("torch", reason="needs torch: pip install 'jaxgpt[peer]'")
transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'jaxgpt[peer]'")

B, T, V, CONTEXT, NEW = 3, 20, 37, 96, 64
GPT = {"n_positions": CONTEXT, "n_embd": 24, "n_layer": 3, "n_head": 4}
GPT |= {"resid_pdrop": 0.0, "embd_pdrop": 0.0, "attn_pdrop": 0.0}
NEOX = {"hidden_size": 30, "num_hidden_layers": 3, "num_attention_heads": 3, "intermediate_size": 44}
NEOX |= {"max_position_embeddings": CONTEXT}
LLAMA = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6, "num_key_value_heads": 2}
LLAMA |= {"intermediate_size": 52, "max_position_embeddings": CONTEXT}
LLAMA3 = {"rope_type": "llama3", "factor": 4.0, "original_max_position_embeddings": 32}
LLAMA3 |= {"low_freq_factor": 1.0, "high_freq_factor": 4.0}
YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 24, "beta_fast": 4.0, "beta_slow": 0.5}
SLIDING = {"use_sliding_window": True, "sliding_window": 5, "max_window_layers": 1}
CASES = {
    "gpt1": (gpt1, GPT),
    "gpt2": (gpt2, GPT),
    "gpt2-untied-erf": (gpt2, GPT | {"tie_word_embeddings": False, "activation_function": "gelu", "n_inner": 40}),
    "gpt_neo": (
        gpt_neo,
        {
            "hidden_size": 24,
            "num_layers": 3,
            "num_heads": 3,
            "attention_types": [[["global", "local", "local"], 1]],
            "window_size": 5,
            "max_position_embeddings": CONTEXT,
        },
    ),
    "gptj": (gptj, GPT | {"n_embd": 30, "n_head": 3, "rotary_dim": 4}),
    "gpt_neox": (gpt_neox, NEOX | {"rotary_pct": 0.4}),
    "gpt_neox-sequential": (
        gpt_neox,
        NEOX
        | {"use_parallel_residual": False, "attention_bias": False, "tie_word_embeddings": True, "rotary_pct": 1.0}
        | {"hidden_act": "gelu_fast", "rotary_emb_base": 500},
    ),
    "llama": (llama, LLAMA),
    "llama-llama3-biased-tied": (
        llama,
        LLAMA
        | {"attention_bias": True, "mlp_bias": True, "tie_word_embeddings": True, "head_dim": 10}
        | {"rope_theta": 500.0, "rope_scaling": LLAMA3},
    ),
    "llama-linear": (llama, LLAMA | {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}),
    "llama-yarn": (llama, LLAMA | {"rope_scaling": YARN}),
    "mistral": (mistral, LLAMA | {"sliding_window": 5, "head_dim": 10}),
    "qwen2": (qwen2, LLAMA | SLIDING | {"hidden_size": 30, "num_attention_heads": 3, "num_key_value_heads": 1}),
    "qwen3": (qwen3, LLAMA | {"head_dim": 10, "tie_word_embeddings": True}),
    "gemma2": (
        gemma2,
        LLAMA
        | {"head_dim": 10, "query_pre_attn_scalar": 7, "sliding_window": 5}
        | {"attn_logit_softcapping": 2.0, "final_logit_softcapping": 1.5},
    ),
    "bloom": (bloom, {"hidden_size": 24, "n_layer": 3, "n_head": 3, "seq_length": CONTEXT}),
    "bloom-12-heads": (bloom, {"hidden_size": 48, "n_layer": 1, "n_head": 12, "seq_length": CONTEXT}),
}
LAST = ("ln_f.weight", "final_layer_norm.weight", "model.norm.weight")
"""Final gains, which are drawn around -1: else a tied output would say its input over and over."""
LENGTHS = (20, 13, 7)
DOCUMENTS = ((9, 6, 5), (20,), (1, 12, 7))


@lru_cache
def pair_of(name):
    return Pair(name)


class Pair:
    """A random model of theirs, our model of the same configuration, its weights there, and one compiled forward."""

    def __init__(self, name):
        module, config = CASES[name]
        self.family = module.FAMILY
        cls = getattr(transformers, self.family.architecture)
        ends = dict.fromkeys(("bos_token_id", "eos_token_id", "pad_token_id"))
        self.config = cls.config_class(vocab_size=V, **config, **ends)
        torch.manual_seed(0)
        self.theirs = cls(self.config).eval()
        with torch.no_grad():
            for path, tensor in self.theirs.named_parameters():  # no bias at 0, no gain at 1
                gain = ("ln_" in path or "norm" in path) and path.endswith("weight")
                mean = 0.0 if not gain else -1.0 if path.endswith(LAST) else 1.0
                mean -= gain and module is gemma2  # whose gains are stored less 1
                tensor.normal_(mean, self.config.hidden_size**-0.5)  # everything of order 1
        self.model = self.family.spec(self.config.to_dict())
        self.state = self.named({path: tensor.detach() for path, tensor in self.theirs.state_dict().items()})
        self.params = self.family.read(self.state, self.model)
        self.ids = np.random.default_rng(0).integers(0, V, (B, T))
        module = self.model.build()

        @jax.jit
        def forward(params, tokens, positions, segments):
            hidden = module.apply({"params": params}, tokens, positions, segments, method="hidden")
            return module.apply({"params": params}, hidden, method="unembed")

        self.forward = forward

    def named(self, tensors):
        """Arrays named as their files name them."""
        names = self.family.names(self.model)
        keys = {path: names.today(path) for path in tensors}
        return {path if keys[path] in path else keys[path]: tensor.numpy() for path, tensor in tensors.items()}

    def logits(self, positions=None, segments=None, params=None):
        positions = np.tile(np.arange(T), (B, 1)) if positions is None else positions
        segments = np.ones((B, T)) if segments is None else segments
        params = self.params if params is None else params
        return np.asarray(self.forward(params, self.ids, np.int32(positions), np.int32(segments)))

    def their_logits(self, ids=None, mask=None, theirs=None):
        """Positions count from the first token that the mask keeps, as in `generate`."""
        theirs = self.theirs if theirs is None else theirs
        more = {}
        if mask is not None:
            more["attention_mask"] = torch.from_numpy(mask)
            if "position_ids" in inspect.signature(theirs.forward).parameters:
                more["position_ids"] = torch.from_numpy(np.maximum(mask.cumsum(1) - 1, 0))
        with torch.no_grad():
            return theirs(torch.from_numpy(self.ids if ids is None else ids), **more).logits.numpy()


@pytest.fixture(scope="module", params=CASES)
def pair(request):
    return pair_of(request.param)


def test_logits_of_their_weights(pair):
    want = pair.their_logits()
    assert np.std(want) > 0.1
    assert_close(pair.logits(), want)


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("gpt_neo", {"pattern": "causal"}),
        ("gpt_neo", {"score_scale": None}),
        ("gptj", {"position": {"kind": "rotary", "width": 6}}),
        ("gptj", {"position": {"kind": "rotary", "width": 4, "pairing": "half"}}),
        ("gpt_neox", {"position": {"kind": "rotary", "pairing": "half"}}),
        ("gpt_neox", {"residual": "sequential"}),
        ("gpt_neox", {"feed_forward": {"kind": "mlp", "d_ff": 44}}),
        ("llama-llama3-biased-tied", {"position": {"kind": "rotary", "pairing": "half", "theta": 500}}),
        ("llama-linear", {"position": {"kind": "rotary", "pairing": "half"}}),
        ("llama-yarn", {"position": {"kind": "rotary", "pairing": "half"}}),
        ("mistral", {"pattern": "causal"}),
        ("qwen2", {"pattern": "causal"}),
        ("qwen2", {"pattern": {"kind": "banded", "window": 5}}),
        ("qwen3", {"qk_norm": {"kind": "layer", "bias": False}}),
        ("gemma2", {"pattern": ["causal", {"kind": "banded", "window": 5}]}),
        ("gemma2", {"soft_cap": None}),
        ("gemma2", {"logit_cap": None}),
        ("gemma2", {"embed_scale": None}),
        ("gemma2", {"score_scale": None}),
        ("bloom", {"position": "none"}),
    ],
    ids=str,
)
def test_what_makes_a_family_shows_in_its_logits(name, change):
    """So that equal logits mean equal mechanisms, at these sizes."""
    pair = pair_of(name)
    other = jax.jit(pair.model.evolve(**change).build().apply)({"params": pair.params}, pair.ids)
    assert np.abs(other - pair.their_logits()).max() > 50e-5


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_on_either_side(pair, side):
    at, lengths = np.arange(T), np.array(LENGTHS)[:, None]
    if side == "left":
        mask, positions = at >= T - lengths, at - (T - lengths)
    else:
        mask, positions = at < lengths, np.where(at < lengths, at, at - T)
    want = pair.their_logits(mask=np.int64(mask))
    assert_close(pair.logits(positions, np.where(mask, 1, 0))[mask], want[mask])


def test_packed_documents_equal_theirs_alone(pair):
    positions = np.array([np.concatenate([np.arange(n) for n in row]) for row in DOCUMENTS])
    segments = np.array([np.repeat(np.arange(len(row)), row) for row in DOCUMENTS])
    got = pair.logits(positions, segments)
    for row, lengths in enumerate(DOCUMENTS):
        for start, length in zip(np.cumsum((0, *lengths)), lengths, strict=False):
            own = slice(start, start + length)
            assert_close(got[row, own], pair.their_logits(pair.ids[row : row + 1, own])[0])


def test_gradients_of_every_parameter(pair):
    """Of the mean next-token loss. A tied table gets the sum of what both its uses contribute."""
    ids, model, family = pair.ids, pair.model, pair.family
    pair.theirs.zero_grad()
    loss = pair.theirs(torch.from_numpy(ids), labels=torch.from_numpy(ids)).loss
    loss.backward()
    want = pair.named({name: tensor.grad for name, tensor in pair.theirs.named_parameters()})

    batch = {"tokens": jnp.asarray(ids[:, :-1]), "targets": jnp.asarray(ids[:, 1:])}
    objective = lambda params: LanguageModel().loss(model.build(), params, batch, None)[0]  # noqa: E731
    ours, grads = jax.jit(jax.value_and_grad(objective))(pair.params)

    assert_close(ours, loss.detach().numpy())
    named = family.write(grads, model)
    assert set(named) == set(want)
    for name in want:
        assert np.abs(want[name]).max() > 0, name
    assert_close(named, want, scale=cancelled(want))
    assert_close(grads, family.read(want, model), scale=cancelled(want))


def test_cached_generation_is_theirs_token_for_token(pair):
    prompts = [row[:length].tolist() for row, length in zip(pair.ids, (12, 5, 1), strict=True)]
    want = [
        pair.theirs.generate(torch.tensor([prompt]), max_new_tokens=NEW, do_sample=False)[0, len(prompt) :].tolist()
        for prompt in prompts
    ]
    assert [len(ids) for ids in want] == [NEW] * B and len(set(chain(*want))) > 3, "not one word over and over"
    assert generate(pair.model, pair.params, prompts, NEW) == want


def test_round_trip_is_bit_identical(pair):
    named = pair.family.write(pair.params, pair.model)
    copies = set(pair.family.names(pair.model).copies) - set(named)
    assert named.keys() == pair.state.keys() - copies
    for name, tensor in named.items():
        np.testing.assert_array_equal(tensor, pair.state[name])


def test_an_export_is_loaded_as_the_right_class(pair, tmp_path):
    draw = np.random.default_rng(1)
    shift = lambda leaf: leaf + draw.normal(0, 0.1, leaf.shape).astype(np.float32)  # noqa: E731
    params = jax.tree.map(shift, pair.params)
    write_folder(tmp_path / "out", pair.model, params)
    theirs, said = transformers.AutoModelForCausalLM.from_pretrained(tmp_path / "out", output_loading_info=True)
    assert type(theirs).__name__ == pair.family.architecture
    assert not said["missing_keys"] and not said["unexpected_keys"] and not said["mismatched_keys"]
    assert_close(pair.logits(params=params), pair.their_logits(theirs=theirs.eval()))
    source = read_source(tmp_path / "out")
    assert source.model.shapes() == pair.model.shapes()
    jax.tree.map(np.testing.assert_array_equal, source.read("float32", None), params)


def test_what_they_save_is_read(pair, tmp_path):
    """As their own version writes it, configuration and all."""
    pair.theirs.save_pretrained(tmp_path)
    source = read_source(tmp_path)
    assert source.model == pair.model
    jax.tree.map(np.testing.assert_array_equal, source.read("float32", None), pair.params)
