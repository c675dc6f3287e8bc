"""A spec's identity: the SHA-256 of its canonical JSON."""

import hashlib
import json
from typing import Any

from jaxgpt.spec.base import Spec


def canonical(value: Any) -> str:
    """JSON with sorted keys and no spaces: the same text for equal values on any machine."""
    if isinstance(value, Spec):
        value = value.model_dump(mode="json")
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest(value: Any, length: int = 10) -> str:
    """The first `length` hex digits of SHA-256 over `canonical(value)`."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:length]
