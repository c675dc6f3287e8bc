"""Rotary positions as configurations of transformers spell them: before version 5 in `rope_theta` and `rope_scaling`,
since then in `rope_parameters`. The older keys are written: both read them."""

import math
from collections.abc import Mapping
from typing import Any

from jaxgpt.interop.hf_config import Config
from jaxgpt.ops.positions import Position, Rotary, RotaryLinear, RotaryLlama3, RotaryYaRN, Turning
from jaxgpt.spec.errors import quote

YARN_ONLY = ("attention_factor", "mscale", "mscale_all_dim")
"""Keys that give YaRN another magnitude than the paper's."""


def read_rope(config: Config, context: int, theta_key: str = "rope_theta") -> dict[str, Any]:
    """The fields of a position that turns half-paired channels."""
    held = rope_parameters(config)
    kind = held.get("rope_type", held.get("type", "default"))
    turning = {"pairing": "half", "theta": held.get("rope_theta", config(theta_key, 10000.0))}
    if kind == "default" or (kind == "linear" and held.get("factor") == 1):
        return turning | {"kind": "rotary"}
    stretched = turning | {"factor": held.get("factor")}
    trained = held.get("original_max_position_embeddings", config("original_max_position_embeddings", context))
    if kind == "linear":
        return stretched | {"kind": "rotary_linear"}
    if kind == "llama3":
        slow, fast = held.get("low_freq_factor"), held.get("high_freq_factor")
        return stretched | {"kind": "rotary_llama3", "trained": trained, "slow": slow, "fast": fast}
    if kind == "yarn":
        config.problems += [
            f"rope_scaling.{key}: {quote(held[key])} is not supported; YaRN's own magnitude is"
            for key in YARN_ONLY
            if held.get(key) is not None
        ]
        if held.get("truncate", True) is not True:
            config.problems.append(f"rope_scaling.truncate: {quote(held['truncate'])} is not supported, only True")
        slow, fast = held.get("beta_slow") or 1, held.get("beta_fast") or 32
        return stretched | {"kind": "rotary_yarn", "trained": trained, "slow": slow, "fast": fast}
    config.problems.append(
        f"rope_scaling.rope_type: {quote(kind)} is not supported; known: default, linear, llama3, yarn"
    )
    return turning | {"kind": "rotary"}


def rope_parameters(config: Config) -> Mapping[str, Any]:
    """The mapping that says how positions turn; empty where there is none."""
    held = config("rope_scaling") or config("rope_parameters") or {}
    if isinstance(held, Mapping):
        return held
    config.problems.append(f"rope_scaling: {quote(held)}; expected a mapping with rope_type")
    return {}


def rope_keys(position: Position, theta_key: str = "rope_theta") -> dict[str, Any]:
    """Their keys for a position; those of a plain one for what does not turn."""
    scaling: dict[str, Any] | None = None
    if isinstance(position, RotaryLinear):
        scaling = {"rope_type": "linear", "factor": position.factor}
    elif isinstance(position, RotaryLlama3):
        scaling = {
            "rope_type": "llama3",
            "factor": position.factor,
            "low_freq_factor": position.slow,
            "high_freq_factor": position.fast,
            "original_max_position_embeddings": position.trained,
        }
    elif isinstance(position, RotaryYaRN):
        scaling = {
            "rope_type": "yarn",
            "factor": position.factor,
            "beta_slow": position.slow,
            "beta_fast": position.fast,
            "original_max_position_embeddings": position.trained,
        }
    theta = position.theta if isinstance(position, Turning) else Rotary().theta
    return {theta_key: theta, "rope_scaling": scaling}


def share(width: int | None, d_head: int) -> float:
    """The part of a head's channels that turns, such that `int(share * d_head)` is the width."""
    part = 1.0 if width is None else width / d_head
    return part if width is None or int(d_head * part) == width else math.nextafter(part, 1.0)
