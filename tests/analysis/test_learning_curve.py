"""Learning curve: power laws against exact data and SciPy, intervals against simulated truth."""

import numpy as np
import pandas as pd
import pytest
from predictions import simulated
from scipy.optimize import least_squares

from cardiov.analysis.learning_curve import boundaries, curve_draws, curve_points, fit_power_law, fitted_law, forecast
from cardiov.analysis.metrics import metrics
from cardiov.analysis.resampling import bootstrap_seeds
from cardiov.errors import ParameterError

SIZES = np.array([293, 585, 1170, 2341])
WHOLE = 17441


def noisy(n, a, b, c, seed, spread=0.05, count=()):
    return (a + b * SIZES**-c) * np.exp(spread * np.random.default_rng(seed).normal(size=(*count, n)))


@pytest.mark.parametrize(("a", "b", "c"), [(0.1, 2, 0.3), (0, 0.8, 0.17), (0.45, 30, 0.9), (0.02, 0.5, 0.08)])
def test_exact_data_give_their_parameters_back(a, b, c):
    assert fit_power_law(SIZES, a + b * SIZES**-c) == pytest.approx((a, b, c), rel=1e-4, abs=1e-5)
    if not a:
        assert fit_power_law(SIZES, b * SIZES**-c, floor=False) == pytest.approx((0, b, c), rel=1e-6)


@pytest.mark.parametrize("floor", [True, False])
def test_no_fit_of_scipy_is_better(floor):
    """From many starting values, of the same relative deviations; SciPy's own search ends in local minima at times."""
    for seed in range(8):
        error = noisy(4, 0.1, 2, 0.3, seed)
        a, b, c = fit_power_law(SIZES, error, floor)
        deviations = ((a + b * SIZES**-c) / error - 1) ** 2
        bounds = ([0, 0, 0.001], [np.inf if floor else 1e-9, np.inf, 1])
        start = [[1e-10, error[0] * SIZES[0] ** power, power] for power in (0.1, 0.3, 0.6, 0.9)]
        fits = [least_squares(lambda p: (p[0] + p[1] * SIZES ** -p[2]) / error - 1, x0, bounds=bounds, x_scale="jac",
                              ftol=1e-14, xtol=1e-14, gtol=1e-14) for x0 in start]  # fmt: skip
        best = min(fits, key=lambda fit: fit.cost)
        assert deviations.sum() <= 2 * best.cost * (1 + 1e-6) + 1e-12
        if floor and 0.01 < best.x[2] < 0.99 and best.x[0] > 0.01:
            assert a + b * WHOLE**-c == pytest.approx(best.x[0] + best.x[1] * WHOLE ** -best.x[2], rel=0.01)


def test_many_curves_at_once_are_the_single_ones():
    errors = noisy(4, 0.1, 2, 0.3, 0, count=(5, 2))
    at_once = np.array(fit_power_law(SIZES, errors))
    assert at_once.shape == (3, 5, 2)
    assert at_once[:, 3, 1].tolist() == list(fit_power_law(SIZES, errors[3, 1]))


def test_laws_fall_and_stay_above_their_floor():
    for seed in range(20):
        for floor in (True, False):
            a, b, c = fit_power_law(SIZES, noisy(4, 0, 0.4, 0.05, seed, spread=0.2), floor)
            curve = a + b * np.geomspace(100, 1e6, 50) ** -c
            assert (np.diff(curve) <= 0).all() and (curve >= a).all() and min(a, b) >= 0 and 0 < c <= 1
    a, b, _ = fit_power_law(SIZES, [0.2, 0.21, 0.22, 0.23])  # rising
    assert (a, b) == (pytest.approx(0.2144, abs=0.001), 0)


def test_what_cannot_be_fitted():
    with pytest.raises(ParameterError, match="through 2 sizes fits anything: give three"):
        fit_power_law([100, 200, 200], [0.5, 0.4, 0.4])
    assert np.isnan(fit_power_law(SIZES, [0.3, np.nan, 0.2, 0.1])).all()
    assert np.isnan(fit_power_law(SIZES, [[0.3, 0.2, 0.1, 0], [0.4, 0.3, 0.2, 0.1]])).tolist() == [[True, False]] * 3


def test_fits_on_a_boundary_are_marked():
    straight = 0.3 - 0.02 * np.log(SIZES)  # falls by the same amount at each doubling: no floor yet

    def law(error, floor=True):
        return fitted_law(pd.DataFrame([error, 0.3 + SIZES**-0.3, straight], columns=SIZES), "mae", floor)

    inside = law(0.1 + 2 * SIZES**-0.3)
    assert not inside["on_boundary"].any() and boundaries(inside) == ""
    assert inside["share_on_boundary"].tolist() == [0.5, 0, 0]  # of two resamples
    assert boundaries(law(straight)) == "a = 0" and boundaries(law(straight, floor=False)) == ""
    assert boundaries(law(0.1 + 3e4 * SIZES**-2.0)) == "c = 1"  # steeper than any that is allowed
    assert boundaries(law(0.2 + 1e-5 * SIZES)) == "b = 0, c = 0.001"


