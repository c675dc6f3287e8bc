import pytest

from jaxgpt.spec.errors import quote

HOSTILE = {
    "integer": 10**5000,
    "negative": -(10**5000),
    "string": "x" * 10**6,
    "control": "a\nb\x1b[31m\x07",
    "mapping": {"k": "v" * 1000},
    "list": [10**5000] * 9,
    "bytes": b"\0" * 10**6,
    "direction": "\u202e",
}


@pytest.mark.parametrize("value", HOSTILE.values(), ids=HOSTILE)
def test_a_quoted_value_is_short_and_printable(value):
    text = quote(value)
    assert 0 < len(text) <= 60 and text.isprintable()


def test_what_is_short_is_quoted_whole():
    assert [quote(value) for value in ("né", 1.5, None, [1, "a"], 10**9)] == [
        "'né'",
        "1.5",
        "None",
        "[1, 'a']",
        str(10**9),
    ]
