"""Membership attacks: whether what is generated tells the patients trained on from others."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from codenoise.core.prioritisation.outcomes import Latents
from codenoise.evaluation.baselines.regression import FEWEST, ridge
from codenoise.evaluation.experiment import Row
from codenoise.evaluation.experiments.fidelity import membership, nearest_distance
from codenoise.evaluation.experiments.unconditional import GENERATORS
from codenoise.evaluation.study import Method, Study

Float32 = NDArray[np.float32]
COPIES, UNSEEN = "copies of training patients", "real validation patients"
CONTROLS = (COPIES, UNSEEN)
NOTHING, CONDITIONS, PATIENTS = "nothing", "conditions", "real patients"
NEAREST, OWN = "nearest", "own draws"
REGRESSION = "ridge"
DRAWS = 4


def matched(
    study: Study, target: str, limit: int, rng: np.random.Generator
) -> tuple[pd.DataFrame, int]:
    """Training and test patients, as many of each for every cancer type and set of conditions.

    Parameters
    ----------
    study
        Without clinical data, sets of conditions alone are matched.
    target
        Modality under attack, which all have besides at least one other.
    limit
        Most patients of each group.
    rng
        Chooses.

    Returns
    -------
    tuple
        Columns ``member`` and ``other`` (patient ids) and ``conditions`` (joined by ``+``), a
        matched couple a row; and the number of test patients left without a partner.
    """
    groups = {part: _strata(study, part, target) for part in ("train", "test")}
    couples = []
    for stratum, others in groups["test"].groupby(groups["test"], sort=True):
        members = groups["train"].index[groups["train"] == stratum]
        size = min(len(members), len(others))
        couples.append(
            pd.DataFrame(
                {
                    "member": rng.permutation(members.to_numpy())[:size],
                    "other": rng.permutation(others.index.to_numpy())[:size],
                    "conditions": str(stratum).partition("|")[0],
                }
            )
        )
    found = pd.concat(couples, ignore_index=True) if couples else pd.DataFrame({"member": []})
    alone = len(groups["test"]) - len(found)
    return found.iloc[rng.permutation(len(found))[:limit]].reset_index(drop=True), alone


def _strata(study: Study, part: str, target: str) -> pd.Series[str]:
    """``conditions|cancer type`` of each patient with the target and something to see it from."""
    tables = study.latents[part]
    ids = pd.Index(sorted(tables[target].index))
    seen = pd.Series("", index=ids)
    for name in study.modalities:
        if name != target and name in tables:
            seen = seen.mask(ids.isin(tables[name].index), seen + f"+{name}")
    seen = seen.str.removeprefix("+")
    types = pd.Series("", index=ids)
    if "cancer_type" in study.clinical:
        types = study.clinical["cancer_type"].reindex(ids).astype(object).fillna("")
    return (seen + "|" + types.astype(str))[seen != ""]


def attacks(
    study: Study, target: str, couples: pd.DataFrame, sets: Mapping[str, Float32], seed: int
) -> Iterator[Row]:
    """Attacks on sets generated from nothing, on completed values, and on the two controls."""
    train, test = (study.latents[part][target] for part in ("train", "test"))
    members = train.loc[couples["member"]].to_numpy()
    others = test.loc[couples["other"]].to_numpy()
    released = {name: sets[name] for name in GENERATORS if name in sets} | {
        COPIES: train.to_numpy()
    }
    unseen = study.latents["validation"].get(target, pd.DataFrame())
    if len(unseen):
        released[UNSEEN] = unseen.to_numpy()
    for name, values in released.items():
        nearest = nearest_distance(members, values), nearest_distance(others, values)
        source = PATIENTS if name in CONTROLS else NOTHING
        yield _attack(name, source, NEAREST, *nearest, seed)
    for name, method in _completing(study).items():
        draws, served = _completed(study, method, target, couples, seed)
        if len(draws[0]) < 2:
            reason = "serves fewer than 2 matched patients"
            yield {"method": name, "source": CONDITIONS, "patients": 0, "reason": reason}
            continue
        real = members[served], others[served]
        cloud = np.concatenate(draws).reshape(-1, members.shape[1])
        near = [nearest_distance(values, cloud) for values in real]
        yield _attack(name, CONDITIONS, NEAREST, near[0], near[1], seed)
        own = [
            np.linalg.norm(drawn - values[:, None], axis=2).mean(axis=1)
            for drawn, values in zip(draws, real, strict=True)
        ]
        yield _attack(name, CONDITIONS, OWN, own[0], own[1], seed)


def _attack(
    method: str,
    source: str,
    attack: str,
    members: NDArray[np.float64],
    others: NDArray[np.float64],
    seed: int,
) -> Row:
    keys: Row = {"method": method, "source": source, "attack": attack, "patients": 2 * len(members)}
    return keys | asdict(membership(members, others, seed))


def _completing(study: Study) -> dict[str, Method]:
    """What completes patients: the generators, and a regression to compare them with."""

    def regress(
        target: str, conditions: Latents, patients: Sequence[str], _draws: int, _seed: int
    ) -> Float32:
        train, names = study.latents["train"], sorted(conditions)
        known = study.complete("train", [target, *names])
        shown, asked = (
            np.hstack([tables[name].loc[list(ids)].to_numpy() for name in names])
            for tables, ids in ((train, known), (conditions, patients))
        )
        return ridge(shown, train[target].loc[known].to_numpy(), asked)[:, None]

    def trainable(target: str, conditions: Sequence[str]) -> bool:
        return len(study.complete("train", [target, *conditions])) >= FEWEST

    found = {name: study.methods[name] for name in GENERATORS if name in study.methods}
    return found | {REGRESSION: Method(REGRESSION, regress, trainable, point=True)}


def _completed(
    study: Study, method: Method, target: str, couples: pd.DataFrame, seed: int
) -> tuple[tuple[Float32, Float32], NDArray[np.int64]]:
    """Draws of members and of others ``(patients, draws, dim)``, and the couples they are for."""
    drawn: list[tuple[Float32, Float32]] = []
    served: list[NDArray[np.int64]] = []
    both = {
        name: pd.concat([study.latents[part][name] for part in ("train", "test")])
        for name in study.modalities
        if name in study.latents["test"]
    }
    for pattern, rows in couples.groupby("conditions", sort=True):
        names = str(pattern).split("+")
        if not method.serves(target, names):
            continue
        ids = [*rows["member"], *rows["other"]]
        shown = {name: both[name].loc[ids] for name in names}
        values = method.generate(target, shown, ids, DRAWS, seed)
        drawn.append((values[: len(rows)], values[len(rows) :]))
        served.append(rows.index.to_numpy(dtype=np.int64))
    if not drawn:
        nobody = np.empty((0, DRAWS, 0), dtype=np.float32)
        return (nobody, nobody), np.empty(0, dtype=np.int64)
    members, others = (np.concatenate(part) for part in zip(*drawn, strict=True))
    return (members, others), np.concatenate(served)
