"""The vocabulary inside a GGUF file: SentencePiece's (`llama`), or byte-level BPE with a named rule for words (`gpt2`).

Keys are those below `tokenizer.ggml.`; the rules are those of the tokenizers that the names stand for, as Hugging Face
publishes them.
"""

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote
from jaxgpt.text import Codec
from jaxgpt.text.tokenizers.huggingface import with_ends
from jaxgpt.text.tokenizers.sentencepiece import Kind, Pieces, merges, named, sentencepiece
from jaxgpt.text.tokenizers.tokenizer_json import one_line

if TYPE_CHECKING:
    import tokenizers as hf

KEY = "tokenizer.ggml."
WORDS = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
"""Contractions, words, numbers, punctuation, line ends, white space, as in cl100k; `%s` is how long a number gets."""


class Rule(NamedTuple):
    """How a text is parted before pairs merge; empty: GPT-2's way."""

    digits: bool = False
    """Every digit alone, then GPT-2's way."""
    pattern: str | None = None
    """What parts it instead."""
    whole_words: bool = False
    """A word that is an entry needs no merges."""
    nfc: bool = False
    """Text is composed first (Unicode NFC)."""


RULES = {
    "gpt-2": Rule(),
    "smollm": Rule(digits=True),
    "llama-bpe": Rule(pattern=WORDS % "{1,3}", whole_words=True),
    "qwen2": Rule(pattern=WORDS % "", nfc=True),
}
ALIASES = {"default": "gpt-2", "gpt2": "gpt-2", "llama3": "llama-bpe", "llama-v3": "llama-bpe"}
STARTS = ("llama-bpe",)
"""Of these llama.cpp puts the first token before a text where the file does not say."""


def read_tokenizer(fields: Mapping[str, Any]) -> Codec | None:
    """The codec, or None when the file has no vocabulary. Raises ConfigError, one line, for another or unsound one."""
    with one_line(f"{KEY}tokens"):
        return _read(fields)


def _read(fields: Mapping[str, Any]) -> Codec | None:
    name = fields.get(f"{KEY}model")
    if name is None or name in ("none", "no_vocab"):
        return None
    if name not in ("llama", "gpt2"):
        raise ConfigError(f"{KEY}model: {quote(name)} is not read; known: gpt2, llama")
    texts = fields.get(f"{KEY}tokens")
    if not isinstance(texts, list) or not texts:
        raise ConfigError(f"{KEY}tokens: expected a list of texts")
    kinds = [int(kind) for kind in _row(fields, "token_type", len(texts), np.ones(len(texts), np.int32))]
    bos, eos = (_id(fields, f"{end}_token_id", len(texts)) for end in ("bos", "eos"))
    if name == "llama":
        scores = _row(fields, "scores", len(texts), None)
        pieces = Pieces(texts, [float(score) for score in scores], kinds)
        bos = bos if fields.get(f"{KEY}add_bos_token", True) else None
        return sentencepiece(pieces, bos, eos, bool(fields.get(f"{KEY}add_space_prefix", True)))
    pre = fields.get(f"{KEY}pre", "gpt-2")
    pre = ALIASES.get(pre, pre)
    if pre not in RULES:
        raise ConfigError(f"{KEY}pre: {quote(pre)} is not read; known: {', '.join(RULES)}")
    bos = bos if fields.get(f"{KEY}add_bos_token", pre in STARTS) else None
    space = bool(fields.get(f"{KEY}add_space_prefix", False))
    return _byte_level(texts, _pairs(fields), kinds, RULES[pre], bos, eos, space)


def _byte_level(
    texts: Sequence[str],
    pairs: list[tuple[str, str]],
    kinds: Sequence[int],
    rule: Rule,
    bos: int | None,
    eos: int | None,
    space: bool,
) -> Codec:
    import tokenizers as hf

    vocab = named(Pieces(list(texts), [], list(kinds)))
    with one_line(f"{KEY}merges: do not fit {KEY}tokens"):
        model = hf.models.BPE(vocab=vocab, merges=pairs, ignore_merges=rule.whole_words)
    tokenizer = hf.Tokenizer(model)
    _set_rule(tokenizer, rule, space)
    tokenizer.decoder = hf.decoders.ByteLevel()
    by_kind = [(text, kind) for text, kind in zip(texts, kinds, strict=True) if text]
    tokenizer.add_special_tokens([text for text, kind in by_kind if kind in (Kind.CONTROL, Kind.UNKNOWN)])
    tokenizer.add_tokens([hf.AddedToken(text, normalized=False) for text, kind in by_kind if kind == Kind.USER_DEFINED])
    return with_ends(tokenizer, texts, bos, eos)


def _set_rule(tokenizer: "hf.Tokenizer", rule: Rule, space: bool) -> None:
    import tokenizers as hf

    steps, last = hf.pre_tokenizers, hf.pre_tokenizers.ByteLevel(space, use_regex=rule.pattern is None)
    if rule.pattern is not None:
        split = steps.Split(hf.Regex(rule.pattern), "isolated")
        tokenizer.pre_tokenizer = steps.Sequence([split, last])
    else:
        tokenizer.pre_tokenizer = steps.Sequence([steps.Digits(individual_digits=True), last]) if rule.digits else last
    if rule.nfc:
        tokenizer.normalizer = hf.normalizers.NFC()


