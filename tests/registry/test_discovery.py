from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from codenoise.core.base.errors import ArtifactError
from codenoise.registry.contract.manifest import ExpertManifest
from codenoise.registry.contract.sources import Package
from codenoise.registry.installed.discovery import Inventory, Plugin, discover

Put = Callable[..., Path]
PACKAGE = "codenoise_expert_rna_to_rppa"
DISTRIBUTION = "codenoise-expert-rna-to-rppa"


def _info(site: Path) -> Path:
    return site / f"{PACKAGE}-0.1.0.dist-info"


def _names(inventory: Inventory) -> tuple[list[str], list[str], list[str]]:
    return (
        [plugin.reference for plugin in inventory.experts],
        [plugin.reference for plugin in inventory.spaces],
        [broken.entry for broken in inventory.broken],
    )


def test_installed_plugins_are_found(site: Path) -> None:
    inventory = discover(path=[str(site)], checksums=True)
    experts, spaces, broken = _names(inventory)
    assert experts == ["cna-to-rppa@0.1.0", "rna-to-rppa@0.1.0"]
    assert spaces == ["tcga-cna@0.1.0", "tcga-rna@0.1.0", "tcga-rppa@0.1.0", "tcga-wsi@0.1.0"]
    assert not broken
    found = inventory.experts[1]
    assert found.source == Package(distribution=DISTRIBUTION, version="0.1.0")
    assert found.folder == site / PACKAGE


def test_the_bundled_bank_is_found(bank: Path) -> None:
    inventory = discover(checksums=True)
    assert len(inventory.experts) == len(list(bank.glob("codenoise_expert_*.dist-info"))) >= 12
    assert len(inventory.spaces) == len(list(bank.glob("codenoise_space_*.dist-info"))) >= 4
    assert not inventory.broken


def test_nothing_installed_is_an_empty_inventory(tmp_path: Path) -> None:
    assert discover(path=[str(tmp_path)]) == Inventory((), (), ())


