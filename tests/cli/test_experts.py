from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codenoise.registry.installed.discovery import discover

Done = Callable[..., str]
Run = Callable[..., Any]
PACKAGE = "codenoise_expert_rna_to_rppa"


def _change(path: Path, **fields: object) -> None:
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def _installed(site: Path) -> list[str]:
    """Distributions of experts, in the order of their names."""
    return sorted(p.name.replace("_", "-") for p in site.glob("codenoise_expert_*[!o]/"))


@pytest.fixture
def nothing(tmp_path: Path, only_these: Callable[[Path], None]) -> None:
    """Nothing is installed."""
    only_these(tmp_path)


def test_list_shows_every_expert(bank: Path, done: Done) -> None:
    lines = done("experts", "list").splitlines()
    installed = _installed(bank)
    assert lines[0].startswith(f"{len(installed)} experts")
    assert sum("@" in line for line in lines) == len(installed)
    (row,) = (line.split() for line in lines if line.lstrip().startswith("rna-to-rppa@"))
    assert row[:3] == ["rna-to-rppa@0.1.0", "rna", "rppa"]
    assert row[-1] == "codenoise-expert-rna-to-rppa"


def test_list_as_json(bank: Path, done: Done) -> None:
    content = json.loads(done("experts", "list", "--json"))
    assert content["broken"] == []
    assert [row["source"] for row in content["experts"]] == _installed(bank)
    assert set(content["experts"][0]) == {
        "expert", "condition", "target", "patients", "validation R2", "license", "conditions",
        "source",
    }  # fmt: skip


def test_list_says_which_conditions_come_with_what(bank: Path, done: Done) -> None:
    content = json.loads(done("experts", "list", "--json"))
    conditions = {row["expert"]: row["conditions"] for row in content["experts"]}
    assert conditions["cna-to-rppa@0.1.0"] == "copyleft"
    assert conditions["cna-to-wsi@0.1.0"] == "non-commercial, copyleft, share alike"
    assert content["conditions"] == {
        "non-commercial": {"CC-BY-NC-SA-4.0": ["wsi"]},
        "copyleft": {"GPL-2.0-only": ["cna", "mirna", "rppa"], "GPL-3.0-only": ["rna"]},
        "share alike": {"CC-BY-NC-SA-4.0": ["wsi"]},
    }
    assert done("experts", "list").splitlines()[-1] == (
        "conditions of use: non-commercial (CC-BY-NC-SA-4.0: wsi), copyleft (GPL-2.0-only: cna, "
        "mirna, rppa; GPL-3.0-only: rna), share alike (CC-BY-NC-SA-4.0: wsi)"
    )


def test_list_of_nothing_says_what_to_install(nothing: None, done: Done) -> None:
    assert "pip install one, e.g. codenoise-expert" in done("experts", "list")
    assert json.loads(done("experts", "list", "--json")) == {
        "experts": [], "broken": [], "conditions": {},
    }  # fmt: skip


def test_list_names_broken_experts_on_stderr(own_bank: Callable[[str], Path], run: Run) -> None:
    (own_bank(PACKAGE) / "denoiser.safetensors").unlink()
    ran = run("experts", "list")
    assert ran.code == 0
    assert ran.out.startswith(f"{len(_installed(own_bank(PACKAGE).parent)) - 1} experts")
    assert ran.err.count("\n") == 1
    assert ran.err.startswith("skipped: rna-to-rppa of codenoise-expert-rna-to-rppa 0.1.0: ")
    assert "denoiser.safetensors is missing; reinstall" in ran.err
    (broken,) = json.loads(run("experts", "list", "--json").out)["broken"]
    assert broken["entry"] == "rna-to-rppa"
    assert "is missing" in broken["reason"]


