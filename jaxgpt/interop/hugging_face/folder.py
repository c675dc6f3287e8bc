"""A Hugging Face directory, read: config.json, safetensors, tokenizer and generation settings. No code of it runs."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from jaxgpt.interop.families.table import by_config
from jaxgpt.interop.hugging_face.bitsandbytes import dequantized
from jaxgpt.interop.hugging_face.chat_template import read_templates
from jaxgpt.interop.hugging_face.special_ids import KEYS, check_special_ids
from jaxgpt.interop.hugging_face.tokenizer import SETTINGS, read_codec
from jaxgpt.interop.json_object import read_object
from jaxgpt.interop.pickles import refuse_code, refuse_pickles
from jaxgpt.interop.safetensors import FILE, INDEX, read_tensors
from jaxgpt.interop.source import Source
from jaxgpt.spec import ConfigError

CONFIG, GENERATION = "config.json", "generation_config.json"


def read_source(folder: Path) -> Source:
    """The checkpoint in a folder; its tensors are checked against its files, and not read yet.

    Raises ConfigError with one line for everything that is missing, unsound or not supported.
    """
    config = read_object(folder / CONFIG, "a model's configuration")
    refuse_code(config, folder / CONFIG)
    if not (folder / FILE).exists() and not (folder / INDEX).exists():
        raise refuse_pickles(folder) or ConfigError(
            f"{folder}: no weights; expected {FILE}, or {INDEX} with its shards"
        )
    try:
        family = by_config(config)
        model = family.spec(config)
    except ConfigError as error:
        raise ConfigError([f"{folder / CONFIG}: {problem}" for problem in error.problems]) from None
    tensors = dequantized(config, read_tensors(folder), str(folder / CONFIG))
    model = family.fit(model, tensors)

    path = folder / SETTINGS
    templates = read_templates(folder, read_object(path, "a JSON object") if path.exists() else {}, path)
    codec, generation = read_codec(folder, config), _generation(folder, config, model.vocab_size or 0)
    return Source(model, codec, partial(family.read, tensors, model), generation, chat_templates=templates)


def _generation(folder: Path, config: Mapping[str, Any], size: int) -> dict[str, Any]:
    """What generation_config.json says, or config.json where it says nothing. `size`: of the vocabulary."""
    check_special_ids(config, size, str(folder / CONFIG))
    ids = {key: config[key] for key in KEYS if config.get(key) is not None}
    path = folder / GENERATION
    given = read_object(path, "settings of generation") if path.exists() else {}
    check_special_ids(given, size, str(path))
    return {**ids, **given}