def _row(fields: Mapping[str, Any], key: str, size: int, default: np.ndarray | None) -> np.ndarray:
    """An array with a number for each token."""
    values = fields.get(KEY + key, default)
    if not isinstance(values, np.ndarray) or len(values) != size:
        raise ConfigError(f"{KEY}{key}: expected a number for each of {size} tokens")
    return values


def _id(fields: Mapping[str, Any], key: str, size: int) -> int | None:
    value = fields.get(KEY + key)
    if value is not None and (type(value) is not int or not 0 <= value < size):
        raise ConfigError(f"{KEY}{key}: {quote(value)} is no token of {size}")
    return value


def _pairs(fields: Mapping[str, Any]) -> list[tuple[str, str]]:
    value = fields.get(f"{KEY}merges", [])
    pairs = [tuple(pair.split(" ")) for pair in value] if isinstance(value, list) else [()]
    if any(len(pair) != 2 for pair in pairs):
        raise ConfigError(f"{KEY}merges: expected two symbols and a space between in each")
    return [(first, second) for first, second in pairs]


def tokenizer_fields(codec: Codec, size: int) -> dict[str, Any]:
    """What `read_tokenizer` reads back to the same ids: keys with their `KEY`, filled up to `size` entries.

    Raises ConfigError for a vocabulary that GGUF has no form or no rule for.
    """
    tree = json.loads(codec.tokenizer_json())
    model, added = tree["model"], tree["added_tokens"]
    entries = {index: text for text, index in model.get("vocab", {}).items()} if model["type"] == "BPE" else {}
    entries |= {token["id"]: token["content"] for token in added}
    texts = [entries.get(index, f"[PAD{index}]") for index in range(max(size, codec.vocab_size))]
    kinds = [int(Kind.NORMAL if index in entries else Kind.UNUSED) for index in range(len(texts))]
    for token in added:
        kinds[token["id"]] = int(Kind.CONTROL if token["special"] else Kind.USER_DEFINED)
    pairs = [tuple(pair.split(" ") if isinstance(pair, str) else pair) for pair in model.get("merges", ())]
    if model["type"] == "BPE" and model["byte_fallback"]:
        fields = _sentencepiece_fields(tree, texts, kinds, pairs)
    else:
        fields = {"model": "gpt2", "pre": _rule_name(tree), "merges": [" ".join(pair) for pair in pairs]}
    ids = {"bos_token_id": codec.bos, "eos_token_id": codec.eot}
    fields |= {"tokens": texts, "token_type": kinds, "add_bos_token": codec.bos is not None}
    return {KEY + key: value for key, value in (fields | ids).items() if value is not None}


def _sentencepiece_fields(
    tree: Mapping[str, Any], texts: list[str], kinds: list[int], pairs: list[tuple[str, ...]]
) -> dict[str, Any]:
    """Scores that put the pieces in the order of their first merges; letters, which no merge makes, come last."""
    ranks: dict[str, int] = {}
    for pair in pairs:
        ranks.setdefault("".join(pair), len(ranks))
    for index, text in enumerate(texts):
        if text == tree["model"]["unk_token"]:
            kinds[index] = Kind.UNKNOWN
        elif len(text) == 6 and text.startswith("<0x") and text.endswith(">"):
            kinds[index] = Kind.BYTE
    scores = [-float(ranks.get(text, len(ranks) + index)) for index, text in enumerate(texts)]
    if set(merges(Pieces(texts, scores, kinds))) != set(pairs):
        raise ConfigError("tokenizer: its merges are not those of SentencePiece's scores, which GGUF's `llama` holds")
    rules = json.dumps([tree["normalizer"], tree["pre_tokenizer"]])
    prefix = '"Prepend"' in rules or '"prepend_scheme": "first"' in rules or '"prepend_scheme": "always"' in rules
    return {"model": "llama", "pre": "default", "scores": scores, "add_space_prefix": prefix}


def _rule_name(tree: Mapping[str, Any]) -> str:
    """The rule that parts text as the tokenizer does; any will do where nothing merges."""
    import tokenizers as hf

    model, byte_level = tree["model"], (tree["decoder"] or {}).get("type") == "ByteLevel"
    for name, rule in RULES.items():
        probe = hf.Tokenizer(hf.models.BPE(ignore_merges=rule.whole_words))
        _set_rule(probe, rule, space=False)
        wanted = json.loads(probe.to_str())
        same = all(_meaning(wanted[part]) == _meaning(tree[part]) for part in ("normalizer", "pre_tokenizer"))
        if byte_level and (not model["merges"] or (same and model["ignore_merges"] == rule.whole_words)):
            return name
    raise ConfigError(
        f"tokenizer: a {model['type']} vocabulary with these rules for words has no name in GGUF; known are byte-level "
        f"BPE by the rules {', '.join(RULES)}, and SentencePiece"
    )


def _meaning(part: Any) -> Any:
    """A part of a `tokenizer.json` without what touches offsets only."""
    if isinstance(part, dict):
        return {key: _meaning(value) for key, value in part.items() if key != "trim_offsets"}
    return [_meaning(value) for value in part] if isinstance(part, list) else part
