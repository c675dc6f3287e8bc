import pytest

from jaxgpt.lab.number_format import count, scientific, short


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.25, "0.25"),
        (7, "7"),
        (999.9, "1k"),
        (49152, "49.2k"),
        (1.81e6, "1.81M"),
        (7e9, "7B"),
        (2e13, "20T"),
        (3e18, "3.00×10¹⁸"),
    ],
)
def test_sizes_are_short(value, text):
    assert short(value) == text


def test_what_is_not_finite_is_a_dash():
    assert count(float("nan")) == scientific(float("nan")) == short(float("nan")) == "–"
    assert (count(230400.0), scientific(1.236e12), scientific(0.0)) == ("230,400", "1.24×10¹²", "–")
