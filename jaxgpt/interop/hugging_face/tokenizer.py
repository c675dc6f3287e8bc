"""The tokenizer of a Hugging Face folder: `tokenizer.json`, or the vocabulary files of before it with their
`added_tokens.json`."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxgpt.interop.json_object import read_object
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote
from jaxgpt.text import BPE, ByteBPE, Codec, WordPiece
from jaxgpt.text.tokenizers.huggingface import MOST, HuggingFaceCodec, add_template
from jaxgpt.text.tokenizers.saved import load_codec, token_name
from jaxgpt.text.tokenizers.tokenizer_json import one_line, read

if TYPE_CHECKING:
    import tokenizers as hf

END_OF_WORD = "</w>"
ADDED, SETTINGS = "added_tokens.json", "tokenizer_config.json"
FLAGS = ("lstrip", "rstrip", "single_word", "normalized")
SAVE = "from transformers import AutoTokenizer; AutoTokenizer.from_pretrained('{0}').save_pretrained('{0}')"
FIXED = {"strip_accents": None, "tokenize_chinese_chars": True, "do_basic_tokenize": True, "add_prefix_space": False}
"""Settings of the older files that our pipelines do not vary; a `tokenizer.json` brings its own."""


def read_codec(folder: Path, config: Mapping[str, Any]) -> Codec | None:
    """The codec, or None when the folder has no vocabulary. `config` is the parsed config.json.

    Its end of text and its start are the special tokens that tokenizer_config.json, special_tokens_map.json or
    config.json name; a start only where the tokenizer puts it before every text. Raises ConfigError.
    """
    with one_line(f"{folder}: its tokenizer"):
        return _read(folder, config)


def _read(folder: Path, config: Mapping[str, Any]) -> Codec | None:
    settings = _optional(folder / SETTINGS)
    if settings.get("form") in ("byte", "char"):  # an export of ours
        return load_codec(folder)
    named = {**_optional(folder / "special_tokens_map.json"), **settings}
    tokenizer = _tokenizer(folder, settings, named)
    if tokenizer is None:
        return None
    if tokenizer.post_processor is None and config.get("model_type") == "roberta":
        # Around a text and between two, as RoBERTa's older files leave it to code to do.
        single = ["<s>", "$A", "</s>"]
        add_template(tokenizer, ("<s>", "</s>"), single, [*single, "</s>", "$B", "</s>"])
    bos, eos = (_token(tokenizer, named, config, kind) for kind in ("bos", "eos"))
    leads = settings.get("add_bos_token")
    if leads is None and bos is not None:
        leads = tokenizer.encode("").ids == [tokenizer.token_to_id(bos)]
    return HuggingFaceCodec(tokenizer, eos, bos if leads else None)


def _tokenizer(folder: Path, settings: Mapping[str, Any], named: Mapping[str, Any]) -> "hf.Tokenizer | None":
    if (folder / "tokenizer.json").exists():
        return read(folder / "tokenizer.json")
    source = str(folder.resolve())
    if (folder / "vocab.txt").exists():
        cased = settings.get("do_lower_case", True) is False
        spec: WordPiece | BPE | ByteBPE = WordPiece(path=source, lowercase=not cased, end_of_text=None)
    elif (folder / "vocab.json").exists() and (folder / "merges.txt").exists():
        vocab = read_object(folder / "vocab.json", "a map from entry to id")
        marked = any(entry.endswith(END_OF_WORD) for entry in vocab)
        spec = (BPE if marked else ByteBPE)(path=source, end_of_text=None)
    elif any(folder.glob("*.model")):
        raise ConfigError(
            f"{folder}: its vocabulary is a SentencePiece or tiktoken model; write a tokenizer.json once: "
            f'python -c "{SAVE.format(folder)}"'
        )
    else:
        return None
    problems = [
        f"{folder / SETTINGS}: {key}: {quote(settings[key])} is not followed without a tokenizer.json; "
        f'write one: python -c "{SAVE.format(folder)}"'
        for key, value in FIXED.items()
        if settings.get(key, value) != value
    ]
    if problems:
        raise ConfigError(problems)
    import tokenizers as hf

    tokenizer = hf.Tokenizer.from_str(spec.train(lambda: ()).tokenizer_json())
    _add(tokenizer, folder, settings, named)
    return tokenizer


def _add(tokenizer: "hf.Tokenizer", folder: Path, settings: Mapping[str, Any], named: Mapping[str, Any]) -> None:
    """Gives the tokens of added_tokens.json and of the settings' `added_tokens_decoder` their ids.

    `tokenizers` counts on from the vocabulary, so that an id is followed where it is the next. Raises ConfigError.
    """
    import tokenizers as hf

    described: dict[str, dict[str, Any]] = {}
    given: list[tuple[Any, str, Path]] = []
    decoder = settings.get("added_tokens_decoder")
    for index, entry in (decoder if isinstance(decoder, dict) else {}).items():
        if isinstance(entry, dict) and isinstance(entry.get("content"), str) and index.isdecimal():
            described[entry["content"]] = entry
            given.append((int(index), entry["content"], folder / SETTINGS))
    given += [(index, token, folder / ADDED) for token, index in _optional(folder / ADDED).items()]
    special = _special(named) | {token for token, entry in described.items() if entry.get("special") is True}
    special |= {token.content for token in tokenizer.get_added_tokens_decoder().values() if token.special}
    for index, token, path in given:
        if type(index) is not int or not 0 <= index < MOST or not token:
            raise ConfigError(f"{path}: {quote(token)}: id {quote(index)}; expected a token with a whole number")
    ids = tokenizer.get_vocab(with_added_tokens=True)
    names, free, tokens = {index: token for token, index in ids.items()}, len(ids), []
    for index, token, path in sorted(given, key=lambda entry: entry[0]):
        if ids.get(token, free) != index or names.get(index, token) != token:
            reason = f"{quote(names[index])} has it" if index in names else f"expected {ids.get(token, free)}"
            raise ConfigError(f"{path}: {quote(token)}: id {index} does not fit the vocabulary; {reason}")
        ids[token], names[index], free = index, token, max(free, index + 1)
        flags = {flag: described[token][flag] is True for flag in FLAGS if flag in described.get(token, {})}
        flags = {"normalized": token not in special} | flags | {"special": token in special}
        tokens.append(hf.AddedToken(token, **flags))
    tokenizer.add_tokens(tokens)


def _special(named: Mapping[str, Any]) -> set[str]:
    """The tokens that special_tokens_map.json or tokenizer_config.json name, alone or in a list."""
    values = [value for key, value in named.items() if key.endswith(("_token", "_special_tokens"))]
    flat = [item for value in values for item in (value if isinstance(value, list) else [value])]
    return {name for item in flat if (name := token_name(item)) is not None}


def _token(tokenizer: "hf.Tokenizer", named: Mapping[str, Any], config: Mapping[str, Any], kind: str) -> str | None:
    """The special token of that kind, if the vocabulary has it, made special where it was a plain entry."""
    value = named.get(f"{kind}_token")
    token = value.get("content") if isinstance(value, dict) else value
    ids = config.get(f"{kind}_token_id")
    first = ids[0] if isinstance(ids, list) and ids else ids
    if token is None and type(first) is int and 0 <= first < 2**32:
        token = tokenizer.id_to_token(first)
    if not isinstance(token, str) or tokenizer.token_to_id(token) is None:
        return None
    tokenizer.add_special_tokens([token])
    return token


def _optional(path: Path) -> dict[str, Any]:
    return read_object(path, "a JSON object") if path.exists() else {}
