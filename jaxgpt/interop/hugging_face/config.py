"""Hugging Face's config.json as fields of our models, both ways.

A family writes down what its keys mean (`fields`) and what keys a model gives (`keys`). What a class cannot express is
not listed by hand: the keys that a model gives are read back, and every field that comes back different is refused.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from jaxgpt.interop.families.family import Family
from jaxgpt.interop.name_map import NameMap
from jaxgpt.interop.zero_biases import with_biases_of
from jaxgpt.models import Decoder
from jaxgpt.models.transformer import Transformer
from jaxgpt.nn.feed_forward import MLP, Gated
from jaxgpt.ops.activations import GELU, Activation, GELUTanh, ReLU, SiLU
from jaxgpt.ops.patterns import Pattern
from jaxgpt.ops.positions import Learned, Rotated, Turning
from jaxgpt.spec import ConfigError, Spec, parse
from jaxgpt.spec.errors import quote

ACTIVATIONS: Mapping[str, Activation] = {
    "gelu_new": GELUTanh(),
    "gelu": GELU(),
    "relu": ReLU(),
    "silu": SiLU(),
    "gelu_pytorch_tanh": GELUTanh(),
    "gelu_fast": GELUTanh(),
    "swish": SiLU(),
}
"""Their names; where two mean the same, the first is written."""
WORDS = {
    "num_layers": "num_hidden_layers",
    "d_model": "hidden_size",
    "num_heads": "num_attention_heads",
    "context": "max_position_embeddings",
}
"""Our sizes and what most families call them."""
START = ("init_std", "residual_init", "dropout")
"""Fields that shape the start and the training alone."""
PARENTS = {
    "qkv_bias": "bias",
    "o_bias": "bias",
    "d_head": "d_model",
    "num_kv_heads": "num_heads",
    "score_scale": "d_head",
}
"""Fields that follow another where they are not set."""
Rate = Annotated[float, Field(ge=0, lt=1)]
"""Of dropout."""
Small = Annotated[float, Field(gt=0, le=1e6)]
"""Of what numbers are added to, scaled or capped by: float32 holds it."""


class Config:
    """A config.json that is being read: `config(key, default)` gives what it holds, or what transformers assumes where
    the key is absent. Problems are gathered, so that all are named at once, by the file's own keys."""

    def __init__(self, content: Mapping[str, Any], model_type: str):
        self.content = content
        self.problems: list[str] = []
        named = content.get("model_type", model_type)
        if named != model_type:
            self.problems.append(f"model_type: {quote(named)}, expected '{model_type}'; use that family's map")

    def __call__(self, key: str, default: Any = None, kind: Any = None, within: str = "") -> Any:
        """The value of a key. `kind`: the type that it must have, as of a spec's field; for what has another, the
        default is given and a problem noted. A default of `...` means that the key has to be there. `within`: the key
        of the mapping that holds it, where it is nested."""
        name = f"{within}.{key}" if within else key
        mapping = self.content.get(within) if within else self.content
        value = mapping.get(key, default) if isinstance(mapping, Mapping) else default
        if value is ...:
            self.problems.append(f"{name}: missing; expected a value")
        if value is ... or kind is None or value is None is default:
            return value
        if isinstance(value, float) and value.is_integer():  # JSON has one kind of number
            value = int(value)
        try:
            return _checker(kind).validate_python(value, strict=True)
        except ValidationError as error:
            wanted = error.errors(include_url=False)[0]["msg"].replace("Input should be", "expected")
            self.problems.append(f"{name}: {quote(value)}, {wanted}")
            return default

    def only(self, key: str, *values: Any) -> None:
        """Notes a problem where a key is there and holds none of the values that our models can follow."""
        if key in self.content and self.content[key] not in values:
            known = " or ".join(repr(value) for value in values)
            self.problems.append(
                f"{key}: {quote(self.content[key])} is not supported, only {known}; such weights need another model "
                "class"
            )

    def activation(self, key: str, default: str, known: Mapping[str, Activation] = ACTIVATIONS) -> Activation:
        """The activation that a key names."""
        name = self(key, default)
        if isinstance(name, str) and name in known:
            return known[name]
        self.problems.append(f"{key}: {quote(name)} is not supported; known: {', '.join(known)}")
        return next(iter(known.values()))

    def dropout(self, default: float, *keys: str) -> float:
        """The one rate of all these keys."""
        rates = [self(key, default, Rate) for key in keys]
        if any(rate != rates[0] for rate in rates):
            named = ", ".join(f"{key} {rate}" for key, rate in zip(keys, rates, strict=True))
            self.problems.append(f"{named}: one dropout serves all these places here; make them equal")
        return float(rates[0])

    def multiple(self, key: str, value: int, part_key: str, part: int) -> None:
        """Notes a problem where a key's `value` is not a multiple of another's, `part`, and nothing else is wrong."""
        if not self.problems and value % part:
            self.problems.append(f"{key}: {value} is not a multiple of {part_key} {part}")


@cache
def _checker(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind, config=ConfigDict(allow_inf_nan=False))


