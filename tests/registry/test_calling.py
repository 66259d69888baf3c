"""What commands do, called with what a Python user holds."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from codenoise.core.base.errors import CodenoiseError, EnsembleError, SpaceError
from codenoise.core.cohort.cohort import read_cohort
from codenoise.core.ensemble.calibration import Calibration
from codenoise.core.ensemble.ensemble import LoadedEnsemble
from codenoise.core.ensemble.learning import Evidence
from codenoise.registry.contract.lock import read_lock
from codenoise.registry.ensembles import calibrate as module
from codenoise.registry.ensembles.ensemble import Ensemble
from codenoise.registry.ensembles.locking import lock
from codenoise.registry.ensembles.recipe import read_recipe
from codenoise.registry.installed.checking import check_cohort, open_space
from codenoise.registry.installed.discovery import Inventory, discover
from codenoise.registry.installed.health import examine
from codenoise.registry.installed.pull import add
from codenoise.registry.installed.removing import dependents, stored
from codenoise.registry.installed.searching import named_spaces, search, verify
from codenoise.registry.installed.store import items, remove

COHORT = Path(__file__).parents[2] / "examples" / "tcga" / "cohort"


@pytest.fixture
def composed(bank: Path) -> Ensemble:
    return Ensemble.compose(["rppa"], modalities=["cna", "rppa"])


def test_an_ensemble_writes_the_recipe_it_is_loaded_from(
    composed: Ensemble, tmp_path: Path
) -> None:
    path = tmp_path / "ensemble.toml"
    composed.write(path)
    again = Ensemble.from_file(path)
    assert again.made_with == composed.made_with
    assert again.settings == composed.settings
    with pytest.raises(EnsembleError, match=r"already there; .*overwrite=True"):
        composed.write(path)
    composed.write(path, overwrite=True)


def test_an_ensemble_made_by_hand_has_no_recipe(composed: Ensemble, tmp_path: Path) -> None:
    bare = replace(composed, made_with={})
    with pytest.raises(EnsembleError, match="no recipe; load it with codenoise"):
        bare.write(tmp_path / "ensemble.toml")
    assert not list(tmp_path.iterdir())


def test_a_lock_is_written_beside_the_recipe(composed: Ensemble, tmp_path: Path) -> None:
    composed.write(tmp_path / "ensemble.toml")
    locked = lock(str(tmp_path / "ensemble.toml"))
    assert locked.path == tmp_path / "ensemble.lock"
    pinned = read_lock(locked.path)
    assert pinned.model_dump() == locked.lock.model_dump()
    names = [pin.name for pin in (*pinned.experts, *pinned.spaces)]
    assert names == [plugin.manifest.name for plugin in locked.plugins]
    assert names == ["cna-to-rppa", "tcga-cna", "tcga-rppa"]
    with pytest.raises(CodenoiseError, match="already there"):
        lock(tmp_path / "ensemble.toml")


def test_calibration_is_kept_in_the_recipe(
    composed: Ensemble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evidence = [Evidence("rppa", 25, 0.1, 0.2, 3.0, 2.0, 0.8, 0.9)]
    seen: dict[str, object] = {}

    def learn(
        ensemble: LoadedEnsemble, latents: dict[str, pd.DataFrame], **how: object
    ) -> tuple[LoadedEnsemble, list[Evidence]]:
        seen.update(how, latents=latents, before=ensemble.calibration)
        settings = replace(ensemble.settings, weighting="stacked", composition="product")
        found = Calibration("product", (-1.0, 1.0), (), {"rppa": (1.5,) * 32})
        return replace(ensemble, settings=settings, calibration=found), evidence

    monkeypatch.setattr(module, "learn", learn)
    weighed = Ensemble.compose(["rppa"], modalities=["cna", "rppa"], weighting="fixed",
                               weights={"cna-to-rppa": 1.0})  # fmt: skip
    learned, told = module.calibrate(weighed, COHORT / ".." / "cohort", seed=5)
    assert told is evidence
    assert isinstance(learned, Ensemble)
    assert (seen["seed"], seen["draws"], seen["before"]) == (5, 39, None)
    learned.write(tmp_path / "calibrated.toml")
    kept = read_recipe(tmp_path / "calibrated.toml")
    assert (kept.weighting, kept.composition, kept.weights) == ("stacked", "product", {})
    assert kept.calibration is not None
    assert kept.calibration.cohort == "cohort"
    digest = read_cohort(COHORT, ["cna", "rppa"], features=weighed.features).digest()
    assert kept.calibration.cohort_digest == digest
    module.calibrate(Ensemble.from_file(tmp_path / "calibrated.toml"), COHORT)
    assert seen["before"] is None  # what was learned before has no part in it
    assert weighed.calibration is None


def test_a_space_is_opened_by_its_name(bank: Path) -> None:
    space = open_space("tcga-rppa")
    assert space.reference == open_space("tcga-rppa@0.1.0").reference == "tcga-rppa@0.1.0"
    with pytest.raises(SpaceError, match=r"'tcga-lipid' is not installed; installed: .*tcga-rppa"):
        open_space("tcga-lipid")


def test_what_is_installed_is_searched_and_verified(bank: Path) -> None:
    experts = discover().experts
    assert search() == list(experts)
    assert search(inventory=Inventory((), (), ())) == []
    assert [p.reference for p in search("TCGA", condition="rna", target="wsi")] == [
        p.reference
        for p in experts
        if p.manifest.target.modality == "wsi"
        and "rna" in {ref.modality for ref in p.manifest.condition}
    ]
    found = verify("rna-to-rppa", "tcga-rppa@0.1.0")
    assert [(one.reference, one.ok) for one in found] == [
        ("rna-to-rppa@0.1.0", True), ("tcga-rppa@0.1.0", True),
    ]  # fmt: skip
    assert len(verify()) == len(discover().plugins)


def test_an_item_of_the_store_is_removed_by_its_name(
    bank: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODENOISE_HOME", str(tmp_path / "home"))
    with pytest.raises(CodenoiseError, match="pip uninstall codenoise-space-tcga-rppa"):
        stored("tcga-rppa")
    add(named_spaces("tcga-rppa")[0].folder)
    item = stored("tcga-rppa")
    assert dependents(item) == []  # pip's copy is left to them
    remove(item)
    assert items() == []


def test_an_installation_is_examined(bank: Path, hub: object) -> None:
    health, inventory = examine(), discover()
    assert (health.code_plugins, health.broken) == ((), ())
    assert health.facts["experts"] == len(inventory.experts)
    assert health.facts["spaces"] == len(inventory.spaces)


def test_a_cohort_is_checked_wherever_it_is(bank: Path) -> None:
    of_files = check_cohort(COHORT, ["rppa", "cna"])
    frames = {name: table.frame for name, table in of_files.cohort.tables.items()}
    checked = check_cohort(frames)
    assert checked.usable
    assert list(checked.tables["matched"]) == list(of_files.tables["matched"])
    pd.testing.assert_frame_equal(checked.patterns, of_files.patterns)
    assert checked.patterns["patients"].sum() == len(checked.cohort.patients)
    odd = check_cohort({"rppa": 1e6 * frames["rppa"]})
    assert not odd.usable
    assert "scale" in odd.tables["verdict"][0]
    assert check_cohort({"lipids": frames["rppa"]}).tables["verdict"][0] == "no space installed"
