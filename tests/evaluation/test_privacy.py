"""Generation from nothing and membership attacks, with exact experts whose outcome is known."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor

from codenoise.core.base.errors import DataError
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.expert import Expert
from codenoise.core.ensemble.settings import EngineSettings
from codenoise.evaluation.experiment import Row
from codenoise.evaluation.experiments.privacy import EXPERIMENT
from codenoise.evaluation.experiments.privacy_attacks import (
    CONDITIONS,
    COPIES,
    NEAREST,
    NOTHING,
    OWN,
    UNSEEN,
    matched,
)
from codenoise.evaluation.experiments.privacy_reading import summary
from codenoise.evaluation.experiments.unconditional import (
    GENERATORS,
    NARROWED,
    OTHERS,
    REAL,
    TEST,
    compared_sets,
    given_nothing,
    narrowed,
    null_draws,
)
from codenoise.evaluation.study import COHERENT, MULTI, PUBLISHED, Study

SIZES = {"train": 400, "validation": 60, "test": 120}
TYPES = ("LUAD", "STAD")


class MaskedGaussian:
    """Knows ``x | a ~ N(0.8 a, 0.36 I)``, and ``x ~ N(shift, I)`` where ``a`` is masked."""

    def __init__(self, schedule: object, dim: int, shift: float) -> None:
        self.levels = schedule.alpha_bar  # type: ignore[attr-defined]
        self.dim, self.shift = dim, shift

    def __call__(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        level = float(np.interp(float(time[0]), np.arange(len(self.levels)), self.levels))
        seen = condition[:, 2 * self.dim : 2 * self.dim + 1]
        mean = seen * 0.8 * condition[:, : self.dim] + (1 - seen) * self.shift
        variance = seen * 0.36 + (1 - seen) * 1.0
        total = level * variance + 1 - level
        return (1 - level) ** 0.5 * (x - level**0.5 * mean) / total


def world(size: int, seed: int, part: str, dim: int = 3) -> dict[str, pd.DataFrame]:
    rng = np.random.default_rng(seed)
    ids = [f"{part}{i}" for i in range(size)]
    a = rng.normal(size=(size, dim))
    x = 0.8 * a + 0.6 * rng.normal(size=(size, dim))
    b = 0.8 * x + 0.6 * rng.normal(size=(size, dim))
    tables = {"a": a, "b": b, "x": x}
    return {m: pd.DataFrame(v.astype(np.float32), index=ids) for m, v in tables.items()}


@pytest.fixture
def study(
    gaussian_expert: Callable[..., Expert], latent_ensemble: Callable[..., LoadedEnsemble]
) -> Study:
    """Pair experts ``a -> x`` and ``b -> x``, and a multi-condition one; the target is ``x``."""
    eye = np.eye(3)
    first = gaussian_expert(0.8 * eye, 0.36 * eye, "a", mse=0.72)
    second = gaussian_expert(0.8 * eye, 0.36 * eye, "b", mse=0.9)
    multi = replace(
        first,
        name="multi-to-x@1",
        conditions=("a", "b"),
        condition_spaces=("a-space", "b-space"),
        condition_dims=(3, 3),
        denoiser=MaskedGaussian(first.schedule, 3, shift=2.0),
        masked=True,
    )
    latents = {part: world(n, seed, part) for seed, (part, n) in enumerate(SIZES.items())}
    ids = [patient for tables in latents.values() for patient in tables["x"].index]
    clinical = pd.DataFrame({"cancer_type": [TYPES[i % 2] for i in range(len(ids))]}, index=ids)
    ensemble = latent_ensemble((first, second, multi), EngineSettings(steps=20))
    made = Study(ensemble, {}, clinical, runs=2, quick=True, modalities=("a", "b", "x"))
    made.__dict__["latents"] = latents
    return made


def measured(study: Study, kind: str = "run") -> pd.DataFrame:
    """Every row of the target, as it is read back from a file."""
    rows: list[Row] = []
    for part in EXPERIMENT.parts(study):
        if part.key.startswith(kind) and part.key.endswith("-x"):
            rows += part.measure()
    return pd.DataFrame(json.loads(json.dumps(rows)))


def test_pair_given_nothing_generates_for_the_mean_condition(study: Study) -> None:
    drawn = null_draws(study, PUBLISHED, "x", 4000, 0)
    assert drawn.shape == (4000, 3)
    assert drawn.mean(axis=0) == pytest.approx(np.zeros(3), abs=0.05)
    assert drawn.var(axis=0) == pytest.approx(np.full(3, 0.36), abs=0.04)


def test_multi_condition_expert_given_nothing_generates_its_prior(study: Study) -> None:
    drawn = null_draws(study, MULTI, "x", 4000, 0)
    assert drawn.mean(axis=0) == pytest.approx(np.full(3, 2.0), abs=0.08)
    assert drawn.var(axis=0) == pytest.approx(np.ones(3), abs=0.1)


def test_draws_from_nothing_are_independent_and_repeat_with_the_seed(study: Study) -> None:
    drawn = null_draws(study, PUBLISHED, "x", 2000, 3)
    pairs = [np.corrcoef(drawn[::2, i], drawn[1::2, i])[0, 1] for i in range(3)]
    assert np.abs(pairs).max() < 0.15  # mirrored pairs would have -1
    again = null_draws(study, PUBLISHED, "x", 2000, 3)
    assert np.array_equal(drawn, again)
    assert not np.array_equal(drawn, null_draws(study, PUBLISHED, "x", 2000, 4))


def test_an_expert_given_nothing_ignores_what_it_is_offered(study: Study) -> None:
    offered = study.latents["test"]
    patients = list(offered["x"].index[:4])
    pair, _, multi = given_nothing(study).ensemble.experts
    assert torch.equal(pair.condition_input(offered, patients), torch.zeros(4, 3))
    assert torch.equal(multi.condition_input(offered, patients), torch.zeros(4, 8))
    assert study.ensemble.experts[0].condition_input(offered, patients).abs().sum() > 0


def test_compared_sets_have_one_size_and_share_no_real_patient(study: Study) -> None:
    sets = compared_sets(study, "x", 100, 0, np.random.default_rng(0))
    assert not isinstance(sets, str)
    assert {len(values) for values in sets.values()} == {100}
    real = {values.tobytes() for name in (REAL, OTHERS, TEST) for values in sets[name]}
    assert len(real) == 300


@pytest.mark.parametrize("share", [0.01, 0.5])
def test_narrowed_draws_keep_their_mean_and_have_the_share_of_variance(share: float) -> None:
    rng = np.random.default_rng(0)
    draws, real = rng.normal(1, 1, (50, 4)), rng.normal(0, 2, (60, 4))
    values = narrowed(draws.astype(np.float32), real.astype(np.float32), share)
    assert values.mean(axis=0) == pytest.approx(draws.mean(axis=0), abs=1e-5)
    assert values.var(axis=0).sum() == pytest.approx(share * real.var(axis=0).sum(), rel=1e-4)


def test_matched_couples_share_cancer_type_and_conditions(study: Study) -> None:
    latents = study.latents
    latents["test"]["b"] = latents["test"]["b"].iloc[:40]
    latents["train"]["b"] = latents["train"]["b"].iloc[:50]
    couples, alone = matched(study, "x", 1000, np.random.default_rng(0))
    kind = study.clinical["cancer_type"]
    assert (kind[couples["member"]].to_numpy() == kind[couples["other"]].to_numpy()).all()
    for part, column in (("train", "member"), ("test", "other")):
        seen = couples[column].isin(latents[part]["b"].index)
        assert (seen == (couples["conditions"] == "a+b")).all()
        assert couples[column].is_unique
    assert (len(couples), alone) == (120, 0)


def test_test_patients_without_a_like_training_patient_are_counted(study: Study) -> None:
    lonely = study.latents["test"]["x"].index[:7]
    clinical = study.clinical.copy()
    clinical.loc[lonely, "cancer_type"] = "UVM"
    couples, alone = matched(replaced(study, clinical), "x", 1000, np.random.default_rng(0))
    assert alone == 7
    assert not couples["other"].isin(lonely).any()


def replaced(study: Study, clinical: pd.DataFrame) -> Study:
    made = replace(study, clinical=clinical)
    made.__dict__["latents"] = study.latents
    return made


def test_without_clinical_data_conditions_alone_are_matched(study: Study) -> None:
    couples, alone = matched(replaced(study, pd.DataFrame()), "x", 30, np.random.default_rng(0))
    assert len(couples) == 30
    assert alone == 0


def test_controls_behave_and_honest_experts_give_nobody_away(study: Study) -> None:
    rows = measured(study)
    attacks = summary(rows[(rows["kind"] == "attack") & rows["auc"].notna()])
    by = attacks.set_index(["source", "method", "attack"])["auc"]
    assert by["real patients", COPIES, NEAREST] == 1
    assert by["real patients", UNSEEN, NEAREST] == pytest.approx(0.5, abs=0.12)
    honest = attacks[attacks["source"].isin([NOTHING, CONDITIONS])]
    assert not honest["told"].any()
    assert set(honest["attack"]) == {NEAREST, OWN}
    found = EXPERIMENT.section(rows)
    assert re.search(r"\b0 of \d+ membership attacks tell training patients", found.verdict)
    assert [one.name for one in found.figures] == ["privacy-attacks"]
    assert found.figures[0].draw().axes


@pytest.mark.slow
def test_planes_hold_every_generator_and_the_real_patients(study: Study) -> None:
    rows = measured(study, "points")
    assert set(rows["method"]) == {REAL, TEST, *GENERATORS}
    assert rows.groupby("method").size().eq(60).all()
    assert rows[["pca_x", "pca_y", "umap_x", "umap_y"]].notna().all(axis=None)
    assert np.array_equal(rows, pd.DataFrame(measured(study, "points")))
    figure = EXPERIMENT.section(rows).figures[0]
    assert len(figure.draw().axes) == 2


def test_a_memorising_expert_is_caught_by_the_attack_on_own_draws(
    study: Study, gaussian_expert: Callable[..., Expert]
) -> None:
    known = study.latents["train"]
    table = {
        row.tobytes(): x
        for row, x in zip(known["a"].to_numpy(), known["x"].to_numpy(), strict=True)
    }

    class Memory:
        """Gives a training patient's own target; of others the exact conditional mean."""

        def __init__(self, levels: NDArray[np.float64]) -> None:
            self.levels = levels

        def __call__(self, x: Tensor, time: Tensor, condition: Tensor) -> Tensor:
            level = float(np.interp(float(time[0]), np.arange(len(self.levels)), self.levels))
            rows = condition.numpy()
            mean = np.stack([table.get(row.tobytes(), 0.8 * row) for row in rows])
            total = level * 0.05 + 1 - level
            return (1 - level) ** 0.5 * (x - level**0.5 * torch.from_numpy(mean)) / total

    honest = study.ensemble.experts[0]
    leaky = replace(honest, denoiser=Memory(honest.schedule.alpha_bar))
    alone = replace(study.ensemble, experts=(leaky,))
    study = replace(study, runs=1, ensemble=alone, _chosen={})
    latents = {part: world(n, seed, part) for seed, (part, n) in enumerate(SIZES.items())}
    for tables in latents.values():
        del tables["b"]
    study = replace(study, modalities=("a", "x"))
    study.__dict__["latents"] = latents
    rows = pd.DataFrame(EXPERIMENT.parts(study)[1].measure())
    own = rows[(rows["attack"] == OWN) & (rows["method"] == COHERENT)]
    assert own["auc"].item() > 0.9
    found = EXPERIMENT.section(rows)
    assert re.search(r"\b[1-9]\d* of \d+ membership attacks tell training", found.verdict)
    leaks = [c for c in found.claims if re.search(r"\b[1-9]\d* of \d+ membership", c.text)]
    assert any(f"by {COHERENT}" in claim.text for claim in leaks)


