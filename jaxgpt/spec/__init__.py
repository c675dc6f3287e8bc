"""Specs. Frozen, typed, hashable values that name a mechanism or a whole run. Imports no jax."""

from jaxgpt.spec.base import Spec
from jaxgpt.spec.differences import diff
from jaxgpt.spec.digests import canonical, digest, stated
from jaxgpt.spec.errors import ConfigError, JaxgptError
from jaxgpt.spec.overrides import apply_overrides
from jaxgpt.spec.seam import Seam, members, seams
from jaxgpt.spec.yamlio import dump_yaml, load_yaml, parse

__all__ = [
    "ConfigError",
    "JaxgptError",
    "Seam",
    "Spec",
    "apply_overrides",
    "canonical",
    "diff",
    "digest",
    "dump_yaml",
    "load_yaml",
    "members",
    "parse",
    "seams",
    "stated",
]
