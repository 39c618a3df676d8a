"""Learning curve: how the error falls with the number of training records, and what that would make of more of them.

Errors of networks that are trained alike on n records are often close to a power law, error = a + b n^-c (Hestness et al.
2017, Deep Learning Scaling is Predictable, Empirically, arXiv:1712.00409). The floor a stands for what no number of records
takes away, such as wrong labels; without a ``floor`` a is 0. Beyond the largest number of records a law is a forecast:
learning curves have been seen to bend without a warning (Viering & Loog 2021, The Shape of Learning Curves: a Review,
arXiv:2103.10948).

``recipes`` are runs (`cardiov.analysis.resampling`) by number of training records; ``draws`` are those of one
``statistic``, a key of `ERRORS`, from `curve_draws`. Fewer than three sizes are a ParameterError.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cardiov.analysis.metrics import metrics
from cardiov.analysis.resampling import Runs, intervals, seed_draws
from cardiov.errors import ParameterError

# statistic -> error that falls to 0 at best; the same function leads back
ERRORS = {"auc_mean": lambda value: 1 - value, "mae": lambda value: value}
EXPONENTS = (0.001, 1)  # 1 / n is the fast rate of learning theory; a steeper fit is one of noise
_GRID, _ZOOMS = 101, 12  # exponents tried at first; how often the search narrows around the best of them, fivefold


def fit_power_law(n: Sequence[float], error: np.ndarray, floor: bool = True) -> tuple:
    """a, b and c, (...), of error = a + b n^-c with a >= 0, b >= 0 and c from 0 to 1: least squares of relative deviations.

    ``n`` are K numbers of training records; ``error`` is (..., K), and a fit is NaN if one is not positive. For each exponent
    a and b follow from linear least squares (Golub & Pereyra 1973), so only the exponent is searched, on a grid that narrows.

    Examples
    --------
    >>> n = np.array([250, 500, 1000, 2000])
    >>> a, b, c = fit_power_law(n, 0.1 + 2 * n**-0.3)
    >>> print(f"{a:.3f} {b:.3f} {c:.3f}")
    0.100 2.000 0.300
    """
    n, error = np.asarray(n, dtype=float), np.asarray(error, dtype=float)
    if len(np.unique(n)) < 3:
        raise ParameterError(f"a power law through {len(np.unique(n))} sizes fits anything: give three or more.")
    middle = np.exp(np.log(n).mean())  # the unit of n, so that a and b are of like size
    target = np.where(error > 0, error, np.nan)[..., None, :]  # (..., 1, K)
    best = _best_exponents(n / middle, target, floor)
    a, b, loss = _linear_fit((n / middle) ** -best[..., None], target, floor)
    c = np.where(np.isnan(loss), np.nan, best)
    return tuple(parameter[..., 0][()] for parameter in (a, b * middle**c, c))


def _best_exponents(n, error, floor):
    """The exponent that fits best, (..., 1), of errors (..., 1, K)."""
    low, high = EXPONENTS
    c, step = np.linspace(low, high, _GRID), (high - low) / (_GRID - 1)
    for _ in range(_ZOOMS):
        _, _, loss = _linear_fit(n ** -c[..., None], error, floor)
        best = np.take_along_axis(np.broadcast_to(c, loss.shape), loss.argmin(axis=-1)[..., None], axis=-1)
        c, step = np.clip(best + step * np.linspace(-1, 1, 11), low, high), step / 5
    return best


def _linear_fit(x, error, floor):
    """a, b >= 0 that minimise the relative squares of a + b x - error, and these, for x (..., G, K): (..., G) each."""
    u, v = 1 / error + 0 * x, x / error  # a u + b v is to be 1
    uu, uv, vv, u1, v1 = (product.sum(-1) for product in (u * u, u * v, v * v, u, v))
    determinant = uu * vv - uv**2
    a, b = (u1 * vv - v1 * uv) / determinant, (v1 * uu - u1 * uv) / determinant
    a, b = np.where(b < 0, u1 / uu, a), np.where(b < 0, 0, b)  # the best on the edge that was crossed
    zero = (a < 0) | (not floor)
    a, b = np.where(zero, 0, a), np.where(zero, v1 / vv, b)
    return a, b, ((a[..., None] * u + b[..., None] * v - 1) ** 2).sum(-1)


def curve_draws(recipes: Mapping[int, Runs], resamples: int = 1000, seed: int = 0) -> dict[str, pd.DataFrame]:
    """For each statistic of `ERRORS`, its mean over the seeds: a column per size, from the smallest.

    Rows are those of `cardiov.analysis.resampling.seed_draws`: patients are drawn for all sizes alike, since what makes a
    test patient hard does so at every size, and so are runs, for sizes that have the same seeds.
    """
    sizes = sorted(recipes)
    draws = seed_draws([recipes[n] for n in sizes], metrics, resamples, seed)
    return {name: pd.DataFrame({n: table[name] for n, table in zip(sizes, draws, strict=True)}) for name in ERRORS}


def fitted_law(draws: pd.DataFrame, statistic: str, floor: bool = True) -> pd.DataFrame:
    """``estimate``, ``low`` and ``high`` of a, b and c of `fit_power_law`, indexed by ``parameter``.

    ``on_boundary``: the estimate lies at an end of what the fit allows, so that the data do not determine it;
    ``share_on_boundary``: of all resamples. The a of a law without a floor is given, and not on a boundary.
    """
    fits = pd.DataFrame(dict(zip("abc", fit_power_law(draws.columns, ERRORS[statistic](draws), floor), strict=True)))
    edges = fits.eq(0).assign(c=np.isclose(fits["c"].to_numpy()[:, None], EXPONENTS).any(axis=1))
    edges["a"] &= floor
    return intervals(fits, ["parameter"]).assign(on_boundary=edges.iloc[0], share_on_boundary=edges[1:].mean())


def boundaries(law: pd.DataFrame) -> str:
    """Which parameters of a `fitted_law` lie on a boundary, such as "a = 0"; "" if none does."""
    return ", ".join(f"{name} = {value:.3g}" for name, value in law.loc[law["on_boundary"], "estimate"].items())


def forecast(draws: pd.DataFrame, statistic: str, n: Sequence[float], floor: bool = True) -> pd.DataFrame:
    """``estimate``, ``low`` and ``high`` of the statistic after n training ``records``: each resample has its own law.

    Intervals hold only if the law goes on. At seven times the largest size, with noise like that of a few hundred test
    records, they hold the truth in 87 to 94 of 100 simulated studies with the floor fitted, whether it exists or not;
    without it in 95 if it does not exist, but in as few as 49 if it does.
    """
    a, b, c = np.array(fit_power_law(draws.columns, ERRORS[statistic](draws), floor))[..., None]  # (1 + R, 1) each
    return intervals(pd.DataFrame(ERRORS[statistic](a + b * np.asarray(n, dtype=float) ** -c), columns=n), ["records"])


def curve_points(recipes: Mapping[int, Runs], draws: Mapping[str, pd.DataFrame], whole: int) -> pd.DataFrame:
    """What a learning curve's figure shows; the laws, by statistic, are continued up to ``whole`` training records.

    The columns are ``statistic``; ``kind``: "run" (one seed), "mean" (over the seeds), "fit" up to the largest size, "forecast"
    from there on and "forecast without a floor"; ``records``; ``estimate`` with ``low`` and ``high``; and, of a "fit", its
    `boundaries`.
    """
    largest = max(recipes)
    inside, beyond = np.geomspace(min(recipes), largest, 25).round(), np.geomspace(largest, whole, 25).round()
    runs = pd.DataFrame([metrics(run).rename(n) for n, seeds in sorted(recipes.items()) for run in seeds.values()])
    tables = {}
    for name, drawn in draws.items():
        tables[name, "run"] = runs[[name]].set_axis(["estimate"], axis=1)
        tables[name, "mean"] = intervals(drawn)
        tables[name, "fit"] = forecast(drawn, name, inside).assign(boundaries=boundaries(fitted_law(drawn, name)))
        tables[name, "forecast"] = forecast(drawn, name, beyond)
        tables[name, "forecast without a floor"] = forecast(drawn, name, beyond, floor=False)
    return pd.concat(tables, names=["statistic", "kind", "records"]).reset_index()
