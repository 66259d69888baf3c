from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chi2, entropy

from codenoise.core.base.errors import DataError
from codenoise.core.diffusion.schedule import log_snr
from codenoise.core.ensemble.calibration import Calibration, PatternCoefficients
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.expert import Expert, Moments
from codenoise.core.ensemble.settings import EngineSettings
from codenoise.evaluation.experiments.reliability import EXPERIMENT
from codenoise.evaluation.statistics import effective_experts
from codenoise.evaluation.study import Study

MSES = {"a": 0.2, "b": 0.4, "c": 0.95}
R2S = {"a": 0.8, "b": 0.6, "c": 0.05}


def latents(patients: int, seed: int) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    ids = [f"{seed}-{i:02}" for i in range(patients)]
    return {
        m: pd.DataFrame(rng.normal(size=(patients, 2)).astype(np.float32), index=ids)
        for m in ("a", "b", "c", "x")
    }


@pytest.fixture
def study(
    gaussian_expert: Callable[..., Expert], latent_ensemble: Callable[..., LoadedEnsemble]
) -> Callable[..., Study]:
    """Three pair experts of known error, one multi-condition expert; one odd test patient."""
    plain = Moments(np.zeros(2), np.eye(2))
    pairs = [
        replace(
            gaussian_expert(np.eye(2), np.eye(2), name, mse=MSES[name]),
            validation_r2=R2S[name],
            moments=(plain,),
        )
        for name in MSES
    ]
    multi = replace(
        pairs[0],
        name="multi-to-x@1",
        conditions=("a", "b", "c"),
        condition_spaces=("a-space", "b-space", "c-space"),
        condition_dims=(2, 2, 2),
        moments=(plain, plain, plain),
        masked=True,
    )
    test = latents(30, 2)
    test["a"].iloc[0] = 100.0  # unlike anybody that the experts were trained on
    parts = {"train": latents(10, 0), "validation": latents(10, 1), "test": test}

    def build(*, masked: bool = False, calibration: Calibration | None = None) -> Study:
        settings = EngineSettings(steps=5, weighting="stacked" if calibration else "inverse-mse")
        experts = (*pairs, multi) if masked else tuple(pairs)
        ensemble = latent_ensemble(experts, settings, calibration)
        return Study(ensemble, parts, pd.DataFrame(), modalities=("x", "a", "b", "c"))  # type: ignore[arg-type]

    return build


def measured(study: Study) -> pd.DataFrame:
    rows = [row for part in EXPERIMENT.parts(study) for row in part.measure()]
    return pd.DataFrame([json.loads(json.dumps(row)) for row in rows])


def weights(rows: pd.DataFrame, weighting: str, conditions: str = "a+b+c") -> dict[str, float]:
    chosen = rows[(rows.weighting == weighting) & (rows.conditions == conditions)]
    return dict(zip(chosen.expert, chosen.weight, strict=True))


def test_formula_and_code_give_the_weights_of_the_reference(study: Callable[..., Study]) -> None:
    rows = measured(study())
    formula, code = weights(rows, "inverse-mse"), weights(rows, "softmax-inverse-mse")
    names = ["a-to-x", "b-to-x", "c-to-x"]
    assert [round(formula[n], 3) for n in names] == [0.585, 0.292, 0.123]
    assert [round(code[n], 3) for n in names] == [0.908, 0.075, 0.018]
    gains = {n: r2 / (1 - r2) for n, r2 in zip(names, R2S.values(), strict=True)}
    expected = {n: gain / sum(gains.values()) for n, gain in gains.items()}
    assert weights(rows, "precision-gain") == pytest.approx(expected)


