"""Codecs out of the folders that they were saved in."""

from pathlib import Path
from typing import Any

from jaxgpt.spec.small_file import read_small
from jaxgpt.text.tokenizers.byte import ByteCodec
from jaxgpt.text.tokenizers.char import CharCodec
from jaxgpt.text.tokenizers.codec import Codec
from jaxgpt.text.tokenizers.huggingface import HuggingFaceCodec
from jaxgpt.text.tokenizers.tokenizer_json import LARGEST, parsed, read


def load_codec(folder: Path) -> Codec:
    """Reads what `Codec.save` wrote, or any folder with a `tokenizer.json`. Only JSON is read; no code runs.

    Raises ConfigError naming the file that is missing or malformed.
    """
    folder = Path(folder)
    settings, path = folder / "tokenizer_config.json", folder / "tokenizer.json"
    config = parsed(read_small(settings, LARGEST), settings) if settings.exists() else {}
    match config.get("form"):
        case "byte":
            parsed(read_small(path, LARGEST), path)
            return ByteCodec()
        case "char":
            return CharCodec.from_json(parsed(read_small(path, LARGEST), path), path)
    return HuggingFaceCodec(
        read(path),
        token_name(config.get("eos_token")),
        token_name(config.get("bos_token")) if "form" in config else None,  # elsewhere no text may start with it
    )


def token_name(value: Any) -> str | None:
    """The token that a setting names, alone or described; None where it names none."""
    name = value.get("content") if isinstance(value, dict) else value
    return name if isinstance(name, str) else None
