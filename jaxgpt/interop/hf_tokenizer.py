"""The tokenizer of a Hugging Face folder: `tokenizer.json`, or the vocabulary files of before it."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from jaxgpt.interop.json_object import read_object
from jaxgpt.spec import ConfigError
from jaxgpt.text import BPE, ByteBPE, Codec, WordPiece
from jaxgpt.text.huggingface import HuggingFaceCodec, add_template, read

if TYPE_CHECKING:
    import tokenizers as hf

END_OF_WORD = "</w>"
SAVE = "from transformers import AutoTokenizer; AutoTokenizer.from_pretrained('{0}').save_pretrained('{0}')"
FIXED = {"strip_accents": None, "tokenize_chinese_chars": True, "do_basic_tokenize": True, "add_prefix_space": False}
"""Settings of the older files that our pipelines do not vary; a `tokenizer.json` brings its own."""


def read_codec(folder: Path, config: Mapping[str, Any]) -> Codec | None:
    """The codec, or None when the folder has no vocabulary. `config` is the parsed config.json.

    Its end of text and its start are the special tokens that tokenizer_config.json, special_tokens_map.json or
    config.json name; a start only where the tokenizer puts it before every text. Raises ConfigError.
    """
    settings = _optional(folder / "tokenizer_config.json")
    if settings.get("form") in ("byte", "char"):  # an export of ours
        return Codec.load(folder)
    tokenizer = _tokenizer(folder, settings)
    if tokenizer is None:
        return None
    if tokenizer.post_processor is None and config.get("model_type") == "roberta":
        # Around a text and between two, as RoBERTa's older files leave it to code to do.
        single = ["<s>", "$A", "</s>"]
        add_template(tokenizer, ("<s>", "</s>"), single, [*single, "</s>", "$B", "</s>"])
    named = {**_optional(folder / "special_tokens_map.json"), **settings}
    bos, eos = (_token(tokenizer, named, config, kind) for kind in ("bos", "eos"))
    leads = settings.get("add_bos_token")
    if leads is None and bos is not None:
        leads = tokenizer.encode("").ids == [tokenizer.token_to_id(bos)]
    return HuggingFaceCodec(tokenizer, eos, bos if leads else None)


def _tokenizer(folder: Path, settings: Mapping[str, Any]) -> "hf.Tokenizer | None":
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
        f"{folder / 'tokenizer_config.json'}: {key}: {settings[key]!r} is not followed without a tokenizer.json; "
        f'write one: python -c "{SAVE.format(folder)}"'
        for key, value in FIXED.items()
        if settings.get(key, value) != value
    ]
    if problems:
        raise ConfigError(problems)
    import tokenizers as hf

    return hf.Tokenizer.from_str(spec.train(lambda: ()).tokenizer_json())


def _token(tokenizer: "hf.Tokenizer", named: Mapping[str, Any], config: Mapping[str, Any], kind: str) -> str | None:
    """The special token of that kind, if the vocabulary has it, made special where it was a plain entry."""
    held = named.get(f"{kind}_token")
    token = held.get("content") if isinstance(held, dict) else held
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
