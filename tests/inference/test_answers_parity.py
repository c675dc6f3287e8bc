"""Models of ours, written: transformers reads the same texts by the folder's own tokenizer, and answers alike."""

import numpy as np
import pytest
from close import assert_close

from jaxgpt.inference.load import load
from jaxgpt.inference.loaded import Loaded
from jaxgpt.interop.hugging_face.export import write_folder
from jaxgpt.models import BERT, GPT1, GPT2, Llama, RoBERTa
from jaxgpt.spec import parse
from jaxgpt.text import ByteBPE, Tokenizer, WordPiece

pytestmark = [pytest.mark.parity, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
torch = pytest.importorskip("torch", reason="needs torch: pip install 'jaxgpt[peer]'")
transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'jaxgpt[peer]'")

SIZE = {"num_layers": 2, "d_model": 16, "num_heads": 2, "context": 32}
WORDS = ["banana", "bandana", "an", "nab", "bad", "dab"]
LABELS = {"kind": "task", "labels": ("bad", "so so", "good")}
NUMBER = {"kind": "task", "scale": (2.5, 1.5)}
rng = np.random.default_rng(0)
TEXTS = [" ".join(rng.choice(WORDS, n)) for n in (1, 4, 2, 3, 1, 6, 5)]
PAIRS = list(zip(TEXTS, TEXTS[::-1], strict=True))
CODECS = {
    "pieces": lambda: WordPiece(vocab_size=40).train(lambda: WORDS * 3),
    "bytes": lambda: ByteBPE(vocab_size=300).train(lambda: [" ".join(WORDS)] * 3),
    "marked": lambda: parse(Tokenizer, {"kind": "marked", "base": {"kind": "byte_bpe", "vocab_size": 300}}).train(
        lambda: [" ".join(WORDS)] * 3
    ),
}
CASES = {
    "gpt2": (GPT2, LABELS, "bytes", TEXTS),
    "gpt2, marked": (GPT2, LABELS, "marked", PAIRS),
    "gpt1, marked, a number": (GPT1, NUMBER, "marked", TEXTS),
    "llama": (Llama, LABELS | {"bias": False}, "bytes", TEXTS),
    "bert": (BERT, LABELS, "pieces", PAIRS),
    "bert, a number": (BERT, NUMBER, "pieces", PAIRS),
    "roberta": (RoBERTa, LABELS, "pieces", PAIRS),
}


def pair(kind, head, codec, weights):
    codec = CODECS[codec]()
    model = kind(**SIZE, vocab_size=codec.vocab_size, text_head=head)
    return Loaded(model, model, weights(model), codec)


@pytest.mark.parametrize("case", CASES)
def test_labels_and_numbers(case, tmp_path, weights):
    kind, head, codec, texts = CASES[case]
    m = pair(kind, head, codec, weights)
    write_folder(tmp_path / "hf", m.model, m.params, m.codec)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(tmp_path / "hf", dtype="float32").eval()
    columns = [list(column) for column in zip(*texts, strict=True)] if texts is PAIRS else [texts]
    given = tokenizer(*columns, padding=True, return_tensors="pt")
    assert (given["attention_mask"] == 0).any()
    with torch.no_grad():
        theirs = model(**given).logits.numpy()
    back = load(tmp_path / "hf")
    for one in (m, back):
        if head is NUMBER:
            assert_close(one.rate(texts, quiet=True), theirs[:, 0])
        else:
            e = np.exp(theirs - theirs.max(-1, keepdims=True))
            ours = [list(answer.probabilities.values()) for answer in one.classify(texts, batch_size=3, quiet=True)]
            assert_close(ours, (e / e.sum(-1, keepdims=True)).tolist())


@pytest.mark.parametrize("kind", [GPT1, GPT2])
def test_candidates_by_double_heads(kind, tmp_path, weights):
    m = pair(kind, {"kind": "task"}, "marked", weights)
    write_folder(tmp_path / "hf", m.model, m.params, m.codec)
    tokenizer = transformers.AutoTokenizer.from_pretrained(tmp_path / "hf")
    name = {GPT1: "OpenAIGPTDoubleHeadsModel", GPT2: "GPT2DoubleHeadsModel"}[kind]
    model = getattr(transformers, name).from_pretrained(tmp_path / "hf", dtype="float32").eval()
    groups = [TEXTS[i : i + 3] for i in range(3)]
    for context, group, chosen in zip(TEXTS, groups, m.choose(TEXTS[:3], groups, quiet=True), strict=False):
        logits = []
        for candidate in group:
            ids = tokenizer(context, candidate, return_tensors="pt").input_ids
            with torch.no_grad():
                logits.append(model(ids, mc_token_ids=torch.tensor([ids.shape[1] - 1])).mc_logits.item())
        e = np.exp(np.array(logits) - max(logits))
        assert_close(list(chosen.probabilities), (e / e.sum()).tolist())