# Forecasts


def covered(a, b, c, floor, trials=150):
    """Share of simulated studies whose interval at WHOLE holds the truth: common and own noise at each size."""
    rng, hits = np.random.default_rng(0), 0
    for _ in range(trials):
        deviation = 0.06 * rng.normal() + 0.03 * rng.normal(size=4)
        redrawn = 0.06 * rng.normal(size=(100, 1)) + 0.03 * rng.normal(size=(100, 4))
        draws = pd.DataFrame((a + b * SIZES**-c) * np.exp(np.vstack([deviation, deviation + redrawn])), columns=SIZES)
        low, high = forecast(draws, "mae", [WHOLE], floor).loc[WHOLE, ["low", "high"]]
        hits += low <= a + b * WHOLE**-c <= high
    return hits / trials


def test_intervals_of_a_law_with_a_floor_cover_with_and_without_one():
    """In 1,200 such studies with 300 redraws: 94 and 88 of 100."""
    assert 0.88 <= covered(0.1, 0.1 * 2341**0.4, 0.4, floor=True) < 1
    assert 0.8 <= covered(0, 0.2 * 2341**0.2, 0.2, floor=True) < 1


def test_intervals_of_a_law_without_a_floor_cover_only_where_there_is_none():
    """In 1,200 such studies: 95 and 49 of 100."""
    assert 0.9 <= covered(0, 0.2 * 2341**0.2, 0.2, floor=False) < 1
    assert covered(0.1, 0.1 * 2341**0.4, 0.4, floor=False) < 0.65


@pytest.fixture(scope="module")
def recipes():
    """Runs of two seeds whose noise falls with the number of training records."""
    return {n: {k: simulated(2 * k + 1, noise=noise) for k in range(2)} for n, noise in
            zip(SIZES[::-1].tolist(), (0.6, 0.9, 1.3, 2.0), strict=True)}  # fmt: skip


@pytest.fixture(scope="module")
def draws(recipes):
    return curve_draws(recipes, resamples=60)


def test_draws_hold_the_means_over_seeds_from_the_smallest_size(recipes, draws):
    assert list(draws) == ["auc_mean", "mae"]
    for statistic, table in draws.items():
        assert table.columns.tolist() == SIZES.tolist() and len(table) == 61
        expected = [np.mean([metrics(run)[statistic] for run in recipes[n].values()]) for n in SIZES]
        assert table.loc[0].tolist() == pytest.approx(expected)
        low = bootstrap_seeds(recipes[293], resamples=60).loc[statistic, "low"]  # the first drawn, so the same draws
        assert table[293][1:].quantile(0.025) == pytest.approx(low)


def test_patients_are_drawn_for_all_sizes_alike(recipes):
    same = curve_draws({n: {0: recipes[293][0]} for n in SIZES}, resamples=20)["mae"]
    assert (same.nunique(axis=1) == 1).all() and same[293].nunique() > 10


def test_forecasts_are_of_the_statistic_itself(draws):
    for statistic, sign in (("auc_mean", 1), ("mae", -1)):
        law = fitted_law(draws[statistic], statistic)
        assert law.index.tolist() == ["a", "b", "c"] and (law["low"] <= law["high"]).all()
        a, b, c = law["estimate"]
        ahead = forecast(draws[statistic], statistic, [2341, WHOLE])
        error = 1 - ahead["estimate"] if statistic == "auc_mean" else ahead["estimate"]
        assert error.tolist() == pytest.approx([a + b * n**-c for n in (2341, WHOLE)])
        assert sign * ahead["estimate"].diff()[WHOLE] > 0
        assert (ahead["low"] <= ahead["high"]).all()


def test_points_of_the_figure_join_at_the_largest_size(recipes, draws):
    points = curve_points(recipes, draws, WHOLE)
    assert points["kind"].unique().tolist() == ["run", "mean", "fit", "forecast", "forecast without a floor"]
    mae = points[points["statistic"] == "mae"].set_index("kind")
    assert len(mae.loc["run"]) == 8 and mae.loc["run", ["low", "high"]].isna().all(axis=None)
    first = mae.loc["run"].iloc[0]
    assert first["records"] == 293 and first["estimate"] == pytest.approx(metrics(recipes[293][0])["mae"])
    fit, beyond = mae.loc["fit"], mae.loc["forecast"]
    assert fit["records"].agg(["min", "max"]).tolist() == [293, 2341]
    assert beyond["records"].agg(["min", "max"]).tolist() == [2341, WHOLE]
    assert set(fit["boundaries"]) == {boundaries(fitted_law(draws["mae"], "mae"))} and beyond["boundaries"].isna().all()
    assert fit.iloc[-1]["estimate"] == beyond.iloc[0]["estimate"]
