"""What would be completed, what was, and what stayed missing, in a few rows and sentences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from codenoise.core.base.errors import first_few
from codenoise.core.cohort.cohort import Cohort
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.expert import conditions_of
from codenoise.core.ensemble.imputation import Imputation, Origin
from codenoise.core.ensemble.weights import STACKED


def plan(ensemble: LoadedEnsemble, cohort: Cohort, targets: Sequence[str]) -> list[dict[str, Any]]:
    """What would be generated: a row per target and set of modalities that patients have."""
    mask = cohort.mask()
    rows = []
    for target in targets:
        conditions = conditions_of(ensemble.experts_for(target))
        usable = [name for name in conditions if name in mask]
        lacking = mask if target not in mask else mask[~mask[target]]
        for pattern, group in lacking.groupby(usable) if usable else [((), lacking)]:
            present = [name for name, there in zip(usable, pattern, strict=True) if there]
            rows.append(
                {
                    "target": target,
                    "patients to generate": len(group),
                    "from": "+".join(present) or "nothing: stays missing",
                }
            )
    return rows


def summary(result: Imputation) -> list[dict[str, Any]]:
    """What was completed: a row per target."""
    rows = []
    for target, table in result.mask.items():
        report = result.report[result.report.target == target]
        origin = table.frame.to_numpy()
        rows.append(
            {
                "target": target,
                "patients": len(origin),
                "generated": int((report.status == "generated").sum()),
                "gaps filled": int((origin == Origin.RECONSTRUCTED).sum()),
                "values still missing": int((origin == Origin.UNAVAILABLE).sum()),
                "mean coherence": float(report.coherence.mean()) if len(report) else float("nan"),
                "redraws": int(report.redraws.sum()),
                "incoherent draws": int(report.incoherent_draws.sum()),
            }
        )
    return rows


def notes(result: Imputation) -> list[str]:
    """What a user should know of a result: changes in reading, what stayed missing, weights."""
    said = [
        f"{table.source}: {change}"
        for table in result.given.tables.values()
        for change in table.changes
    ]
    for target, table in result.mask.items():
        report = result.report[result.report.target == target]
        left = report.patient[report.status != "generated"]
        if len(left):
            said.append(
                f"{len(left)} patient(s) stay without {target}, for they have no modality "
                f"that an expert could use: {first_few(left)}"
            )
        rows = table.frame.drop(index=list(left), errors="ignore")
        unknown = rows.columns[(rows == Origin.UNAVAILABLE).any()]
        if len(unknown):
            said.append(
                f"{len(unknown)} column(s) of {target} are not in its space and could not be "
                f"generated: {first_few(unknown)}"
            )
    if result.ensemble.settings.weighting == STACKED:
        said.append(_learned(result))
    return said


def _learned(result: Imputation) -> str:
    """For how many patients the calibration had no weights."""
    report = result.report[result.report.status == "generated"]
    others = report.patient[~report["weights learned"]].unique()
    named = f": {first_few(others)}" if len(others) else ""
    return (
        f"{len(others)} of {report.patient.nunique()} patient(s) had weights that were not "
        f"learned, in a target or more{named}"
    )