def test_strict_makes_a_broken_expert_fatal(
    own_bank: Callable[[str], Path],
    refused: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (own_bank(PACKAGE) / "denoiser.safetensors").unlink()
    monkeypatch.setenv("CODENOISE_STRICT", "1")
    message = refused("experts", "list")
    assert "codenoise-expert-rna-to-rppa 0.1.0, entry 'rna-to-rppa'" in message


def test_text_of_a_plugin_cannot_move_the_cursor(
    own_bank: Callable[[str], Path], done: Done
) -> None:
    _change(own_bank(PACKAGE) / "expert.json", license="MIT\x1b[2J[bold]x[/bold]")
    text = done("experts", "list")
    assert "\x1b" not in text
    assert "MIT?[2J[bold]x[/bold]" in text


def test_show_prints_the_manifest(bank: Path, done: Done) -> None:
    text = done("experts", "show", "rna-to-rppa")
    assert text.startswith("rna-to-rppa@0.1.0 (codenoise-expert-rna-to-rppa)")
    for field in ("condition.0.digest", "target.name", "validation.mse", "training.fingerprint"):
        assert field in text
    assert "condition_stats" not in text


@pytest.mark.parametrize("name", ["rna-to-rppa", "rna-to-rppa@0.1.0"])
def test_show_as_json(bank: Path, done: Done, name: str) -> None:
    (content,) = json.loads(done("experts", "show", name, "--json"))
    assert content["name"] == "rna-to-rppa"
    assert content["source"] == {
        "kind": "pip", "distribution": "codenoise-expert-rna-to-rppa", "version": "0.1.0",
    }  # fmt: skip
    assert len(content["condition_stats"][0]["mean"]) == 32


def test_show_of_two_versions_is_still_one_json_document(
    own_bank: Callable[[str], Path], done: Done
) -> None:
    folder = own_bank(PACKAGE)
    site = folder.parent
    shutil.copytree(folder, site / "their_rppa")
    _change(site / "their_rppa" / "expert.json", version="0.2.0")
    info = site / "their_rppa-0.2.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: their-rppa\nVersion: 0.2.0\n")
    (info / "entry_points.txt").write_text(
        "[codenoise.experts]\nrna-to-rppa = their_rppa:expert.json\n"
    )
    (info / "RECORD").write_text("their_rppa/expert.json,,\ntheir_rppa/denoiser.safetensors,,\n")
    text = done("experts", "show", "rna-to-rppa", "--json")
    json.loads(text)
    assert "0.2.0" in text
    assert "their-rppa" in text


def test_show_of_an_unknown_expert_names_the_installed(
    bank: Path, refused: Callable[..., str]
) -> None:
    message = refused("experts", "show", "rna-to-rpa")
    assert message.startswith("expert 'rna-to-rpa' is not installed; installed: cna-to-")


def test_show_of_a_broken_expert_gives_the_reason(
    own_bank: Callable[[str], Path], refused: Callable[..., str]
) -> None:
    (own_bank(PACKAGE) / "expert.json").write_text("{")
    message = refused("experts", "show", "rna-to-rppa")
    assert message.startswith("expert 'rna-to-rppa' is broken: ")
    assert "expert.json is no JSON file" in message


def test_check_passes_the_bundled_bank(bank: Path, done: Done) -> None:
    number = len(list(bank.glob("*.dist-info")))
    assert done("experts", "check").count("   ok\n") == number
    content = json.loads(done("experts", "check", "--json"))
    assert [finding["ok"] for finding in content] == [True] * number
    assert set(content[0]) == {
        "kind", "reference", "source", "ok", "reason", "remedy", "target",
    }  # fmt: skip


def test_check_of_nothing_is_fine(nothing: None, done: Done) -> None:
    assert done("experts", "check") == "nothing is installed to check\n"
    assert json.loads(done("experts", "check", "--json")) == []


def test_check_reads_checksums(own_bank: Callable[[str], Path], run: Run) -> None:
    path = own_bank(PACKAGE) / "denoiser.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert run("experts", "list").err == ""
    ran = run("experts", "check", "--json")
    assert ran.code == 1
    (finding,) = (f for f in json.loads(ran.out) if not f["ok"])
    assert finding["kind"] == "broken"
    assert "differs from the checksum" in finding["reason"]
    assert finding["remedy"] == (
        "pip install --force-reinstall codenoise-expert-rna-to-rppa==0.1.0"
    )


def test_check_says_what_mends_a_misfit(own_bank: Callable[[str], Path], run: Run) -> None:
    _change(own_bank(PACKAGE) / "expert.json", engine=">=7")
    site = own_bank(PACKAGE).parent
    experts = discover().experts
    shutil.rmtree(site / "codenoise_space_tcga_wsi-0.1.0.dist-info")
    ran = run("experts", "check", "--json")
    assert ran.code == 1
    mends = {f["reference"]: f["remedy"] for f in json.loads(ran.out) if not f["ok"]}
    wsi = [
        p.reference
        for p in experts
        if "wsi" in {ref.modality for ref in (*p.manifest.condition, p.manifest.target)}
    ]
    assert "multi-to-rppa@0.1.0" in wsi
    assert mends == dict.fromkeys(wsi, "pip install 'codenoise-space-tcga-wsi==0.1.0'") | {
        "rna-to-rppa@0.1.0": "pip install 'codenoise>=7'"
    }
    plain = run("experts", "check")
    assert plain.code == 1
    assert "pip install 'codenoise>=7'" in plain.out


