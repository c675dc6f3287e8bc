"""Ids of special tokens in the settings of others: where they are, they lie within the vocabulary."""

from collections.abc import Mapping
from typing import Any

from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote

KEYS = ("bos_token_id", "eos_token_id", "pad_token_id")
NO_PADDING = -1
"""What some older files say where there is no padding."""


def check_special_ids(settings: Mapping[str, Any], size: int, where: str, prefix: str = "") -> None:
    """Raises ConfigError, one line that starts with `where` for each entry of `held` under KEYS, each after `prefix`,
    that is neither null nor an id below `size` nor a list of such: an end of text out of range would never come."""
    ids = {key: settings.get(prefix + key) for key in KEYS}
    problems = [
        f"{where}: {prefix}{key}: {quote(value)}, expected an id below vocab_size {size}, or null for none"
        for key, value in ids.items()
        if value is not None and (key, value) != ("pad_token_id", NO_PADDING)
        if not all(type(each) is int and 0 <= each < size for each in (value if isinstance(value, list) else [value]))
    ]
    if problems:
        raise ConfigError(problems)
