"""Rotary positions as configurations of transformers spell them: before version 5 in `rope_theta` and `rope_scaling`,
since then in `rope_parameters`. The older keys are written: both read them."""

import math
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from jaxgpt.interop.hugging_face.config import Config, Small
from jaxgpt.ops.positions import Position, Rotary, RotaryLinear, RotaryLlama3, RotaryYaRN, Turning
from jaxgpt.spec.errors import quote
from jaxgpt.spec.sizes import Length

YARN_ONLY = ("attention_factor", "mscale", "mscale_all_dim")
"""Keys that give YaRN another magnitude than the paper's."""
Theta, Factor = Annotated[float, Field(ge=1, le=1e30)], Annotated[float, Field(gt=1, le=1e6)]


def read_rope(config: Config, context: int, theta_key: str = "rope_theta") -> dict[str, Any]:
    """The fields of a position that turns half-paired channels."""
    where = rope_key(config)

    def value(key: str, default: Any = None, kind: Any = None) -> Any:
        return config(key, default, kind, where)

    kind = value("rope_type", value("type", "default"))
    theta = value("rope_theta", config(theta_key, 10000.0, Theta), Theta)
    turning = {"pairing": "half", "theta": theta}
    if kind == "default" or (kind == "linear" and value("factor") == 1):
        return turning | {"kind": "rotary"}
    if kind not in ("linear", "llama3", "yarn"):
        known = "known: default, linear, llama3, yarn"
        config.problems.append(f"{where}.rope_type: {quote(kind)} is not supported; {known}")
        return turning | {"kind": "rotary"}
    stretched = turning | {"factor": value("factor", ..., Factor)}
    if kind == "linear":
        return stretched | {"kind": "rotary_linear"}
    name = "original_max_position_embeddings"
    trained = value(name, config(name, context, Length), Length)
    if kind == "llama3":
        slow, fast = value("low_freq_factor", ..., Small), value("high_freq_factor", ..., Small)
        stretched |= {"kind": "rotary_llama3", "trained": trained, "slow": slow, "fast": fast}
        names = "high_freq_factor", "low_freq_factor"
    else:
        config.problems += [
            f"{where}.{key}: {quote(value(key))} is not supported; YaRN's own magnitude is"
            for key in YARN_ONLY
            if value(key) is not None
        ]
        if value("truncate", True) is not True:
            config.problems.append(f"{where}.truncate: {quote(value('truncate'))} is not supported, only True")
        slow, fast = (value(key, None, Small | None) for key in ("beta_slow", "beta_fast"))
        slow, fast = slow or 1, fast or 32
        stretched |= {"kind": "rotary_yarn", "trained": trained, "slow": slow, "fast": fast}
        names = "beta_fast", "beta_slow"
    if not config.problems and kind == "yarn" and theta <= 1:
        config.problems.append(f"{theta_key}: {theta}, expected more than 1")
    if not config.problems and fast <= slow:
        config.problems.append(f"{where}.{names[0]}: {fast}, expected more than {names[1]} {slow}")
    return stretched


def rope_key(config: Config) -> str:
    """The key of the mapping that says how positions turn, whether it is there or not."""
    key = "rope_scaling" if config("rope_scaling") or not config("rope_parameters") else "rope_parameters"
    if config(key) and not isinstance(config(key), Mapping):
        problem = f"{key}: {quote(config(key))}, expected a mapping with rope_type"
        config.problems += [] if problem in config.problems else [problem]
    return key


def rope_keys(position: Position, theta_key: str = "rope_theta") -> dict[str, Any]:
    """The keys of config.json for a position; those of plain rotary positions for one that does not turn."""
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
