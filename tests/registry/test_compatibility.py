from __future__ import annotations

import shutil
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest

from codenoise.registry.contract.compatibility import Finding, engine_version, findings, usable
from codenoise.registry.installed.discovery import discover

PACKAGE = "codenoise_expert_rna_to_rppa"


def _findings(site: Path) -> dict[str, Finding]:
    return {f.reference: f for f in findings(discover(path=[str(site)], checksums=True))}


def _usable(site: Path) -> list[str]:
    return [plugin.reference for plugin in usable(discover(path=[str(site)]))]


def _uninstall(site: Path, package: str) -> None:
    shutil.rmtree(site / package)
    shutil.rmtree(site / f"{package}-0.1.0.dist-info")


def test_everything_bundled_is_usable(bank: Path) -> None:
    inventory = discover(checksums=True)
    found = list(findings(inventory))
    assert len(found) == len(inventory.experts) + len(inventory.spaces) >= 16
    assert all(finding.ok and not finding.reason and not finding.remedy for finding in found)
    assert usable(inventory) == inventory.experts


def test_spaces_come_first_and_carry_their_modality(site: Path) -> None:
    found = list(_findings(site).values())
    assert [finding.kind for finding in found] == ["space"] * 4 + ["expert"] * 2
    assert [finding.target for finding in found] == ["cna", "rna", "rppa", "wsi", "rppa", "rppa"]


@pytest.mark.parametrize(("modality", "left"), [("rna", ["cna-to-rppa@0.1.0"]), ("rppa", [])])
def test_missing_space_is_named_with_the_command_that_installs_it(
    site: Path, modality: str, left: list[str]
) -> None:
    _uninstall(site, f"codenoise_space_tcga_{modality}")
    finding = _findings(site)["rna-to-rppa@0.1.0"]
    assert not finding.ok
    assert f"its {modality} space tcga-{modality}@0.1.0 (sha256:" in finding.reason
    assert finding.reason.endswith("is not installed")
    assert finding.remedy == f"pip install 'codenoise-space-tcga-{modality}==0.1.0'"
    assert _usable(site) == left


def test_space_of_the_right_name_and_other_content_does_not_do(
    site: Path, edit: Callable[..., Path]
) -> None:
    other = f"sha256:{'0' * 64}"
    edit(
        site / "codenoise_space_tcga_rna" / "space.json",
        lambda content: content.update(digest=other),
    )
    assert not _findings(site)["rna-to-rppa@0.1.0"].ok
    assert _usable(site) == ["cna-to-rppa@0.1.0"]


def test_expert_for_another_engine_is_named_with_the_version_it_needs(
    site: Path, edit: Callable[..., Path]
) -> None:
    edit(site / PACKAGE / "expert.json", lambda content: content.update(engine=">=7,<8"))
    finding = _findings(site)["rna-to-rppa@0.1.0"]
    assert not finding.ok
    assert finding.reason == f"needs codenoise >=7,<8, this is {engine_version()}"
    assert finding.remedy == "pip install 'codenoise>=7,<8'"
    assert _usable(site) == ["cna-to-rppa@0.1.0"]


def test_space_for_another_engine_is_found_too(site: Path, edit: Callable[..., Path]) -> None:
    path = site / "codenoise_space_tcga_rna" / "space.json"
    edit(path, lambda content: content.update(engine=">=7"))
    finding = _findings(site)["tcga-rna@0.1.0"]
    assert (finding.ok, finding.remedy) == (False, "pip install 'codenoise>=7'")


def test_development_versions_of_the_engine_fit_its_range(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codenoise.registry.contract.compatibility.version", lambda _: "0.2.0.dev1")
    assert len(_usable(site)) == 2


def test_engine_that_was_never_installed_has_a_version(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(_: str) -> str:
        raise PackageNotFoundError("codenoise")

    monkeypatch.setattr("codenoise.registry.contract.compatibility.version", absent)
    assert engine_version() == "0.0.0"


def test_broken_plugin_is_named_with_the_command_that_reinstalls_it(site: Path) -> None:
    (site / PACKAGE / "denoiser.safetensors").unlink()
    finding = _findings(site)["rna-to-rppa"]
    assert (finding.kind, finding.ok) == ("broken", False)
    assert "denoiser.safetensors is missing" in finding.reason
    assert finding.remedy == "pip install --force-reinstall codenoise-expert-rna-to-rppa==0.1.0"


def test_nothing_installed_gives_no_finding(tmp_path: Path) -> None:
    assert not _findings(tmp_path)


def test_an_expert_whose_target_is_another_modalitys_space_is_found(
    site: Path, edit: Callable[..., Path]
) -> None:
    spaces = {s.manifest.modality: s.manifest for s in discover(path=[str(site)]).spaces}

    def decode_as_copy_number(content: dict[str, Any]) -> None:
        content["target"]["digest"] = spaces["cna"].digest

    edit(site / PACKAGE / "expert.json", decode_as_copy_number)
    finding = _findings(site)["rna-to-rppa@0.1.0"]
    assert not finding.ok
    assert finding.reason.startswith("has cna's space (sha256:")
    assert "for its rppa" in finding.reason
    assert _usable(site) == ["cna-to-rppa@0.1.0"]
