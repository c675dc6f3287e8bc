"""The comparison itself: what it lets pass, what it does not, and what it says."""

import jax.numpy as jnp
import numpy as np
import pytest
from close import assert_close, difference, largest

WANT = np.array([[1.0, -40.0, 0.001], [0.0, 3.0, 2.0]])


def moved(by, at=(0, 2)):
    got = WANT.copy()
    got[at] += by
    return got


def test_the_share_is_of_the_largest_value():
    for at in np.ndindex(WANT.shape):
        assert_close(moved(39e-5, at), WANT)
        with pytest.raises(
            AssertionError, match=r"off by 0\.0005, which is 1\.25e-05 of the largest value 40; allowed: 1e-05"
        ):
            assert_close(moved(50e-5, at), WANT)
    assert_close(1e9 * moved(39e-5), 1e9 * WANT)
    assert_close(1e-9 * moved(39e-5), 1e-9 * WANT)
    assert difference(moved(0.4), WANT) == pytest.approx(0.01)


def test_the_place_is_named_in_an_array_and_in_a_tree():
    with pytest.raises(AssertionError, match=r"^\[0, 2\]: 1.001, expected 0.001; off by 1"):
        assert_close(moved(1), WANT)
    with pytest.raises(AssertionError, match=r"^value: 2, expected 1; off by 1"):
        assert_close(2.0, 1.0)
    with pytest.raises(AssertionError, match=r"^\['b'\]\[1\]\[0, 2\]: 1.001"):
        assert_close({"a": WANT, "b": (1.0, moved(1))}, {"a": WANT, "b": (1.0, WANT)})


def test_each_array_of_a_tree_has_its_own_scale_unless_one_is_given():
    got, want = {"large": WANT, "small": np.full(3, 1e-4)}, {"large": WANT, "small": np.full(3, 2e-4)}
    with pytest.raises(AssertionError, match=r"\['small'\]"):
        assert_close(got, want)
    assert largest(want) == 40
    assert_close(got, want, scale=largest(want))
    with pytest.raises(AssertionError, match="2e-05 of the scale 5; allowed"):
        assert_close(got, want, scale=5)


def test_zeros_want_zeros_or_a_scale():
    zeros = np.zeros(3)
    assert_close(zeros, zeros)
    with pytest.raises(AssertionError, match="nothing but zeros is wanted and no scale is given"):
        assert_close(zeros + 1e-30, zeros)
    assert_close(zeros + 1e-6, zeros, scale=1.0)
    with pytest.raises(AssertionError, match="of the scale 1; allowed: 1e-05"):
        assert_close(zeros + 1e-4, zeros, scale=1.0)


@pytest.mark.parametrize("got", [np.nan, np.inf, -np.inf, 1.0])
@pytest.mark.parametrize("want", [np.nan, np.inf, -np.inf, 1.0])
def test_what_is_not_finite_must_be_the_same(got, want):
    if str(got) == str(want):
        return assert_close(np.array([got, 2.0]), np.array([want, 2.0]))
    with pytest.raises(AssertionError, match=r"^\[0\]: "):
        assert_close(np.array([got, 2.0]), np.array([want, 2.0]), share=1e9)


def test_structures_and_shapes_must_agree():
    with pytest.raises(AssertionError, match="structures differ"):
        assert_close({"a": WANT}, {"b": WANT})
    with pytest.raises(AssertionError, match="structures differ"):
        assert_close([WANT], [WANT, WANT])
    with pytest.raises(AssertionError, match=r"\[0\]: shape \(3,\), expected \(2, 3\)"):
        assert_close([WANT[0]], [WANT])
    assert_close(np.zeros((0, 3)), np.zeros((0, 3)))


def test_a_list_of_numbers_is_an_array():
    assert_close(WANT, WANT.tolist())
    assert_close(moved(39e-5).tolist(), WANT)
    with pytest.raises(AssertionError, match=r"^\[0, 2\]: "):
        assert_close(moved(1).tolist(), WANT.tolist())
    with pytest.raises(AssertionError, match="structures differ"):
        assert_close([jnp.float32(1.0), 2.0], np.array([1.0, 2.0]))


def test_narrow_and_complex_numbers_are_compared_in_full():
    assert_close(jnp.bfloat16(WANT), WANT, share=2**-8)
    assert_close(jnp.asarray(WANT, jnp.float16), WANT, share=2**-11)
    with pytest.raises(AssertionError):
        assert_close(WANT + 1e-3j, WANT)
    assert_close(np.array([2**24, 1]), np.array([2**24, 1]), share=0)
