"""Whatever number stands in whatever field of whatever spec: a legal value, or one line. And a size has a bound."""

import math
import time
import typing

import pytest
from annotated_types import Ge, Gt, Le, Lt
from pydantic import ValidationError

import jaxgpt.lab  # noqa: F401  declares its specs
from jaxgpt.decode import Sampling
from jaxgpt.models import Model, Transformer
from jaxgpt.runs import ObjectiveRun
from jaxgpt.runs.checkpoint.manifest import FileFacts, Manifest
from jaxgpt.spec import ConfigError, Spec, members, parse
from jaxgpt.spec.explain import spec_of
from jaxgpt.train.summary import summarize

SECONDS = 10
NUMBERS = [
    0,
    -1,
    1,
    2**31,
    2**63,
    10**30,
    10**90,
    math.nan,
    math.inf,
    1e300,
    -1e300,
    5e-324,
    1.5,
    True,
    None,
    "1",
    [],
    [0],
]
FACTS = {Manifest, FileFacts}
"""Not settings: what lies on the disk, checked against it."""
OTHERS = {Sampling: {"top_k"}, ObjectiveRun: {"seed"}}
"""No sizes, and bounded by what they are compared with."""
REQUIRED = {
    "num_layers": 2,
    "d_model": 16,
    "num_heads": 2,
    "model": {"kind": "gpt2", "num_layers": 1, "d_model": 8, "num_heads": 1, "vocab_size": 300, "context": 16},
    "tokenizer": "byte",
    "batch_size": 2,
    "steps": 3,
    "optim": {"kind": "adamw", "lr": 0.1},
    "lr": 0.1,
    "factor": 2.0,
    "corpus": "x",
    "of": ["causal"],
    "question": "?",
    "base": "x",
    "arms": {"a": {}, "b": {}},
    "baseline": "a",
    "rungs": {"a": ["a", "b"]},
}


def declared(cls=Spec):
    for below in cls.__subclasses__():
        if below.__module__.startswith("jaxgpt."):
            yield below
        yield from declared(below)


SPECS = sorted(
    {cls for cls in declared() if not cls.__abstractmethods__ and cls not in FACTS}, key=lambda c: c.__qualname__
)


def bounds(annotation, metadata):
    """(scalar type, its bounds) for each scalar in a field's type."""
    if typing.get_origin(annotation) is typing.Annotated:
        inner, *more = typing.get_args(annotation)
        flat = [part for item in more for part in getattr(item, "metadata", [item])]
        yield from bounds(inner, [*metadata, *flat])
    elif typing.get_args(annotation) and typing.get_origin(annotation) is not typing.Literal:
        for arg in typing.get_args(annotation):
            if arg is not ...:
                yield from bounds(arg, metadata)
    else:
        yield annotation, metadata


def fields(cls, kinds):
    for name, field in cls.model_fields.items():
        for kind, metadata in bounds(field.annotation, field.metadata):
            if kind in kinds:
                yield name, metadata


def minimal(cls):
    tree = {"lr": [0.1, 0.2]} if cls.__name__ == "Tune" else {}
    for name, field in cls.model_fields.items():
        if field.is_required():
            tree.setdefault(name, REQUIRED.get(name, 4))
    if cls.__name__ == "Combined":
        return tree
    return tree | ({"d_head": 8} if "d_head" in cls.model_fields else {})


@pytest.mark.parametrize("cls", SPECS, ids=lambda cls: cls.__qualname__)
def test_any_number_in_any_field_is_a_value_or_one_line(cls):
    for name in dict.fromkeys(name for name, _ in fields(cls, {int, float})):
        for number in NUMBERS:
            begin = time.perf_counter()
            try:
                made = parse(cls, minimal(cls) | {name: number})
            except ConfigError as error:
                assert error.problems and all(line.isprintable() and len(line) < 500 for line in error.problems)
            else:
                word = number is None and getattr(made, name) == cls.model_fields[name].default
                assert word or isinstance(getattr(made, name), int | float | tuple | dict | None)
                assert not isinstance(number, str) and (number is not True or isinstance(made.model_dump()[name], bool))
            assert time.perf_counter() - begin < SECONDS, (name, number)


@pytest.mark.parametrize("cls", SPECS, ids=lambda cls: cls.__qualname__)
def test_every_whole_number_is_bounded_on_both_sides(cls):
    for name, metadata in fields(cls, {int}):
        if name in OTHERS.get(cls, ()) or (cls.__name__ == "Slurm" and name == "extra"):
            continue
        assert any(isinstance(bound, Le | Lt) for bound in metadata), f"{cls.__name__}.{name} has no upper bound"
        if cls.__name__ != "Mesh":  # whose -1 fills, and whose own check refuses the rest
            assert any(isinstance(bound, Ge | Gt) for bound in metadata), f"{cls.__name__}.{name} has no lower bound"