def family(
    model_type: str,
    architecture: str,
    kind: type[Decoder],
    names: Callable[[Decoder], NameMap],
    fields: Callable[[Config], dict[str, Any]],
    keys: Callable[[Decoder], dict[str, Any]],
    moves_pairs: bool = False,
    words: Mapping[str, str] = WORDS,
) -> Family:
    """A family from what its keys mean and what keys a model gives; the two are held against each other.

    `moves_pairs`: `names` writes interleaved rotary pairs as half ones, so that a model may have either. `words`: their
    keys for our sizes.
    """

    def spec(config: Mapping[str, Any]) -> Decoder:
        reader = Config(config, model_type)
        tree = fields(reader)
        if reader.problems:
            raise ConfigError(dict.fromkeys(reader.problems))
        try:
            return parse(kind, tree)
        except ConfigError as error:  # of sizes that are sound one by one, and not together
            raise ConfigError([in_words(problem, words) for problem in error.problems]) from None

    def config(model: Decoder) -> dict[str, Any]:
        theirs = f"Hugging Face's '{model_type}'"
        if not isinstance(model, Decoder):
            raise ConfigError(f"model: {model.kind!r} is no decoder; {theirs} is one")
        if model.vocab_size is None:
            raise ConfigError(f"model.vocab_size: None; {theirs} has a number only")
        given = {"architectures": [architecture], "model_type": model_type, **keys(model)}
        try:
            back = spec(given)
        except ConfigError as error:
            raise ConfigError([f"model: {theirs} does not fit: {problem}" for problem in error.problems]) from None
        if moves_pairs and isinstance(model.position, Turning):
            model = model.evolve(position=model.position.evolve(pairing="half"))
        problems = lost(model, back, theirs)
        if problems:
            raise ConfigError(problems)
        return given

    def filled(model: Decoder) -> Decoder:
        try:
            return with_biases_of(model, spec({"model_type": model_type, **keys(model)}))
        except ConfigError:  # for `config` to say
            return model

    return Family(model_type, architecture, kind, names, spec, config, filled=filled)


def in_words(line: str, words: Mapping[str, str]) -> str:
    """A line about fields as one about keys, by a table from one to the other."""
    pattern = "|".join(map(re.escape, words))
    return re.sub(rf"(?<![\w.])({pattern})(?![\w.])", lambda field: words[field[0]], line)


def lost(model: Decoder, back: Decoder, theirs: str) -> list[str]:
    """One line for every field of `model` that `back`, which is all that `theirs` keeps of it, has otherwise."""
    ours, stored = resolved_fields(model), resolved_fields(back)
    differ = [name for name in ours if ours[name] != stored[name]]
    blamed = dict.fromkeys(name if getattr(model, name) is not None else PARENTS.get(name, name) for name in differ)
    return [
        f"model.{name}: {shown(getattr(model, name))}; {theirs} has {shown(stored[name])} only; change the field"
        for name in blamed
    ]


def resolved_fields(model: Decoder) -> dict[str, Any]:
    """The fields that decide what a model computes, with those that follow from others written out."""
    fields = {name: getattr(model, name) for name in Decoder.model_fields if name not in START}
    position = model.position
    if isinstance(position, Learned):
        position = position.evolve(init_std=Learned().init_std)
    elif isinstance(position, Rotated) and position.width == model.head_width:
        position = position.evolve(width=None)
    return fields | {
        "num_kv_heads": model.kv_heads,
        "d_head": model.head_width,
        "qkv_bias": model.has_qkv_bias,
        "o_bias": model.has_o_bias,
        "score_scale": model.score_scale or model.head_width**-0.5,
        "pattern": cycle(model.layer_patterns),
        "position": position,
        "feed_forward": _with_width(model),
    }


def cycle(patterns: Sequence[Pattern]) -> tuple[Pattern, ...]:
    """The shortest cycle that gives each layer its pattern, in linear time (Knuth, Morris and Pratt 1977)."""
    border = [0] * len(patterns)
    for i in range(1, len(patterns)):
        length = border[i - 1]
        while length and patterns[i] != patterns[length]:
            length = border[length - 1]
        border[i] = length + (patterns[i] == patterns[length])
    return tuple(patterns[: len(patterns) - border[-1]])


def inner_width(model: Transformer) -> int:
    """The feed-forward layer's d_ff, resolved; that of an MLP where the layer is of another kind."""
    layer = model.feed_forward
    if isinstance(layer, Gated):
        return layer.d_ff or 8 * model.d_model // 3
    return (layer.d_ff if isinstance(layer, MLP) else None) or 4 * model.d_model


def activation_name(model: Transformer, known: Mapping[str, Activation] = ACTIVATIONS) -> str:
    """What they call the feed-forward layer's activation; the first name where there is none."""
    own = getattr(model.feed_forward, "activation", None)
    return next((name for name, activation in known.items() if activation == own), next(iter(known)))


def shown(value: Any) -> str:
    """A field's value in one line."""
    if isinstance(value, tuple):
        return f"[{', '.join(shown(each) for each in value)}]"
    if not isinstance(value, Spec):
        return repr(value)
    changed = [
        f"{name} {shown(item)}"
        for name, field in type(value).model_fields.items()
        if (item := getattr(value, name)) != field.default
    ]
    return " ".join([str(getattr(value, "kind", type(value).__name__)), *changed])


def _with_width(model: Decoder) -> Any:
    layer = model.feed_forward
    return layer.evolve(d_ff=inner_width(model)) if isinstance(layer, MLP | Gated) else layer
