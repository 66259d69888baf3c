"""The part of a recipe that calibration writes: coefficients, spread, and their evidence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from codenoise.registry.contract.manifest import Modality, Sha256, Strict

if TYPE_CHECKING:
    from codenoise.core.ensemble.calibration import Calibration
    from codenoise.core.ensemble.learning import Evidence

Coefficient = Annotated[float, Field(ge=0)]


class LearnedCoefficients(Strict):
    """What each expert counts for patients with these conditions, at each knot."""

    target: Modality
    conditions: Annotated[list[Modality], Field(min_length=1)]
    patients: Annotated[int, Field(gt=0)]
    experts: Annotated[list[str], Field(min_length=1)]
    values: Annotated[list[list[Coefficient]], Field(min_length=2)]


class CalibrationEvidence(Strict):
    """What calibration did on its own patients, see `codenoise.core.ensemble.learning`."""

    target: Modality
    patients: int
    r2_before: float
    r2_after: float
    energy_before: float
    energy_after: float
    coverage_before: float
    coverage_after: float
    learned: bool


class LearnedCalibration(Strict):
    """``[calibration]`` of ``ensemble.toml``."""

    cohort: str
    cohort_digest: Sha256
    composition: Literal["mean", "product"]
    knots: Annotated[list[float], Field(min_length=2)]
    spread: dict[Modality, list[Annotated[float, Field(gt=0)]]]
    evidence: list[CalibrationEvidence]
    coefficients: list[LearnedCoefficients]

    @model_validator(mode="after")
    def _shapes(self) -> LearnedCalibration:
        if self.knots != sorted(set(self.knots)):
            raise ValueError("knots should increase")
        for i, entry in enumerate(self.coefficients):
            lengths = {len(row) for row in entry.values}
            if len(entry.values) != len(self.knots) or lengths != {len(entry.experts)}:
                raise ValueError(
                    f"coefficients.{i}.values should be {len(self.knots)} rows of "
                    f"{len(entry.experts)} numbers"
                )
        return self


def stored(
    calibration: Calibration, evidence: Sequence[Evidence], cohort: str, cohort_digest: str
) -> LearnedCalibration:
    """A calibration as the recipe keeps it."""
    return LearnedCalibration(
        cohort=cohort,
        cohort_digest=cohort_digest,
        composition=calibration.composition,
        knots=list(calibration.knots),
        spread={target: list(values) for target, values in calibration.spread.items()},
        evidence=[CalibrationEvidence(**_rounded(entry)) for entry in evidence],
        coefficients=[
            LearnedCoefficients(
                target=entry.target,
                conditions=list(entry.conditions),
                patients=entry.patients,
                experts=list(entry.experts),
                values=[list(row) for row in entry.values],
            )
            for entry in calibration.coefficients
        ],
    )


def _rounded(evidence: Evidence) -> dict[str, float | int | str]:
    return {
        name: round(value, 4) if isinstance(value, float) else value
        for name, value in vars(evidence).items()
    }


def restored(learned: LearnedCalibration) -> Calibration:
    """The calibration that a recipe keeps."""
    from codenoise.core.ensemble.calibration import Calibration, PatternCoefficients

    return Calibration(
        composition=learned.composition,
        knots=tuple(learned.knots),
        coefficients=tuple(
            PatternCoefficients(
                target=entry.target,
                conditions=tuple(sorted(entry.conditions)),
                experts=tuple(entry.experts),
                values=tuple(tuple(row) for row in entry.values),
                patients=entry.patients,
            )
            for entry in learned.coefficients
        ),
        spread={target: tuple(values) for target, values in learned.spread.items()},
    )