def _found(done: Done, *words: str) -> list[str]:
    content = json.loads(done("experts", "search", *words, "--json"))
    return [row["expert"].partition("@")[0] for row in content["experts"]]


@pytest.mark.parametrize(
    ("words", "found"),
    [
        (["rna-to-rppa"], ["mirna-to-rppa", "rna-to-rppa"]),
        (["RNA-to-RPPA", "--condition", "rna"], ["rna-to-rppa"]),
        (["nothing-of-this"], []),
        (["--target", "lipids"], []),
        (["rna-to-rppa", "--target", "cna"], []),
    ],
    ids=" ".join,
)
def test_search_finds_by_text_and_modality(
    bank: Path, done: Done, words: list[str], found: list[str]
) -> None:
    assert _found(done, *words) == found


@pytest.mark.parametrize(
    ("words", "condition"),
    [(["--condition", "rna"], "rna"), (["PORPOISE"], "rna"), (["cc-by-nc"], "wsi")],
    ids=["condition", "citation", "license"],
)
def test_search_finds_an_expert_of_several_conditions_by_each(
    bank: Path, done: Done, words: list[str], condition: str
) -> None:
    into = [p.manifest for p in discover().experts if p.manifest.target.modality == "rppa"]
    wanted = [m.name for m in into if condition in {ref.modality for ref in m.condition}]
    assert {"multi-to-rppa", f"{condition}-to-rppa"} <= set(wanted)
    assert _found(done, *words, "--target", "rppa") == wanted


def test_search_without_words_lists_everything(bank: Path, done: Done) -> None:
    assert done("experts", "search") == done("experts", "list")


def test_search_that_finds_nothing_says_where_else_to_look(bank: Path, done: Done) -> None:
    assert done("experts", "search", "lipids") == (
        "nothing that is installed matches; --hub searches the Hugging Face Hub\n"
    )


def test_verify_rereads_everything(bank: Path, done: Done) -> None:
    number = len(list(bank.glob("*.dist-info")))
    content = json.loads(done("experts", "verify", "--json"))
    assert [finding["ok"] for finding in content] == [True] * number
    assert done("experts", "verify").count("   ok\n") == number


def test_verify_of_some(bank: Path, done: Done) -> None:
    content = json.loads(done("experts", "verify", "rna-to-rppa", "tcga-rna@0.1.0", "--json"))
    assert [finding["reference"] for finding in content] == ["rna-to-rppa@0.1.0", "tcga-rna@0.1.0"]


def test_verify_of_an_unknown_name_is_refused(bank: Path, refused: Callable[..., str]) -> None:
    assert refused("experts", "verify", "rna-to-rppa", "lipids") == (
        "'lipids': nothing of this name is installed; see 'codenoise experts list' and "
        "'codenoise spaces list'"
    )


def test_verify_finds_a_changed_byte_and_says_what_mends_it(
    own_bank: Callable[[str], Path], run: Run
) -> None:
    path = own_bank(PACKAGE) / "denoiser.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    ran = run("experts", "verify", "rna-to-rppa", "--json")
    assert ran.code == 1
    (finding,) = json.loads(ran.out)
    assert finding["reason"] == (
        f"{path} differs from the checksum in its manifest; reinstall the package"
    )
    assert finding["remedy"] == (
        "pip install --force-reinstall codenoise-expert-rna-to-rppa==0.1.0"
    )
    assert run("experts", "verify", "cna-to-rppa").code == 0


def test_verify_finds_a_manifest_that_the_weights_were_not_made_for(
    own_bank: Callable[[str], Path], run: Run
) -> None:
    _change(own_bank(PACKAGE) / "expert.json", prediction="x0")
    ran = run("experts", "verify", "rna-to-rppa", "--json")
    assert ran.code == 1
    (finding,) = json.loads(ran.out)
    assert "was not made for rna-to-rppa@0.1.0" in finding["reason"]
    assert finding["reason"].endswith(f"; {finding['remedy']}")


def test_verify_does_not_mind_the_engine(own_bank: Callable[[str], Path], run: Run) -> None:
    _change(own_bank(PACKAGE) / "expert.json", engine=">=7")
    assert run("experts", "verify", "rna-to-rppa").code == 0
    assert run("experts", "check").code == 1
