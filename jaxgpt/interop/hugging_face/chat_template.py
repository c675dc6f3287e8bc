"""Chat templates: text of others that travels with a model from format to format, letter for letter, and never runs.

By name; the one that counts where none is asked for is `default`. Folders have them in files, as transformers 5 writes
them, or inside tokenizer_config.json, as it did before; GGUF has a key for each.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from jaxgpt.interop.json_object import read_bytes
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote

FILE, OTHERS, ENDING = "chat_template.jinja", "additional_chat_templates", ".jinja"
DEFAULT = "default"
KEY = "tokenizer.chat_template"
NAME = re.compile(r"\w[\w.-]{0,63}")
"""What may be the name of a file."""


def read_templates(folder: Path, settings: Mapping[str, Any], where: Path) -> dict[str, str]:
    """The templates of a Hugging Face folder: its files, or else what `settings`, read from `where`, hold. Raises
    ConfigError for what is neither text nor texts with a name each."""
    files = {DEFAULT: folder / FILE} if (folder / FILE).exists() else {}
    for path in sorted((folder / OTHERS).glob(f"*{ENDING}")):
        files.setdefault(path.name.removesuffix(ENDING), path)
    if files:
        return _checked({name: _text(path) for name, path in files.items()}, folder)
    stored = settings.get("chat_template")
    if isinstance(stored, list) and all(isinstance(entry, dict) for entry in stored):
        named = [(entry.get("name"), entry.get("template")) for entry in stored]
        stored = dict(named) if all(isinstance(name, str) for name, _ in named) else stored
    elif stored is None or isinstance(stored, str):
        stored = {} if stored is None else {DEFAULT: stored}
    if not isinstance(stored, dict):
        raise ConfigError(f"{where}: chat_template: {quote(stored)}, expected a text, or a list of name and template")
    return _checked(stored, f"{where}: chat_template")


def write_templates(folder: Path, templates: Mapping[str, str]) -> None:
    """Writes the templates as files, byte for byte as they were read."""
    for name, text in templates.items():
        path = folder / FILE if name == DEFAULT else folder / OTHERS / f"{name}{ENDING}"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode())


def from_gguf(fields: Mapping[str, Any]) -> dict[str, str]:
    """The templates of a GGUF file. Raises ConfigError as `read_templates` does."""
    stored = {key.removeprefix(f"{KEY}."): text for key, text in fields.items() if key.startswith(f"{KEY}.")}
    return _checked(stored | ({DEFAULT: fields[KEY]} if KEY in fields else {}), KEY)


def to_gguf(templates: Mapping[str, str]) -> dict[str, Any]:
    """Keys and values of a GGUF file; names get underscores for what GGUF's may not have."""
    others = {re.sub(r"[^a-zA-Z0-9]", "_", name): text for name, text in templates.items() if name != DEFAULT}
    fields: dict[str, Any] = {KEY: templates[DEFAULT]} if DEFAULT in templates else {}
    if others:
        fields |= {f"{KEY}s": list(others)} | {f"{KEY}.{name}": text for name, text in others.items()}
    return fields


def _text(path: Path) -> str:
    try:
        return read_bytes(path, "a chat template").decode()
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}; expected a chat template") from None


def _sound(text: Any) -> bool:
    """Whether it is text that a file can hold: half a surrogate pair, which JSON can spell, is none."""
    return isinstance(text, str) and text == text.encode("utf-8", "replace").decode()


def _checked(templates: Mapping[Any, Any], where: Path | str) -> dict[str, str]:
    for name, text in templates.items():
        if not isinstance(name, str) or not NAME.fullmatch(name) or not _sound(text):
            raise ConfigError(
                f"{where}: {quote(name)}: no chat template; expected a text, named by letters, digits, _, . and -"
            )
    return dict(templates)
