"""added_tokens.json beside a vocabulary of before tokenizer.json: its ids, or one line that says why not."""

import json

import pytest

from jaxgpt.interop.hugging_face.tokenizer import read_codec
from jaxgpt.spec import ConfigError
from jaxgpt.text import BPE, ByteBPE, WordPiece

TEXTS = ["The quick brown fox, 1234!\n", "Ça va; naïve 🙂", "a  b\t\tc"]
KINDS = {"bpe": BPE, "byte_bpe": ByteBPE, "wordpiece": WordPiece}


@pytest.fixture
def older(tmp_path):
    """`older(kind, **files)`: a folder with a learned vocabulary as its older files, their size, and JSON files."""

    def make(kind, **files):
        model = json.loads(KINDS[kind](vocab_size=320, end_of_text=None).train(lambda: TEXTS).tokenizer_json())["model"]
        names = sorted(model["vocab"], key=model["vocab"].get)
        if kind == "wordpiece":
            (tmp_path / "vocab.txt").write_text("\n".join(names) + "\n")
        else:
            (tmp_path / "vocab.json").write_text(json.dumps(model["vocab"]))
            (tmp_path / "merges.txt").write_text("#version: 0.2\n" + "\n".join(map(" ".join, model["merges"])) + "\n")
        for name, tree in files.items():
            (tmp_path / f"{name}.json").write_text(json.dumps(tree(len(names))))
        return tmp_path, len(names)

    return make


MAP = {"eos_token": {"content": "<|end|>"}, "additional_special_tokens": ["<|user|>"]}


@pytest.mark.parametrize("kind", KINDS)
def test_they_get_their_ids(kind, older):
    plain = read_codec(older(kind)[0], {})
    folder, size = older(
        kind,
        added_tokens=lambda size: {"<|end|>": size + 1, "<|user|>": size, "<tool>": size + 2},
        special_tokens_map=lambda size: MAP,
    )
    found = read_codec(folder, {})
    assert (found.vocab_size, found.eot) == (size + 3, size + 1)
    added = {token["content"]: token["special"] for token in json.loads(found.tokenizer_json())["added_tokens"]}
    assert (added["<|user|>"], added["<|end|>"], added["<tool>"]) == (True, True, False)
    assert [index for index in found.encode("The <tool> fox") if index >= size] == [size + 2]
    assert max(found.encode("<|user|><|end|>")) < size  # the letters of special ones are letters
    assert found.encode_batch(TEXTS) == plain.encode_batch(TEXTS)


def test_what_is_special_already_stays_so(older):
    folder, _ = older("wordpiece", added_tokens=lambda size: {"[PAD]": 0, "<a>": size})
    added = json.loads(read_codec(folder, {}).tokenizer_json())["added_tokens"]
    assert [token["special"] for token in added if token["content"] in ("[PAD]", "<a>")] == [True, False]


def test_the_settings_say_what_they_are(older):
    entries = [{"content": "<a>", "special": True, "normalized": False}, {"content": "<b>", "lstrip": True}]
    folder, size = older(
        "byte_bpe",
        added_tokens=lambda size: {"<a>": size, "<b>": size + 1},
        tokenizer_config=lambda size: {
            "added_tokens_decoder": {str(size + i): entry for i, entry in enumerate(entries)}
        },
    )
    a, b = json.loads(read_codec(folder, {}).tokenizer_json())["added_tokens"]
    assert (a["id"], a["special"], a["normalized"]) == (size, True, False)
    assert (b["id"], b["special"], b["lstrip"], b["normalized"]) == (size + 1, False, True, True)


@pytest.mark.parametrize(
    ("added", "line"),
    [
        ({"<a>": 0, "<b>": 2}, r"'<b>': id {2} does not fit the vocabulary; expected {1}"),
        ({"<a>": 0, "<b>": 0}, r"'<b>': id {0} does not fit the vocabulary; '<a>' has it"),
        ({"[PAD]": 0}, r"'\[PAD\]': id {0} does not fit the vocabulary; expected 0"),
        ({"<a>": None}, r"'<a>': id 0 does not fit the vocabulary; '\[PAD\]' has it"),
        ({"<a>": "x"}, r"'<a>': id 'x'; expected a token with a whole number"),
    ],
)
def test_those_that_do_not_fit_are_refused(added, line, older):
    """`added`: ids counted from the vocabulary's end; None stands for its first."""

    def absolute(size):
        return {
            token: index if index == "x" else 0 if index is None else size + index for token, index in added.items()
        }

    folder, size = older("wordpiece", added_tokens=absolute)
    line = line.format(size, size + 1, size + 2)
    with pytest.raises(ConfigError, match=rf"added_tokens\.json: {line}$") as caught:
        read_codec(folder, {})
    assert "\n" not in str(caught.value)


@pytest.mark.parity
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(("kind", "peer"), [("byte_bpe", "GPT2Tokenizer"), ("wordpiece", "BertTokenizer")])
def test_ids_are_those_of_transformers(kind, peer, older):
    transformers = pytest.importorskip("transformers", reason="needs transformers: pip install 'jaxgpt[peer]'")
    folder, size = older(
        kind,
        added_tokens=lambda size: {"<|end|>": size + 1, "<|user|>": size, "<tool>": size + 2},
        special_tokens_map=lambda size: MAP | {"unk_token": "[UNK]" if kind == "wordpiece" else "<|end|>"},
    )
    ours, theirs = read_codec(folder, {}), getattr(transformers, peer).from_pretrained(folder)
    texts = [*TEXTS, "The <tool> fox", "a<tool><tool>b", "<TOOL> x"]
    assert theirs(texts, add_special_tokens=False)["input_ids"] == ours.encode_batch(texts)
    added = {token["content"]: token["id"] for token in json.loads(ours.tokenizer_json())["added_tokens"]}
    assert added.items() <= theirs.get_vocab().items() and added["<tool>"] == size + 2
    assert theirs.eos_token_id == ours.eot == size + 1
