from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from codenoise.core.base.errors import EnsembleError
from codenoise.core.ensemble.engine import generate
from codenoise.core.ensemble.expert import Expert, Moments
from codenoise.core.ensemble.familiarity import familiarity
from codenoise.core.ensemble.settings import EngineSettings
from codenoise.core.ensemble.weights import (
    WEIGHTINGS,
    independent_product,
    inverse_mse,
    precision_gain,
    reliability_weights,
    softmax_inverse_mse,
    uniform,
)

ERRORS = st.lists(st.floats(0.05, 10), min_size=1, max_size=6)
Build = Callable[..., Expert]


@pytest.fixture
def three(gaussian_expert: Build) -> list[Expert]:
    """Experts from ``a``, ``b`` and ``c``."""
    return [gaussian_expert(np.eye(2), np.eye(2), condition=name) for name in "abc"]


def test_weights_of_the_reference_note() -> None:
    errors = [0.20, 0.40, 0.95]
    np.testing.assert_allclose(inverse_mse(errors), [0.585, 0.292, 0.123], atol=5e-4)
    np.testing.assert_allclose(softmax_inverse_mse(errors), [0.908, 0.075, 0.018], atol=6e-4)
    np.testing.assert_allclose(uniform(errors), [1 / 3] * 3)


def test_precision_gain_is_that_of_gaussians() -> None:
    # Residual variances .5 and .8 of a unit prior: precisions 2 and 1.25, gains 1 and .25.
    np.testing.assert_allclose(precision_gain([0.5, 0.2]), [0.8, 0.2])
    assert precision_gain([0.5, -0.3])[1] == pytest.approx(0.001001 / 1.001001, rel=1e-3)


@pytest.mark.parametrize("weighting", sorted(WEIGHTINGS))
@given(errors=ERRORS)
def test_weights_are_a_distribution_that_never_favours_the_worse(
    weighting: str, errors: list[float]
) -> None:
    base = Expert("x", ("a",), "t", ("",), "", (1,), 1, lambda x, *_: x, None, "v", 1.0)  # type: ignore[arg-type]
    experts = [replace(base, validation_mse=e, validation_r2=1 - e) for e in errors]
    weights = reliability_weights(EngineSettings(weighting), experts)
    assert weights.sum() == pytest.approx(1)
    assert (weights >= 0).all()
    assert (np.diff(weights[np.argsort(errors)]) <= 1e-12).all()


@pytest.mark.parametrize("errors", [[1.0, 0.0], [1.0, -1.0], [float("nan")], [float("inf")]])
def test_weights_of_impossible_errors_are_refused(errors: list[float]) -> None:
    with pytest.raises(EnsembleError, match="positive numbers"):
        inverse_mse(errors)


def test_unknown_weighting_names_the_known(three: list[Expert]) -> None:
    with pytest.raises(EnsembleError, match="'best' is unknown; known: adaptive, fixed, i"):
        reliability_weights(EngineSettings("best"), three)


def test_fixed_weights_are_scaled_to_one(three: list[Expert]) -> None:
    settings = EngineSettings("fixed", fixed={"a-to-x": 3, "b-to-x": 1, "c-to-x": 0})
    assert reliability_weights(settings, three).tolist() == [0.75, 0.25, 0]
    assert reliability_weights(settings, three[1:]).tolist() == [1, 0]


@pytest.mark.parametrize(
    ("fixed", "words"),
    [
        ({"a-to-x": 1.0, "b-to-x": 1.0}, "gives no weight for c-to-x@1; it has a-to-x, b-to-x"),
        ({"a-to-x": -1.0, "b-to-x": 1.0, "c-to-x": 1.0}, "must not be negative"),
        ({"a-to-x": 0.0, "b-to-x": 0.0, "c-to-x": 0.0}, "are zero; give one of them"),
    ],
)
def test_fixed_weights_that_make_no_sense_are_refused(
    three: list[Expert], fixed: dict[str, float], words: str
) -> None:
    with pytest.raises(EnsembleError, match=words):
        reliability_weights(EngineSettings("fixed", fixed=fixed), three)


