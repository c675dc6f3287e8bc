import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from jaxgpt.spec.yaml_core import CORE, Dumper, YAMLProblem, read

MEANINGS = {
    "yes": "yes",
    "on": "on",
    "No": "No",
    "off": "off",
    "true": True,
    "False": False,
    "010": 10,
    "0o10": 8,
    "0x1F": 31,
    "-7": -7,
    "+7": 7,
    "1:30": "1:30",
    "2001-01-01": "2001-01-01",
    "2001-99-99": "2001-99-99",
    "1_000": "1_000",
    "1e-4": 1e-4,
    "1e4": 1e4,
    "6.": 6.0,
    ".5": 0.5,
    "-.inf": float("-inf"),
    "null": None,
    "~": None,
    "": None,
    "None": "None",
    "none": "none",
    "'1'": "1",
    '"1e4"': "1e4",
    "!!str 1": "1",
    "!!float 1": 1.0,
    "! 1": "1",
    "[a, 1, {b: c}]": ["a", 1, {"b": "c"}],
    "{1: 2, yes: no, ~: null}": {"1": 2, "yes": "no", "~": None},
    "[&a [x, 1], *a]": [["x", 1], ["x", 1]],
    "{a: &a {x: 1, y: 2}, b: {<<: *a, y: 3}}": {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}},
    "{b: {y: 3, <<: [{y: 1, x: 1}, {x: 2, z: 2}]}}": {"b": {"y": 3, "x": 1, "z": 2}},
    "# nothing": None,
}


@pytest.mark.parametrize("text", MEANINGS)
def test_the_core_schema_of_yaml_1_2(text):
    assert repr(read(text)) == repr(MEANINGS[text]) or read(text) == MEANINGS[text]


@pytest.mark.parametrize(
    ("text", "line", "says"),
    [
        ("a: 1\nb: 2\na: 3", 3, "key 'a' again, first on line 1; keep one"),
        ("x:\n  lr: 1\n  lr: 1", 3, "key 'lr' again, first on line 2"),
        ("x: [1", 1, "expected ',' or ']'"),
        ("\nx: !!python/object/apply:os.system [echo]", 2, "tag '!!python/object/apply:os.system' is not read"),
        ("x: !mine 1", 1, "tag '!mine' is not read"),
        ("x: !!map [1]", 1, "tag '!!map' is not read"),
        ("x: !!int yes", 1, "'yes' is no int"),
        ("x: *a", 1, "*'a' stands for nothing above it"),
        ("x: &a [*a]", 1, "*'a' stands for nothing above it"),
        ("? [a]\n: 1", 1, "a key must be a word"),
        ("a: 1\n---\nb: 1", 2, "a second document begins"),
        ("a: {<<: 3}", 1, "<<: takes a mapping"),
        ("a: 1\nb: \x00", 2, "character U+0000 is not allowed"),
    ],
)
def test_a_fault_is_said_with_its_line(text, line, says):
    with pytest.raises(YAMLProblem) as caught:
        read(text)
    assert (caught.value.line, str(caught.value)[: len(says)]) == (line, says)


HOSTILE = {
    "billion laughs": "a0: &a0 [x, x]\n" + "".join(f"a{i}: &a{i} [{f'*a{i - 1},' * 9}]\n" for i in range(1, 40)),
    "merges": "a: &a {" + ",".join(f"k{i}: 1" for i in range(5000)) + "}\nb: {<<: [" + "*a," * 1000 + "]}",
    "doubling merges": "a0: &a0 {x: 1}\n"
    + "".join(f"a{i}: &a{i} {{<<: [*a{i - 1}, *a{i - 1}]}}\n" for i in range(1, 60)),
    "deep lists": "[" * 100_000,
    "deep mappings": "{a: " * 50_000,
    "deep blocks": "\n".join(" " * i + "a:" for i in range(700)),
    "deep dashes": "- " * 100_000,
    "questions": "? " * 100_000,
    "values": "a, " * 80_000,
    "list": "[" + "a, " * 80_000 + "]",
    "anchors": "".join(f"- &a{i} x\n" for i in range(20_000)),
    "digits": "x: " + "9" * 5_000,
    "more digits": "x: " + "9" * 200_000,
    "decimals": "x: 1." + "9" * 200_000,
    "hexadecimal": "x: 0x" + "f" * 200_000,
    "tag": "x: !" + "a" * 200_000 + " 1",
    "handle": "x: !" + "a" * 100_000 + "! 1",
    "alias": "x: *" + "a" * 200_000,
    "colons": "a:" * 100_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_what_would_take_long_or_much_is_refused_at_once(name):
    begin = time.perf_counter()
    if name == "values":  # one long word
        assert read(HOSTILE[name]) == HOSTILE[name].strip()
        return
    with pytest.raises(YAMLProblem) as caught:
        read(HOSTILE[name])
    assert len(str(caught.value)) < 200 and time.perf_counter() - begin < 10


plain = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**30), 10**30) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=10,
)


@settings(deadline=None)
@given(plain)
def test_what_is_dumped_reads_back_here_and_elsewhere(value):
    text = yaml.dump(value, Dumper=Dumper)
    assert read(text) == value == yaml.safe_load(text)


@pytest.mark.parametrize(
    "word", ["yes", "on", "010", "0o10", "1e4", "1E-4", "1:30", "None", "null", "~", "", "2001-01-01"]
)
def test_words_that_either_version_takes_for_something_else_are_quoted(word):
    assert read(yaml.dump({"x": word}, Dumper=Dumper)) == {"x": word}
    assert yaml.safe_load(yaml.dump({"x": word}, Dumper=Dumper)) == {"x": word}
    if word != "None":
        assert word in ("",) or f"'{word}'" in yaml.dump(word, Dumper=Dumper)


@settings(deadline=None)
@given(st.text("01o:.eE+-_xyn~fNul[]{}&*!#?,'\"\n \t<%@", max_size=20))
def test_any_text_is_a_value_or_a_problem(text):
    try:
        read(text)
    except YAMLProblem as problem:
        assert str(problem)


def test_no_word_is_of_two_kinds_but_an_int_that_is_a_float():
    for text in MEANINGS:
        kinds = [kind for kind, form in CORE.items() if form.fullmatch(text)]
        assert kinds in ([], ["int", "float"]) or len(kinds) == 1
