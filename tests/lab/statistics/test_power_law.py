import math

import numpy as np
import pytest
from close import assert_close

from jaxgpt.lab.statistics.power_law import fit
from jaxgpt.spec import JaxgptError

SIZES = np.array([1e5, 3e5, 1e6, 3e6, 1e7])
RNG = np.random.default_rng(0)


def noisy(e, a, b, sd=0.003, seeds=6):
    return (e + a * SIZES**-b) * np.exp(RNG.normal(0, sd, size=(seeds, len(SIZES))))


def test_recovers_a_power_law():
    law = fit(SIZES, [9.0 * SIZES**-0.076, 9.0 * SIZES**-0.076])
    assert law.exponent.mean == pytest.approx(0.076, rel=1e-9)
    assert law.a == pytest.approx(9.0, rel=1e-9)
    assert law.irreducible is None
    assert_close(np.array(law.residuals), np.zeros_like(law.residuals), 1e-12, scale=1.0)
    assert law.predict(1e9).mean == pytest.approx(9.0 * 1e9**-0.076, rel=1e-9)


@pytest.mark.parametrize("e", [0.3, 1.69, 2.5])
@pytest.mark.parametrize("sizes", [4, 5])
def test_recovers_an_irreducible_loss(e, sizes):
    law = fit(SIZES[:sizes], (e + 406.4 * SIZES[None, :sizes] ** -0.34), irreducible=True)
    assert law.irreducible is not None
    assert (law.irreducible.mean, law.a, law.exponent.mean) == pytest.approx((e, 406.4, 0.34), rel=1e-5)


def test_without_an_irreducible_loss_none_is_found():
    law = fit(SIZES, 9.0 * SIZES[None] ** -0.3, irreducible=True)
    assert law.irreducible is not None
    assert_close(law.irreducible.mean, 0.0, 1e-4, scale=1.0)


def test_ignoring_an_irreducible_loss_bends_the_residuals():
    bent = np.array(fit(SIZES, 1.69 + 406.4 * SIZES[None] ** -0.34).residuals[0])
    assert bent[0] > 0 > bent[2] and bent[-1] > 0


def test_interval_covers_the_exponent_in_95_percent_of_simulations():
    laws = [fit(SIZES, noisy(0, 9, 0.076)) for _ in range(1000)]
    covered = np.mean([law.exponent.low <= 0.076 <= law.exponent.high for law in laws])
    assert abs(covered - 0.95) <= 3 * math.sqrt(0.95 * 0.05 / 1000)


def test_band_covers_the_curve_in_95_percent_of_simulations():
    truth = 9 * 1e8**-0.076
    bands = [fit(SIZES, noisy(0, 9, 0.076)).predict(1e8) for _ in range(1000)]
    assert abs(np.mean([band.low <= truth <= band.high for band in bands]) - 0.95) <= 3 * math.sqrt(0.95 * 0.05 / 1000)


def test_band_widens_outside_the_sizes():
    law = fit(SIZES, noisy(0, 9, 0.076))
    assert law.predict(1e6).half < law.predict(1e8).half < law.predict(1e10).half


def test_a_unit_of_size_changes_the_scale_alone():
    losses = noisy(1.69, 406.4, 0.34)
    ours, thousands = fit(SIZES, losses, irreducible=True), fit(SIZES / 1e3, losses, irreducible=True)
    assert thousands.exponent.mean == pytest.approx(ours.exponent.mean, rel=1e-4)
    assert thousands.predict(1e4).mean == pytest.approx(ours.predict(1e7).mean, rel=1e-6)


def test_one_seed_has_no_interval():
    law = fit(SIZES, noisy(0, 9, 0.076, seeds=1))
    assert math.isnan(law.exponent.half) and math.isnan(law.predict(1e6).half)


@pytest.mark.parametrize(
    ("x", "y", "irreducible", "said"),
    [
        ([1, 2], [3.0, 2.0], False, "y_by_seed: shape"),
        ([1, 2, 3], [[3.0, 2.0]], False, "y_by_seed: shape"),
        ([1, 1], [[3.0, 2.0]], False, "x: 1 distinct sizes; expected 2"),
        ([1, 2, 3], [[3.0, 2.0, 1.0]], True, "x: 3 distinct sizes; expected 4"),
        ([0, 2], [[3.0, 2.0]], False, "x: 0.0; expected finite and above 0"),
        ([1, 2], [[3.0, math.nan]], False, "y_by_seed: nan; .*diverged"),
    ],
)
def test_bad_input_is_one_line(x, y, irreducible, said):
    with pytest.raises(JaxgptError, match=said):
        fit(x, y, irreducible)