def test_adaptive_weights_spread_over_patients(study: Callable[..., Study]) -> None:
    rows = measured(study())
    chosen = rows[(rows.weighting == "adaptive") & (rows.conditions == "a+b")]
    own = chosen.set_index("expert")
    assert set(own.patients) == {30}
    test = latents(30, 2)
    test["a"].iloc[0] = 100.0
    like = {
        m: np.minimum(1, chi2.ppf(0.99, 2) / (test[m].to_numpy() ** 2).sum(axis=1)) for m in "ab"
    }
    gains = {m: R2S[m] / (1 - R2S[m]) * like[m] for m in "ab"}
    expected = gains["a"] / (gains["a"] + gains["b"])
    assert expected.min() < 0.01  # the odd patient
    assert own.weight["a-to-x"] == pytest.approx(expected.mean(), abs=1e-6)
    assert own.low["a-to-x"] == pytest.approx(np.quantile(expected, 0.05), abs=1e-6)
    assert own.high["a-to-x"] == pytest.approx(np.quantile(expected, 0.95), abs=1e-6)


def test_adaptive_weights_of_a_multi_condition_expert_are_known(
    study: Callable[..., Study],
) -> None:
    rows = measured(study(masked=True))
    every = rows[(rows.weighting == "adaptive") & (rows.members == "all experts")]
    assert set(every.expert) == {"a-to-x", "b-to-x", "c-to-x", "multi-to-x"}
    assert every.groupby("conditions").weight.sum().to_numpy() == pytest.approx(1)


def test_learned_weights_are_those_of_the_calibration(study: Callable[..., Study]) -> None:
    knots = tuple(log_snr(np.array([0.01, 0.99])))
    entry = PatternCoefficients("x", ("a", "b"), ("a-to-x@1", "b-to-x@1"), ((0.6, 0.2),) * 2, 10)
    rows = measured(study(calibration=Calibration("mean", knots, (entry,))))
    assert weights(rows, "learned", "a+b") == pytest.approx({"a-to-x": 0.75, "b-to-x": 0.25})
    other = rows[(rows.weighting == "learned") & (rows.conditions == "a+c")]
    assert other.weight.isna().all()
    assert set(other.reason) == {"nothing was learned for just these experts and conditions"}


def test_uncalibrated_ensemble_says_why_nothing_was_learned(study: Callable[..., Study]) -> None:
    section = EXPERIMENT.section(measured(study()))
    assert any("not calibrated" in note for note in section.notes)


def test_verdict_says_which_way_the_softmax_differs(study: Callable[..., Study]) -> None:
    pytest.importorskip("pingouin")
    section = EXPERIMENT.section(measured(study()))
    assert "is sharper than the published formula" in section.verdict
    claims = [c for c in section.claims if c.paper]
    assert [c.agrees for c in claims] == [True]


def test_section_reads_any_subset_and_draws(study: Callable[..., Study], tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    pytest.importorskip("pingouin")
    rows = measured(study())
    for made in (rows, rows[rows.weighting == "learned"], rows[rows.given == 1], rows.iloc[:0]):
        section = EXPERIMENT.section(made)
        assert section.verdict
        for figure in section.figures:
            figure.draw().savefig(tmp_path / f"{figure.name}.png")


def test_cohort_without_two_linked_modalities_is_refused(study: Callable[..., Study]) -> None:
    alone = replace(study(), modalities=("a", "b"))
    with pytest.raises(DataError, match="no expert between two modalities"):
        EXPERIMENT.parts(alone)


@given(st.lists(st.floats(1e-6, 1e6), min_size=1, max_size=8))
def test_effective_experts_is_the_exponential_of_entropy(values: list[float]) -> None:
    got = effective_experts(np.array(values))
    assert got == pytest.approx(np.exp(entropy(values)))
    assert 1 - 1e-9 <= got <= len(values) + 1e-9


def test_effective_experts_of_equal_weights_is_their_number() -> None:
    assert effective_experts(np.full(5, 0.2)) == pytest.approx(5)
    assert effective_experts(np.array([1.0, 0.0])) == pytest.approx(1)
    assert np.isnan(effective_experts(np.array([np.nan, 1.0])))
