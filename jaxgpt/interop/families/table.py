"""Every family whose checkpoints are read and written."""

from collections.abc import Mapping
from typing import Any

from jaxgpt.interop.families import (
    bert,
    bloom,
    gemma2,
    gpt1,
    gpt2,
    gpt_neo,
    gpt_neox,
    gptj,
    llama,
    mistral,
    qwen2,
    qwen3,
    roberta,
)
from jaxgpt.interop.families.family import Family
from jaxgpt.models import Encoder, Model
from jaxgpt.spec import ConfigError
from jaxgpt.spec.errors import quote

FAMILIES: tuple[Family, ...] = (
    gpt2.FAMILY,
    gpt1.FAMILY,
    gpt_neo.FAMILY,
    gptj.FAMILY,
    gpt_neox.FAMILY,
    llama.FAMILY,
    mistral.FAMILY,
    qwen2.FAMILY,
    qwen3.FAMILY,
    gemma2.FAMILY,
    bloom.FAMILY,
    bert.FAMILY,
    roberta.FAMILY,
)


def by_config(config: Mapping[str, Any]) -> Family:
    """The family that a parsed config.json names. Raises ConfigError for one that we do not have."""
    named, classes = config.get("model_type"), config.get("architectures")
    for family in FAMILIES:
        if named == family.model_type:
            return family
        if named is None and classes in [[name] for name in (family.architecture, *family.task_classes)]:
            return family
    known = ", ".join(sorted(family.model_type for family in FAMILIES))
    raise ConfigError(f"model_type: {quote(named)} is not supported; known: {known}")


def by_model(model: Model) -> Family:
    """The family that can express a model, its own kind first; else one that can with biases of zero (`Family.fill`).

    Raises ConfigError with one line for every field that its own family, or else the nearest, cannot express.
    """
    own = [family for family in FAMILIES if family.kind is type(model)]
    comparable = [family for family in FAMILIES if issubclass(family.kind, Encoder) == isinstance(model, Encoder)]
    ordered = own + [family for family in comparable if family not in own]
    exact = next((family for family in ordered if refusal(family, model) is None), None)
    if exact is not None:
        return exact
    nearest: ConfigError | None = None
    for family in ordered:
        error = refusal(family, family.filled(model))
        if error is None:
            return family
        if nearest is None or (not own and len(error.problems) < len(nearest.problems)):
            nearest = error
    assert nearest is not None
    raise nearest


def refusal(family: Family, model: Model) -> ConfigError | None:
    """Why the family cannot express a model; None: it can."""
    try:
        family.config(model)
    except ConfigError as error:
        return error
    return None