def test_no_plugin_is_imported(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in site.glob("codenoise_*/"):
        if package.suffix != ".dist-info":
            (package / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(site)
    inventory = discover(path=[str(site)], checksums=True)
    assert len(inventory.experts) == 2
    assert not inventory.broken
    assert not [name for name in sys.modules if name.startswith(("codenoise_e", "codenoise_s"))]


def _no_record_of_manifest(site: Path) -> None:
    record = _info(site) / "RECORD"
    lines = record.read_text().splitlines(keepends=True)
    record.write_text("".join(line for line in lines if "expert.json" not in line))


def _manifest(site: Path, **fields: object) -> None:
    path = site / PACKAGE / "expert.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def _entry(site: Path, value: str) -> None:
    (_info(site) / "entry_points.txt").write_text(f"[codenoise.experts]\nrna-to-rppa = {value}\n")


def _about(site: Path, *lines: str) -> None:
    (_info(site) / "METADATA").write_text("".join(f"{line}\n" for line in lines))


def _weights(site: Path, content: bytes) -> None:
    (site / PACKAGE / "denoiser.safetensors").write_bytes(content)


def _flip(site: Path) -> None:
    content = bytearray((site / PACKAGE / "denoiser.safetensors").read_bytes())
    content[-1] ^= 1
    _weights(site, bytes(content))


Breaking = Callable[[Path], object]
BREAKINGS: dict[str, tuple[Breaking, str]] = {
    "no-record": (lambda s: (_info(s) / "RECORD").unlink(), "file list"),
    "not-in-record": (_no_record_of_manifest, "file list"),
    "no-manifest": (lambda s: (s / PACKAGE / "expert.json").unlink(), "is missing"),
    "no-package": (lambda s: shutil.rmtree(s / PACKAGE), "is missing"),
    "bad-json": (lambda s: (s / PACKAGE / "expert.json").write_text("{"), "no JSON"),
    "binary-json": (lambda s: (s / PACKAGE / "expert.json").write_bytes(b"\xff"), "no JSON"),
    "endless-json": (lambda s: (s / PACKAGE / "expert.json").write_text("[" * 99_999), "reinstall"),
    "json-list": (lambda s: (s / PACKAGE / "expert.json").write_text("[]"), "JSON object"),
    "unknown-field": (lambda s: _manifest(s, licence="MIT"), "'licence' is unknown"),
    "wrong-type": (lambda s: _manifest(s, target=3), "'target'"),
    "wrong-major": (lambda s: _manifest(s, schema_version="2.0"), "codenoise>=2"),
    "no-weights": (lambda s: (s / PACKAGE / "denoiser.safetensors").unlink(), "is missing"),
    "truncated-weights": (lambda s: _weights(s, b"short"), "has 5 bytes"),
    "no-weights-listed": (lambda s: _manifest(s, files={}), "denoiser.safetensors"),
    "wrong-checksum": (_flip, "checksum"),
    "no-value": (lambda s: _entry(s, PACKAGE), "should read like 'package:expert.json'"),
    "code-value": (lambda s: _entry(s, f"{PACKAGE}:Expert"), "should read like"),
    "dotted-value": (lambda s: _entry(s, f"{PACKAGE}:../expert.json"), "should read like"),
    "dotted-package": (lambda s: _entry(s, f"..{PACKAGE}:expert.json"), "should read like"),
    "absolute-value": (lambda s: _entry(s, "/etc:passwd.json"), "should read like"),
    "other-package": (lambda s: _entry(s, "codenoise_expert_cna_to_rppa:expert.json"), "file list"),
    "space-as-expert": (
        lambda s: shutil.copy(
            s / "codenoise_space_tcga_rppa" / "space.json", s / PACKAGE / "expert.json"
        ),
        "field",
    ),
    "no-version": (lambda s: _about(s, f"Name: {DISTRIBUTION}"), "METADATA"),
    "no-name": (lambda s: _about(s, "Version: 0.1.0"), "METADATA"),
    "no-metadata": (lambda s: (_info(s) / "METADATA").unlink(), "METADATA"),
}


@pytest.mark.parametrize("how", BREAKINGS)
def test_broken_plugin_is_listed_as_such_and_breaks_no_other(
    site: Path, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    breaking, reason = BREAKINGS[how]
    breaking(site)
    inventory = discover(path=[str(site)], checksums=True)
    experts, spaces, _ = _names(inventory)
    assert experts == ["cna-to-rppa@0.1.0"]
    assert len(spaces) == 4
    (broken,) = inventory.broken
    assert broken.entry == "rna-to-rppa"
    assert reason in broken.reason
    assert "\n" not in broken.reason
    if how not in ("no-name", "no-version", "no-metadata"):
        assert broken.where == f"{DISTRIBUTION} 0.1.0"
        assert broken.remedy == f"pip install --force-reinstall {DISTRIBUTION}==0.1.0"
    monkeypatch.setenv("CODENOISE_STRICT", "1")
    with pytest.raises(ArtifactError, match="CODENOISE_STRICT=1 makes this fatal") as caught:
        discover(path=[str(site)], checksums=True)
    assert broken.reason in str(caught.value)


def test_ten_broken_in_ten_ways_break_none_of_the_others(tmp_path: Path, put: Put) -> None:
    ways = (
        "no-record", "no-manifest", "bad-json", "unknown-field", "wrong-major", "no-weights",
        "truncated-weights", "wrong-checksum", "code-value", "no-version",
    )  # fmt: skip
    site = tmp_path / "site"
    sound = ("expert-cna-to-rppa", "expert-wsi-to-rppa", "space-tcga-rppa", "space-tcga-wsi")
    for plugin in sound:
        put(site, plugin)
    for how in ways:
        alone = tmp_path / how
        put(alone, "expert-rna-to-rppa")
        BREAKINGS[how][0](alone)
        # A name of its own, so that none counts as a second copy of another.
        for path in sorted(alone.iterdir()):
            target = site / path.name.replace("rna_to_rppa", f"broken_{how.replace('-', '_')}")
            shutil.move(path, target)
        for path in site.glob(f"*broken_{how.replace('-', '_')}*.dist-info/*"):
            text = path.read_text().replace(
                "expert_rna_to_rppa", f"expert_broken_{how}".replace("-", "_")
            )
            path.write_text(text.replace(DISTRIBUTION, f"codenoise-expert-broken-{how}"))
    inventory = discover(path=[str(site)], checksums=True)
    assert [plugin.reference for plugin in inventory.plugins] == [
        "cna-to-rppa@0.1.0", "wsi-to-rppa@0.1.0", "tcga-rppa@0.1.0", "tcga-wsi@0.1.0",
    ]  # fmt: skip
    assert len(inventory.broken) == len(ways)
    reasons = {broken.where.split()[0]: broken.reason for broken in inventory.broken}
    for how in ways:
        assert BREAKINGS[how][1] in reasons[f"codenoise-expert-broken-{how}"]


@pytest.mark.parametrize(
    "content",
    [
        b"[codenoise.experts]\nno equals sign\n",
        b"\xff\xfe not text",
        b"no section = here\n[[\n",
    ],
    ids=["no-equals", "binary", "no-section"],
)
def test_entry_points_that_cannot_be_read_break_no_other(site: Path, content: bytes) -> None:
    (_info(site) / "entry_points.txt").write_bytes(content)
    experts, spaces, _ = _names(discover(path=[str(site)]))
    assert experts == ["cna-to-rppa@0.1.0"]
    assert len(spaces) == 4


def test_a_broken_space_leaves_the_experts_listed(site: Path) -> None:
    (site / "codenoise_space_tcga_cna" / "encoder.safetensors").unlink()
    inventory = discover(path=[str(site)])
    assert len(inventory.experts) == 2
    assert [broken.entry for broken in inventory.broken] == ["tcga-cna"]


def test_several_broken_plugins_are_all_listed(site: Path) -> None:
    _flip(site)
    (site / "codenoise_space_tcga_cna" / "space.json").write_text("{")
    assert _names(discover(path=[str(site)], checksums=True))[2] == ["rna-to-rppa", "tcga-cna"]


def test_checksums_are_compared_only_when_asked_for(site: Path) -> None:
    _flip(site)
    assert not discover(path=[str(site)]).broken
    assert discover(path=[str(site)], checksums=True).broken


@pytest.mark.parametrize("value", ["0", "", "no"])
def test_strict_is_off_unless_set_to_one(
    site: Path, monkeypatch: pytest.MonkeyPatch, value: str
) -> None:
    _entry(site, "nonsense")
    monkeypatch.setenv("CODENOISE_STRICT", value)
    assert len(discover(path=[str(site)]).broken) == 1


def test_strict_is_silent_where_nothing_is_broken(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODENOISE_STRICT", "1")
    assert len(discover(path=[str(site)], checksums=True).experts) == 2


def test_newer_minor_schema_is_usable_with_a_warning(site: Path) -> None:
    _manifest(site, schema_version="1.9", novelty=1)
    with pytest.warns(UserWarning, match=r"schema 1\.9"):
        inventory = discover(path=[str(site)])
    assert len(inventory.experts) == 2


def test_same_distribution_twice_on_the_path_counts_once(site: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    shutil.copytree(site, again)
    inventory = discover(path=[str(site), str(again), str(site)])
    assert (len(inventory.experts), len(inventory.spaces)) == (2, 4)
    assert {plugin.folder.parent for plugin in inventory.experts} == {site}


def test_spellings_of_a_distribution_name_count_as_the_same(
    site: Path, tmp_path: Path, put: Put
) -> None:
    put(tmp_path / "again", "expert-rna-to-rppa", distribution="Codenoise_Expert.rna-to-rppa")
    assert len(discover(path=[str(site), str(tmp_path / "again")]).experts) == 2


def test_first_on_the_path_wins_over_a_broken_copy(site: Path, tmp_path: Path, put: Put) -> None:
    put(tmp_path / "again", "expert-rna-to-rppa", change=lambda m: m.pop("license"))
    assert not discover(path=[str(site), str(tmp_path / "again")]).broken


def _rna_to_rppa(site: Path) -> list[Plugin[ExpertManifest]]:
    experts = discover(path=[str(site)]).experts
    return [plugin for plugin in experts if plugin.manifest.name == "rna-to-rppa"]


def test_twins_of_equal_content_count_once_and_keep_both_sources(site: Path, put: Put) -> None:
    put(site, "expert-rna-to-rppa", distribution="their-rppa")
    (plugin,) = _rna_to_rppa(site)
    assert plugin.source.label == DISTRIBUTION
    assert [source.label for source in plugin.also] == ["their-rppa"]
    assert plugin.comes_from(DISTRIBUTION)
    assert plugin.comes_from("their.RPPA")
    assert not plugin.comes_from("other-rppa")


def test_twins_of_different_content_are_both_listed(site: Path, put: Put) -> None:
    put(
        site,
        "expert-rna-to-rppa",
        distribution="their-rppa",
        change=lambda content: content.update(citation="Another."),
    )
    assert [p.source.label for p in _rna_to_rppa(site)] == [DISTRIBUTION, "their-rppa"]


def test_unrelated_distributions_are_not_read(site: Path) -> None:
    info = site / "other-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_bytes(b"\xff\xff")
    (info / "entry_points.txt").write_text("[console_scripts]\nother = other:main\n")
    with warnings.catch_warnings(action="error"):
        inventory = discover(path=[str(site)])
    assert len(inventory.experts) == 2
    assert not inventory.broken


def test_manifest_changed_after_its_installation_is_found_by_the_recorded_checksum(
    site: Path,
) -> None:
    manifest = site / PACKAGE / "expert.json"
    digest = hashlib.sha256(manifest.read_bytes()).digest()
    recorded = base64.urlsafe_b64encode(digest).rstrip(b"=").decode()
    record = _info(site) / "RECORD"
    line = f"{PACKAGE}/expert.json"
    record.write_text(record.read_text().replace(f"{line},,", f"{line},sha256={recorded},1"))
    assert not discover(path=[str(site)], checksums=True).broken
    content = json.loads(manifest.read_text())
    content["validation"]["mse"] = 0.0001  # would take nearly all the weight
    manifest.write_text(json.dumps(content))
    (broken,) = discover(path=[str(site)], checksums=True).broken
    assert "expert.json was changed after its installation" in broken.reason