def test_the_search_finds_every_seam():
    declared = [*members("model").values(), *members("pattern").values(), *members("optim").values()]
    assert {ObjectiveRun, *(cls for cls in declared if cls.__module__.startswith("jaxgpt."))} <= set(
        SPECS
    )  # not other tests' own
    assert spec_of(ObjectiveRun.model_fields["model"].annotation) is Model


FAMILIES = {kind: cls for kind, cls in members("model").items() if issubclass(cls, Transformer)}


def small(kind, **model):
    """A run of two narrow layers of a family."""
    own = {"pattern": "causal"} if kind in ("gpt3", "gpt_neo", "gemma2", "mistral") else {}
    own |= {"position": {"kind": "rotary", "width": 4}} if kind == "gptj" else {}
    objective = "masked_language_model" if kind in ("bert", "roberta", "encoder") else "language_model"
    sizes = {"num_layers": 2, "d_model": 16, "num_heads": 2, "d_head": 8, "context": 8, "vocab_size": 300}
    tree = {"model": {"kind": kind, **sizes, **own, **model}, "objective": objective}
    return tree | {"tokenizer": "byte", "batch_size": 8, "steps": 20, "optim": {"kind": "adamw", "lr": 1e-2}}


IMPOSSIBLE = {
    "context": 10**12,
    "num_layers": 10**9,
    "d_model": 10**9,
    "num_heads": 10**9,
    "vocab_size": 10**12,
    "d_head": 10**9,
    "feed_forward": {"kind": "moe", "num_experts": 10**9},
}


@pytest.mark.parametrize("kind", FAMILIES)
def test_sizes_that_cannot_be_are_refused_before_anything_is_built(kind):
    assert parse(ObjectiveRun, small(kind)).model.least_parameters < 10**6
    for name, size in [*IMPOSSIBLE.items(), *((name, size) for name in ("context", "num_layers") for size in (0, -1))]:
        begin = time.perf_counter()
        with pytest.raises(ConfigError, match=rf"^model\.{name}[^\n]*$"):
            parse(ObjectiveRun, small(kind, **{name: size}))
        assert time.perf_counter() - begin < SECONDS


def test_sizes_that_are_each_possible_but_not_together_are_refused():
    with pytest.raises(ConfigError, match=r"more than 1e\+14 parameters; lower one"):
        parse(ObjectiveRun, small("gpt2", d_model=2**20, num_heads=2**10, d_head=None, num_layers=10_000))
    with pytest.raises(ConfigError, match=r"more than 1e\+14 parameters"):
        experts = {"kind": "moe", "num_experts": 2**16}
        parse(ObjectiveRun, small("llama", d_model=2**18, num_heads=2, num_layers=10_000, feed_forward=experts))
    with pytest.raises(ConfigError, match="is a table of context 16777216 x d_model 16"):
        parse(ObjectiveRun, small("gpt2", context=2**24, position="sinusoidal"))
    with pytest.raises(ConfigError, match="exceed 68719476736 tokens a batch"):
        parse(ObjectiveRun, small("gpt2", context=2**24) | {"batch_size": 2**20})


@pytest.mark.parametrize(
    "model",
    [
        {"context": 2**24},
        {"num_layers": 10_000},
        {"context": 2**24, "pattern": {"kind": "sinks", "window": 4}},
        {"context": 2**24, "pattern": {"kind": "dilated", "window": 2**24, "dilation": 2**24, "right": 2**24}},
        {"position": {"kind": "rotary_ntk", "factor": 1e6, "theta": 1e30}},
        {"position": {"kind": "rotary_yarn", "factor": 1e6, "theta": 1.01, "trained": 2**24, "fast": 1e300}},
        {"position": {"kind": "t5", "buckets": 1024, "max_distance": 2**31 - 1}},
        {"feed_forward": {"kind": "moe", "num_experts": 2**16, "top_k": 128, "capacity_factor": 1e6}},
    ],
    ids=str,
)
def test_the_largest_that_are_allowed_can_be_shown(model):
    kind = "decoder" if "dilated" not in str(model) else "encoder"
    assert summarize(parse(ObjectiveRun, small(kind, **model)))["params"] > 0


def test_python_code_gets_pydantics_error_as_before():
    with pytest.raises(ValidationError):
        Sampling(temperature=-1.0)