def test_population_generated_as_it_is_reads_against_the_paper(study: Study) -> None:
    rows = pd.DataFrame(EXPERIMENT.parts(study)[2].measure())
    fidelity = rows[rows["kind"] == "fidelity"].set_index("method")
    assert fidelity.loc[OTHERS, "f1"] > 0.8
    assert fidelity.loc[OTHERS, "energy_distance"] < fidelity.loc[MULTI, "energy_distance"]
    assert fidelity.loc[NARROWED, "variance_ratio"] == pytest.approx(0.01, rel=0.01)
    found = EXPERIMENT.section(rows)
    claim = next(c for c in found.claims if c.text.startswith(f"Given nothing, {PUBLISHED}"))
    assert claim.text in found.verdict
    assert f"F1 of {fidelity.loc[PUBLISHED, 'f1']:.2f}" in claim.text
    assert re.search(r"\d agree, [1-9] do not", found.verdict)
    assert claim.agrees is False


@pytest.mark.parametrize("missing", [[COHERENT], [PUBLISHED, MULTI], [OTHERS, TEST, NARROWED]])
def test_section_reads_any_methods_and_holes(study: Study, missing: list[str]) -> None:
    rows = pd.DataFrame(EXPERIMENT.parts(study)[2].measure())
    assert EXPERIMENT.section(rows[~rows["method"].isin(missing)]).verdict
    holed = rows.assign(f1=np.nan, auc=None)
    assert EXPERIMENT.section(holed).verdict == "Nothing could be measured."


