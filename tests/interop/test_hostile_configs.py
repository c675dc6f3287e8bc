"""Numbers in a config.json that no model can have: one line at once, whatever the family and the key."""

import json
import time

import pytest

from jaxgpt.interop.families import FAMILIES
from jaxgpt.interop.hf_config import cycle
from jaxgpt.interop.json_object import parse_object
from jaxgpt.models import Transformer
from jaxgpt.ops.patterns import Banded, Causal
from jaxgpt.spec import ConfigError

SECONDS = 10
"""Ten times what is promised: this machine may be busy."""
SMALL = {"num_layers": 2, "d_model": 64, "num_heads": 2, "context": 32, "vocab_size": 300}
HOSTILE = [0, -1, 10**9, 10**12, 10**30, 1e12, 1e300, 1.5, True, None, "many", [], [1], [[1]], [{"a": 1}], {}, {"a": 1}]


def described(family):
    """A small model of the family as its config.json."""
    fields = dict(SMALL)
    if family.model_type == "gptj":
        fields["position"] = {"kind": "rotary", "width": 8}
    if family.model_type == "gemma2":
        fields["embed_scale"] = 8.0
    if "pattern" in family.kind.model_fields and family.model_type in ("gpt_neo", "gemma2", "mistral"):
        fields["pattern"] = ["causal"]
    return dict(family.config(family.kind(**fields)))


@pytest.mark.parametrize("family", FAMILIES, ids=[family.model_type for family in FAMILIES])
def test_any_value_of_any_key_is_a_model_or_one_line_a_problem(family):
    config = described(family)
    assert isinstance(family.spec(config), Transformer)
    for key in config:
        for value in HOSTILE:
            begin = time.perf_counter()
            try:
                model = family.spec(config | {key: value})
            except ConfigError as error:
                assert error.problems and all(line.isprintable() and len(line) < 1000 for line in error.problems)
            else:
                assert isinstance(model, Transformer) and model.least_parameters < 10**14
            assert time.perf_counter() - begin < SECONDS, (key, value)


@pytest.mark.parametrize("family", FAMILIES, ids=[family.model_type for family in FAMILIES])
@pytest.mark.parametrize("size", [10**9, 10**12])
def test_sizes_that_cannot_be_are_refused_by_name(family, size):
    config = described(family)
    named = {"n_layer", "num_layers", "num_hidden_layers", "n_positions", "max_position_embeddings", "seq_length"}
    keys = named & config.keys()
    assert len(keys) == 2
    for key in keys:
        with pytest.raises(ConfigError, match=f"{key}|num_layers|context"):
            family.spec(config | {key: size})


@pytest.mark.parametrize(
    "given", [[[["global"], 10**12]], [[[], 10**12]], [[["local"] * 10**5, 10**5]], [[["global", "local"], -3]]]
)
def test_gpt_neos_repetitions_are_not_written_out(given):
    family = next(family for family in FAMILIES if family.model_type == "gpt_neo")
    with pytest.raises(ConfigError, match="attention_types"):
        family.spec(described(family) | {"attention_types": given})


def test_the_shortest_cycle_is_found_and_in_linear_time():
    a, b = Causal(), Banded(window=4)
    for patterns, length in [
        ([a], 1),
        ([a, a, a], 1),
        ([a, b, a, b], 2),
        ([a, b, a], 2),
        ([a, a, b], 3),
        ([a, b, b], 3),
    ]:
        assert cycle(patterns) == tuple(patterns[:length])
    begin = time.perf_counter()
    assert len(cycle([a] * 9_999 + [b])) == 10_000
    assert time.perf_counter() - begin < SECONDS


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        (b"[" * 10**6, "nested too deep"),
        (b'{"a":' * 10**5, "nested too deep"),
        (b'{"n": ' + b"9" * 5000 + b"}", "an integer of 5,000 digits"),
        (b'{"n": -' + b"9" * 10**6 + b"}", "an integer of 1,000,001 digits"),
        (b'{"n": 1e999}', "1e999 is beyond float64"),
        (b'{"n": NaN}', "NaN is not a number"),
        (b'{"n": -Infinity}', "-Infinity is not a number"),
        (b'{"n": 1, "n": 2}', "key 'n' more than once"),
        (b'{"n": "\xff"}', "invalid start byte"),
        (b"", "Expecting value"),
        (b"[]", "a JSON list"),
    ],
)
def test_json_that_is_unsound_is_one_line(raw, says):
    with pytest.raises(ConfigError) as caught:
        parse_object(raw, "config.json", "a configuration")
    line = str(caught.value)
    assert line.startswith("config.json: ") and says in line and len(line) < 300 and line.isprintable()


def test_numbers_that_can_be_are_read_as_they_are():
    tree = {"i": 2**63, "f": 1e-300, "t": True, "n": None, "s": "é"}
    assert parse_object(json.dumps(tree).encode(), "x", "y") == tree
