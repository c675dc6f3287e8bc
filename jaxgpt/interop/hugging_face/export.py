"""A Hugging Face directory, written: what `transformers` loads as the right class, tokenizer included."""

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from jaxgpt.disk import new_folder, write_json_atomic
from jaxgpt.interop.families.table import by_model
from jaxgpt.interop.finite import cast
from jaxgpt.interop.hugging_face.bitsandbytes import CONFIG_KEY as QUANTIZATION
from jaxgpt.interop.hugging_face.bitsandbytes import quantized, settings
from jaxgpt.interop.hugging_face.chat_template import write_templates
from jaxgpt.interop.hugging_face.folder import CONFIG, GENERATION
from jaxgpt.interop.safetensors import write_tensors
from jaxgpt.interop.sentence_transformers.export import write_modules
from jaxgpt.models import Model
from jaxgpt.ops.pooling import Recipe
from jaxgpt.spec import ConfigError
from jaxgpt.text import Codec
from jaxgpt.text.tokenizers.huggingface import add_first

NF4 = "nf4"
"""The dtype of a folder whose projections are in 4 bits, as bitsandbytes has them, and the rest in float32."""
SHARD = 5_000_000_000
"""Bytes of a file, at most; transformers' own."""
ROLES = {
    "[PAD]": "pad_token",
    "<pad>": "pad_token",
    "[UNK]": "unk_token",
    "<unk>": "unk_token",
    "[CLS]": "cls_token",
    "[SEP]": "sep_token",
    "[MASK]": "mask_token",
    "<mask>": "mask_token",
}
"""What special tokens are for, where their name says it."""


def write_folder(
    target: Path,
    model: Model,
    params: Mapping[str, Any],
    codec: Codec | None = None,
    generation: Mapping[str, Any] | None = None,
    dtype: str = "float32",
    shard_bytes: int = SHARD,
    progress: Callable[[int], None] = lambda written: None,
    chat_templates: Mapping[str, str] | None = None,
    recipe: Recipe | None = None,
) -> Model:
    """Writes `target`, whole or not at all: config.json, weights in `dtype`, tokenizer, generation settings,
    chat templates, and, with a `recipe`, the modules of sentence-transformers.

    Returns the model that the folder holds: `model`, or where its class always has biases, the same with zeros for
    them. `progress` gets the bytes of weights written so far. Raises ConfigError with one line for every field of
    `model` that no family of transformers can express, and JaxgptError when `target` is there or cannot be written,
    or a weight is too large for `dtype`. `dtype` may be `nf4`, but for sentence-transformers.
    """
    if recipe is not None and dtype == NF4:
        raise ConfigError("dtype: nf4 is not written for sentence-transformers; choose another")
    family = by_model(model)
    model, params = family.fill(model, params)
    config = family.config(model)
    ends: dict[str, int | None] = {
        "bos_token_id": None,
        "eos_token_id": None,
    }  # null, for where a key lacks, transformers assumes its own
    if codec is not None:
        ends = {"bos_token_id": codec.bos, "eos_token_id": codec.eot}
        if model.text_head is not None and "pad_token_id" not in config:
            ends["pad_token_id"] = padding(codec)
    given = {key: value for key, value in (generation or {}).items() if value is not None}
    with new_folder(target) as draft:
        write_json_atomic(draft / GENERATION, {**ends, **given})
        if codec is not None:
            typed = config.get("type_vocab_size", 0) > 1
            _write_tokenizer(draft, codec, model.context, recipe is not None, ends.get("pad_token_id"), typed)
        elif recipe is not None:
            raise ConfigError("tokenizer: there is no vocabulary beside the weights; sentence-transformers needs one")
        if recipe is not None:
            write_modules(draft, recipe, model, dtype)
        write_templates(draft, chat_templates or {})
        arrays = family.write(params, model)
        stored = "float32" if dtype == NF4 else dtype
        for name in arrays:
            arrays[name] = cast(name, arrays[name], stored)
        how = {}
        if dtype == NF4:
            arrays = quantized(family.names(model), arrays, double=True)
            how = {QUANTIZATION: settings(arrays, double=True)}
        write_json_atomic(draft / CONFIG, {**config, **ends, "dtype": stored, **how})
        write_tensors(draft, arrays, shard_bytes, progress)
    return model


def padding(codec: Codec) -> int | None:
    """An id that fills rows up and that no row of a text ends with, for classes that look for the last token that is
    another: the vocabulary's own, else the end of text, else another special token. None: there is none."""
    added = {token["content"]: token["id"] for token in _special(codec)}
    own = [token for name, token in added.items() if ROLES.get(name) == "pad_token"]
    others = [token for token in added.values() if token != codec.bos]
    last = {*codec.frame[1][-1:], *((index for index, _ in codec.pair.behind[-1:]) if codec.pair else ())}
    return next((token for token in [*own, codec.eot, *others] if token is not None and token not in last), None)


def _special(codec: Codec) -> list[dict[str, Any]]:
    return [token for token in json.loads(codec.tokenizer_json()).get("added_tokens", ()) if token["special"]]


def _write_tokenizer(draft: Path, codec: Codec, context: int, pads: bool, pad: int | None, typed: bool) -> None:
    """`pads`: what reads it fills batches up, with the end of text where there is no token for it, or with the id
    `pad`. `typed`: the model reads token types."""
    text = codec.tokenizer_json()
    added = {token["id"]: token["content"] for token in json.loads(text).get("added_tokens", ())}
    special = {ROLES[name]: name for name in added.values() if name in ROLES}
    if pad is not None:
        special["pad_token"] = added[pad]
    for role, token in {"bos_token": codec.bos, "eos_token": codec.eot}.items():
        if token is not None:
            special[role] = added.get(token) or codec.decode([token])
    if pads and "pad_token" not in special:
        if "eos_token" not in special:
            raise ConfigError(
                "tokenizer: has no token to pad with, nor an end of text; sentence-transformers needs one"
            )
        special["pad_token"] = special["eos_token"]
    settings: dict[str, Any] = {
        "tokenizer_class": "PreTrainedTokenizerFast",  # takes tokenizer.json as it is
        "form": codec.form,
        "clean_up_tokenization_spaces": False,
        "model_max_length": context,
        "model_input_names": ["input_ids", *["token_type_ids"] * typed, "attention_mask"],  # releases assume either
        **special,
    }
    text = text if codec.bos is None else _starting(text, codec.bos, special["bos_token"])
    (draft / "tokenizer.json").write_text(text, encoding="utf-8")
    write_json_atomic(draft / "tokenizer_config.json", settings)
    write_json_atomic(draft / "special_tokens_map.json", special)


def _starting(text: str, bos: int, name: str) -> str:
    """The tokenizer with its start put before every text. `add_bos_token` would not do: transformers 5 drops it."""
    import tokenizers as hf

    tokenizer = hf.Tokenizer.from_str(text)
    if tokenizer.encode("").ids == [bos]:
        return text
    add_first(tokenizer, name)
    return tokenizer.to_str()