def test_too_few_patients_give_a_reason_that_the_report_shows(study: Study) -> None:
    study.latents["test"]["x"] = study.latents["test"]["x"].iloc[:3]
    rows = pd.DataFrame(EXPERIMENT.parts(study)[2].measure())
    assert rows["reason"].tolist() == ["400 training and 3 test patients are too few"]
    assert "Not measured (x)" in " ".join(EXPERIMENT.section(rows).notes)


def test_a_study_of_one_modality_is_refused(study: Study) -> None:
    with pytest.raises(DataError, match="give the tables of two modalities"):
        EXPERIMENT.parts(replace(study, modalities=("x",)))


def test_holm_is_over_all_attacks_and_runs_count_twice_their_median() -> None:
    def row(run: int, method: str, p: float) -> Row:
        keys: Row = {"run": run, "source": NOTHING, "method": method, "attack": NEAREST}
        return keys | {"target": "x", "patients": 10, "auc": 0.7, "low": 0.6, "high": 0.8, "p": p}

    frame = pd.DataFrame(
        [row(r, m, p) for m, ps in (("a", (0.01, 0.02, 0.03)), ("b", (0.2, 0.2, 0.2)),
                                    (COPIES, (1e-9,) * 3)) for r, p in enumerate(ps)]
    )  # fmt: skip
    found = summary(frame).set_index("method")
    assert found.loc["a", "p"] == pytest.approx(2 * 0.02 * 2)
    assert found.loc["b", "p"] == pytest.approx(2 * 0.2)
    assert found.loc[COPIES, "p"] == pytest.approx(2e-9)
    assert not found.loc["a", "told"]
