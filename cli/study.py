"""What ``codenoise evaluate`` works on: the files it was given, and their digests."""

from __future__ import annotations

import hashlib
import json
import shlex
from collections.abc import Sequence
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING, Any

from codenoise.cli.output import plain_json
from codenoise.core.base.errors import AbsentError, DataError, first_few
from codenoise.core.cohort.options import ReadOptions
from codenoise.registry.contract.compatibility import engine_version
from codenoise.registry.ensembles.recipe import read_recipe
from codenoise.registry.ensembles.resolving import load_ensemble
from codenoise.registry.installed.discovery import discover

if TYPE_CHECKING:
    from codenoise.evaluation.study import Study


def open_study(
    cohort: Path,
    recipe_path: Path,
    split_path: Path,
    clinical_path: Path | None,
    modalities: Sequence[str],
    runs: int,
    seed: int,
    quick: bool,
    reading: ReadOptions,
) -> tuple[dict[str, Any], Study]:
    """Read everything an evaluation starts from.

    Returns
    -------
    tuple
        What identifies the study and what it was made with, as plain JSON; and the study.

    Raises
    ------
    CodenoiseError
        If the recipe, the cohort, the split or the clinical table cannot be read or do not fit.
    """
    import torch

    from codenoise.core.cohort.cohort import read_clinical, read_cohort
    from codenoise.core.cohort.splits import read_split
    from codenoise.evaluation.study import Study, studied

    ensemble = load_ensemble(read_recipe(recipe_path), discover())
    names = list(modalities) or studied(ensemble)
    unknown = [name for name in names if name not in ensemble.spaces]
    if unknown:
        raise DataError(
            f"{recipe_path} has no modality {first_few(unknown)}; it knows "
            f"{', '.join(sorted(ensemble.spaces))}"
        )
    given = read_cohort(cohort, names, features=ensemble.features, **reading)
    try:
        clinical = read_clinical(clinical_path or cohort)
    except AbsentError:  # experiments that need it say so
        if clinical_path is not None:
            raise
        clinical = None
    study = Study.of(
        ensemble, given, read_split(split_path), f"{cohort} and {split_path}",
        clinical=clinical, modalities=names, runs=runs, seed=seed, quick=quick,
    )  # fmt: skip
    made_with = plain_json(ensemble.made_with)
    words: list[object] = [cohort, "-e", recipe_path, "--split", split_path, "--runs", runs]
    words += ["--clinical", clinical_path] if clinical_path is not None else []
    words += [word for name in modalities for word in ("--modality", name)]
    words += ["--seed", seed, *(["--quick"] if quick else [])]
    about = {
        "codenoise": engine_version(),
        "python": python_version(),
        "torch": torch.__version__,
        "cohort": str(cohort),
        "cohort_digest": given.digest(),
        "split": str(split_path),
        "split_digest": f"sha256:{hashlib.sha256(split_path.read_bytes()).hexdigest()}",
        "ensemble": str(recipe_path),
        "recipe_digest": _digest(made_with),
        "clinical_digest": "" if clinical is None else _digest(clinical.sort_index().to_csv()),
        "modalities": names,
        "runs": runs,
        "seed": seed,
        "quick": quick,
        "patients": {part: len(found.patients) for part, found in study.parts.items()},
        "arguments": shlex.join(map(str, words)),
        "made_with": made_with,
    }
    return about, study


def _digest(content: object) -> str:
    text = json.dumps(content, sort_keys=True)
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"