def test_stacked_weights_have_to_be_learned_first(three: list[Expert]) -> None:
    table = {"a": pd.DataFrame(np.zeros((1, 2), np.float32), index=["p"])}
    with pytest.raises(EnsembleError, match="codenoise calibrate ENSEMBLE COHORT"):
        generate(three, table, ["p"], settings=EngineSettings("stacked"))


@given(st.lists(st.floats(0.01, 0.95), min_size=1, max_size=5), st.floats(0.001, 0.999))
def test_product_of_independent_conditions_has_the_joint_gaussian_score(
    r2: list[float], signal: float
) -> None:
    residual = 1 - np.array(r2)
    joint = 1 / (1 + np.sum(1 / residual - 1))
    marginal, together = (signal * v + 1 - signal for v in (residual, joint))
    shares = independent_product(r2, np.array([signal]))[0]
    # The score is linear in x and in each expert's mean; both slopes have to be the joint's.
    slope = np.sum(shares / marginal) + 1 - shares.sum()
    assert slope == pytest.approx(1 / together)
    np.testing.assert_allclose(shares / marginal, joint / residual / together)


def known(expert: Expert, mean: Sequence[float], spread: Sequence[float]) -> Expert:
    return replace(expert, moments=(Moments(np.array(mean), np.diag(spread)),))


def test_familiarity_is_one_inside_and_falls_with_the_square_of_the_distance(
    gaussian_expert: Build,
) -> None:
    expert = known(gaussian_expert(np.eye(2), np.eye(2)), [1.0, 0.0], [1.0, 2.0])
    limit = 9.210340  # 99% quantile of chi-squared with two degrees of freedom
    inputs = torch.tensor([[1.0, 0.0], [4.0, 0.0], [1.0, 12.0], [7.0, 0.0]])
    got = familiarity([expert], [inputs])[:, 0]
    np.testing.assert_allclose(got, [1, 1, limit / 36, limit / 36], rtol=1e-6)


def test_adaptive_weights_lean_on_the_expert_whose_condition_is_familiar(
    gaussian_expert: Build,
) -> None:
    up, down = (
        known(gaussian_expert(np.eye(2), 0.01 * np.eye(2), condition=name), [0, 0], [1, 1])
        for name in "ab"
    )
    tables = {
        name: pd.DataFrame(np.array(rows, np.float32), index=["near", "far"])
        for name, rows in (("a", [[1, 0], [100, 0]]), ("b", [[0, 0], [0, 0]]))
    }
    means = [
        generate(
            [up, down], tables, ["near", "far"], draws=200,
            settings=EngineSettings(weighting, max_incoherent_fraction=1.0),
        ).draws.mean(axis=1)[:, 0]
        for weighting in ("inverse-mse", "adaptive")
    ]  # fmt: skip
    assert means[0] == pytest.approx([0.5, 50], abs=0.05)
    # 100 away counts limit / 100^2 of what it would: the mean lies 100 * .00092 / 1.00092 away.
    assert means[1] == pytest.approx([0.5, 0.092], abs=0.05)


def test_adaptive_weights_need_to_know_the_training_conditions(three: list[Expert]) -> None:
    table = {"a": pd.DataFrame(np.zeros((1, 2), np.float32), index=["p"])}
    with pytest.raises(EnsembleError, match="a-to-x@1 does not say what its conditions look like"):
        generate(three, table, ["p"], settings=EngineSettings("adaptive"))


@pytest.mark.parametrize(
    "returned",
    [[0.5, np.nan, 0.5], [0.5, 0.5], [[0.5, 0.25, 0.25]], [1.5, -0.25, -0.25], [1.0, 1.0, 1.0],
     [0.0, 0.0, 0.0], "most", None],
)  # fmt: skip
def test_what_a_plugins_weighting_must_not_return(
    three: list[Expert], monkeypatch: pytest.MonkeyPatch, returned: object
) -> None:
    monkeypatch.setattr(WEIGHTINGS, "_things", dict(WEIGHTINGS._things))
    WEIGHTINGS.register("mine", lambda _: returned, "my-weights 1.0")  # type: ignore[arg-type,return-value]
    with pytest.raises(EnsembleError, match=r"'mine' of my-weights 1\.0 returned.* 3 exp"):
        reliability_weights(EngineSettings("mine"), three)
