from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scipy import stats

from codenoise.analysis import pool
from codenoise.core.base.errors import DataError


def test_rubins_rules_on_numbers_worked_by_hand() -> None:
    # within = 0.25, between = 0.01, total = 0.25 + 4/3 * 0.01
    pooled = pool([1.9, 2.1, 2.0], [0.5, 0.5, 0.5])
    assert pooled.estimate == pytest.approx(2.0)
    assert pooled.standard_error == pytest.approx(np.sqrt(0.25 + 4 / 300))
    share = (4 / 300) / (0.25 + 4 / 300)
    assert pooled.dof == pytest.approx(2 / share**2)
    assert pooled.p_values() == pytest.approx(
        2 * stats.t.sf(2 / np.sqrt(0.25 + 4 / 300), 2 / share**2)
    )


def test_equal_tables_give_what_one_complete_table_would() -> None:
    pooled = pool([[1.0, -2.0]] * 5, [[0.5, 0.25]] * 5, complete_dof=20)
    np.testing.assert_allclose(pooled.standard_error, [0.5, 0.25])
    np.testing.assert_allclose(pooled.fraction_missing, 0)
    # Barnard & Rubin keep a little off the complete degrees of freedom, 21/23 of them.
    np.testing.assert_allclose(pooled.dof, 20 * 21 / 23)


def test_degrees_of_freedom_never_exceed_those_of_complete_data() -> None:
    rng = np.random.default_rng(0)
    pooled = pool(rng.normal(size=(4, 1000)), rng.uniform(0.01, 3, (4, 1000)), complete_dof=30)
    assert pooled.dof.max() < 30
    assert ((pooled.fraction_missing >= 0) & (pooled.fraction_missing <= 1)).all()


def test_pooling_agrees_with_statsmodels() -> None:
    import pandas as pd
    from statsmodels.imputation.mice import MICE, MICEData  # an independent implementation
    from statsmodels.regression.linear_model import OLS

    rng = np.random.default_rng(0)
    x = rng.normal(size=60)
    y = 2 * x + rng.normal(size=60)
    frame = pd.DataFrame({"x": x, "y": y})
    frame.loc[::4, "x"] = np.nan
    np.random.seed(0)  # noqa: NPY002 (the library draws from the global generator)
    model = MICE("y ~ x", OLS, MICEData(frame))
    combined = model.fit(n_burnin=2, n_imputations=6)
    estimates = np.array([one.params for one in model.results_list])
    errors = np.array([one.bse for one in model.results_list])
    pooled = pool(estimates, errors)
    np.testing.assert_allclose(pooled.estimate, combined.params, rtol=1e-10)
    np.testing.assert_allclose(pooled.standard_error, combined.bse, rtol=1e-10)


def test_intervals_of_pooled_means_hold_the_truth_as_often_as_promised() -> None:
    # 30 of 60 values are missing and drawn from the posterior predictive of a normal sample: 95%
    # intervals from single imputation hold the mean far too rarely, pooled ones as promised.
    rng = np.random.default_rng(1)
    runs, n, known, tables = 2000, 60, 30, 20
    seen = rng.normal(size=(runs, known))
    mean, variance = seen.mean(axis=1), seen.var(axis=1, ddof=1)
    shape = (tables, runs)
    sigma2 = (known - 1) * variance / rng.chisquare(known - 1, shape)
    mu = mean + rng.normal(size=shape) * np.sqrt(sigma2 / known)
    drawn = mu[..., None] + rng.normal(size=(*shape, n - known)) * np.sqrt(sigma2)[..., None]
    whole = np.concatenate([np.broadcast_to(seen, (tables, runs, known)), drawn], axis=2)
    estimates, errors = whole.mean(axis=2), whole.std(axis=2, ddof=1) / np.sqrt(n)
    pooled = pool(estimates, errors, complete_dof=n - 1)
    low, high = pooled.interval()
    assert np.mean((low <= 0) & (high >= 0)) == pytest.approx(0.95, abs=0.015)
    assert np.mean(pooled.fraction_missing) == pytest.approx(0.5, abs=0.08)
    half = stats.t.ppf(0.975, n - 1) * errors[0]
    assert np.mean(np.abs(estimates[0]) <= half) < 0.85


@example([(0.0, 1.0), (5.6e-75, 796.0)], 1.0, 0.0)
@given(
    st.lists(st.tuples(st.floats(-1e6, 1e6), st.floats(1e-3, 1e3)), min_size=2, max_size=20),
    st.floats(0.1, 100),
    st.floats(-1e3, 1e3),
)
def test_units_and_origin_do_not_matter(
    of_tables: list[tuple[float, float]], scale: float, shift: float
) -> None:
    values, errors = (np.array(column) for column in zip(*of_tables, strict=True))
    one, other = pool(values, errors), pool(scale * values + shift, scale * errors)
    np.testing.assert_allclose(
        other.estimate, scale * one.estimate + shift, rtol=1e-6, atol=1e-6 * scale * 1e6
    )
    np.testing.assert_allclose(other.standard_error, scale * one.standard_error, rtol=1e-3)


def test_a_table_of_results_has_a_row_for_each_quantity() -> None:
    shown = pool([[1.0, 0.0], [3.0, 0.0]], [[0.1, 1.0], [0.1, 1.0]]).table(["a", "b"])
    assert list(shown.index) == ["a", "b"]
    assert shown.loc["a", "estimate"] == 2
    assert shown.loc["a", "low"] < 2 < shown.loc["a", "high"]
    assert shown.loc["b", "p"] == 1


@pytest.mark.parametrize(
    ("estimates", "errors", "message"),
    [
        ([1.0], [0.1], "at least 2 completed tables, not 1"),
        ([1.0, 2.0], [0.1], r"shape \(2,\) and standard errors \(1,\)"),
        ([1.0, np.nan], [0.1, 0.1], "estimate of table 2 is nan"),
        ([1.0, 2.0], [0.1, np.inf], "standard error of table 2 is inf"),
        ([1.0, 2.0], [0.1, -0.1], "standard error of table 2 is -0.1"),
        (1.0, 0.1, "tables first"),
    ],
)
def test_what_cannot_be_pooled_is_refused_by_place(
    estimates: object, errors: object, message: str
) -> None:
    with pytest.raises(DataError, match=message):
        pool(estimates, errors)  # type: ignore[arg-type]
