from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codenoise.core.base.errors import first_few
from codenoise.registry.ensembles.recipe import read_recipe
from codenoise.registry.installed.discovery import discover

Done = Callable[..., str]
Refused = Callable[..., str]


def test_recipe_is_written_and_shown(bank: Path, tmp_path: Path, done: Done) -> None:
    path = tmp_path / "new" / "ensemble.toml"
    text = done("compose", "--target", "rppa", "--output", path)
    assert f"written to {path}" in text.replace("\n", "")
    for condition in ("cna", "rna", "wsi"):
        assert f"{condition}-to-rppa@0.1.0" in text
    recipe = read_recipe(path)
    assert recipe.targets == ["rppa"]
    assert len(recipe.experts) >= 3


def test_settings_are_written(bank: Path, tmp_path: Path, done: Done) -> None:
    path = tmp_path / "ensemble.toml"
    done(
        "compose", "-o", path, "--weighting", "uniform", "--threshold", 0.8, "--max-incoherent",
        0.2, "--max-retries", 2, "--steps", 7,
    )  # fmt: skip
    recipe = read_recipe(path)
    assert recipe.weighting == "uniform"
    assert recipe.coherence.model_dump() == {
        "threshold": 0.8, "max_incoherent_fraction": 0.2, "max_retries": 2,
    }  # fmt: skip
    assert recipe.sampler.steps == 7


def test_ancestral_sampling_takes_all_steps_by_default(
    bank: Path, tmp_path: Path, done: Done
) -> None:
    done("compose", "-o", tmp_path / "a.toml", "--sampler", "ddpm")
    sampler = read_recipe(tmp_path / "a.toml").sampler
    assert (sampler.name, sampler.steps) == ("ddpm", 1000)


def test_output_is_ensemble_toml_by_default(
    bank: Path, tmp_path: Path, done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    done("compose", "--expert", "rna-to-rppa>=0.1,<1")
    assert [expert.name for expert in read_recipe(Path("ensemble.toml")).experts] == ["rna-to-rppa"]


def test_json_holds_recipe_and_experts(bank: Path, tmp_path: Path, done: Done) -> None:
    content = json.loads(done("compose", "--target", "rppa", "-o", tmp_path / "a.toml", "--json"))
    assert content["recipe"]["targets"] == ["rppa"]
    assert {"cna", "rna", "wsi"} <= {row["condition"] for row in content["experts"]}


def test_dry_run_writes_nothing(bank: Path, tmp_path: Path, done: Done) -> None:
    path = tmp_path / "ensemble.toml"
    assert "would be written" in done("compose", "-o", path, "--dry-run")
    json.loads(done("compose", "-o", path, "--dry-run", "--json"))
    assert not list(tmp_path.iterdir())


def test_recipe_that_is_there_is_kept_unless_asked(
    bank: Path, tmp_path: Path, done: Done, refused: Refused
) -> None:
    path = tmp_path / "ensemble.toml"
    path.write_text("precious")
    assert refused("compose", "-o", path) == (
        f"{path} is already there; give another --output, or --overwrite"
    )
    done("compose", "-o", path, "--dry-run")
    assert path.read_text() == "precious"
    done("compose", "-o", path, "--overwrite")
    assert len(read_recipe(path).experts) >= 12


@pytest.mark.parametrize("name", ["a[bold].toml", "[/x].toml"])
def test_brackets_of_a_path_are_shown_as_they_are(
    bank: Path, tmp_path: Path, done: Done, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"written to {name}" in done("compose", "-o", name)
    assert Path(name).exists()


def test_refused_choice_writes_nothing(bank: Path, tmp_path: Path, refused: Refused) -> None:
    path = tmp_path / "ensemble.toml"
    message = refused("compose", "--target", "lipids", "-o", path)
    assert message.startswith("no installed expert generates 'lipids'; installed experts generate ")
    assert "rna, rppa, wsi" in message
    assert not list(tmp_path.iterdir())


def test_nothing_installed_is_refused(
    tmp_path: Path, only_these: Callable[[Path], None], refused: Refused
) -> None:
    only_these(tmp_path)
    assert "pip install" in refused("compose", "-o", tmp_path / "a.toml")


@pytest.mark.parametrize("overwrite", [[], ["--overwrite"]])
def test_folder_in_place_of_the_recipe_is_refused(
    bank: Path, tmp_path: Path, refused: Refused, overwrite: list[str]
) -> None:
    assert str(tmp_path) in refused("compose", "-o", tmp_path, *overwrite)


def test_output_below_a_file_is_refused(bank: Path, tmp_path: Path, refused: Refused) -> None:
    (tmp_path / "file").write_text("x")
    assert str(tmp_path / "file") in refused("compose", "-o", tmp_path / "file" / "a.toml")


def test_broken_experts_are_named_on_stderr(
    own_bank: Callable[[str], Path], tmp_path: Path, run: Callable[..., Any]
) -> None:
    (own_bank("codenoise_expert_rna_to_rppa") / "expert.json").unlink()
    ran = run("compose", "--target", "rppa", "-o", tmp_path / "a.toml")
    assert ran.code == 0
    assert ran.err.startswith("skipped: rna-to-rppa of codenoise-expert-rna-to-rppa 0.1.0: ")
    assert " rna-to-rppa@" not in ran.out


def test_modalities_restrict_both_ends(bank: Path, done: Done) -> None:
    text = done("compose", "--modality", "rna", "--modality", "cna", "--dry-run", "--json")
    chosen = {row["expert"].partition("@")[0] for row in json.loads(text)["experts"]}
    assert chosen == {"rna-to-cna", "cna-to-rna"}


def test_modalities_without_an_expert_between_them_are_refused(
    bank: Path, refused: Callable[..., str]
) -> None:
    message = refused("compose", "--modality", "rna", "--modality", "mri", "--dry-run")
    assert "no usable expert" in message


def test_explain_says_why_each_was_taken_or_left(bank: Path, done: Done) -> None:
    words = ("compose", "--target", "rppa", "--modality", "rna", "--modality", "rppa", "--explain")
    lines = done(*words, "--dry-run").partition("\nwhy\n")[2].splitlines()
    rows = {line.split()[3]: " ".join(line.split()) for line in lines[2:]}
    (taken,) = (p.manifest for p in discover().experts if p.reference == "rna-to-rppa@0.1.0")
    assert rows[taken.reference].endswith(
        f"taken the only expert of this pair; validation MSE {taken.validation.mse:.3f}"
    )
    assert rows["cna-to-rppa@0.1.0"].endswith("left cna is not among the modalities --modality cna")
    assert rows["rna-to-wsi@0.1.0"].endswith("--target wsi")


def test_explain_as_json(bank: Path, done: Done) -> None:
    content = json.loads(done("compose", "--target", "rppa", "--explain", "--dry-run", "--json"))
    taken = {one["expert"] for one in content["explanation"] if one["chosen"]}
    assert taken == {row["expert"] for row in content["experts"]}
    plain = json.loads(done("compose", "--target", "rppa", "--dry-run", "--json"))
    assert "explanation" not in plain


def test_explain_helps_where_nothing_could_be_composed(bank: Path, run: Callable[..., Any]) -> None:
    ran = run("compose", "--target", "rppa", "--target", "lipids", "--explain", "--dry-run")
    assert ran.code == 1
    assert ran.out.startswith("why\n")
    assert "usable; nothing was composed" in ran.out
    assert ran.err.startswith("error: no installed expert generates 'lipids'; ")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--target", "rpa"],
            "no installed expert generates 'rpa' (did you mean 'rppa'?); installed experts "
            "generate cna, mirna, rna, rppa, wsi; pip install one, then see 'codenoise experts "
            "list'",
        ),
        (
            ["--modality", "rna", "--modality", "rpa"],
            "no usable expert has the modality 'rpa' (did you mean 'rppa'?); usable experts have "
            "cna, mirna, rna, rppa, wsi",
        ),
        (
            ["--target", "mirna", "--modality", "rna", "--modality", "rppa"],
            "no expert generates 'mirna' from the modalities rna, rppa; installed experts "
            "generate it from cna, rna, rppa, rna+rppa+cna+wsi; name mirna and one of these (all "
            "that a '+' joins) with --modality",
        ),
    ],
)
def test_what_cannot_be_composed_says_what_comes_closest(
    bank: Path, refused: Refused, words: list[str], message: str
) -> None:
    assert refused("compose", "--dry-run", *words) == message


def test_named_experts_of_other_targets_are_told_which_would_do(
    bank: Path, refused: Refused
) -> None:
    there = sorted(p.manifest.name for p in discover().experts if p.manifest.name.endswith("-wsi"))
    assert refused("compose", "--dry-run", "--target", "wsi", "--expert", "rna-to-rppa") == (
        "none of the named experts generates 'wsi'; installed ones that do: "
        f"{first_few(there)}; name one with --expert"
    )


def test_an_unusable_expert_of_the_pair_is_the_closest_mend(
    own_bank: Callable[[str], Path], refused: Refused
) -> None:
    manifest = own_bank("codenoise_expert_rna_to_rppa") / "expert.json"
    content = json.loads(manifest.read_text()) | {"engine": ">=7"}
    manifest.write_text(json.dumps(content))
    words = ("--target", "rppa", "--modality", "rna", "--modality", "rppa")
    message = refused("compose", "--dry-run", *words)
    assert message.startswith(
        "no usable expert generates 'rppa': rna-to-rppa@0.1.0 needs codenoise"
    )
    assert message.endswith("; pip install 'codenoise>=7'")


def test_conditions_of_use_are_said(bank: Path, done: Done) -> None:
    words = ("compose", "--dry-run", "--modality", "cna", "--modality", "wsi")
    assert done(*words).splitlines()[-1] == (
        "conditions of use: non-commercial (CC-BY-NC-SA-4.0: wsi), copyleft (GPL-2.0-only: cna), "
        "share alike (CC-BY-NC-SA-4.0: wsi)"
    )
    content = json.loads(done(*words, "--json"))
    assert content["conditions"]["non-commercial"] == {"CC-BY-NC-SA-4.0": ["wsi"]}
    assert "left_out" not in content


def test_commercial_leaves_out_and_says_what_and_why(
    bank: Path, tmp_path: Path, done: Done
) -> None:
    path = tmp_path / "product.toml"
    text = done("compose", "--commercial", "-o", path)
    names = {expert.name for expert in read_recipe(path).experts}
    assert names == {p.manifest.name for p in discover().experts if "NC" not in p.manifest.license}
    assert len(names) == 12
    assert "conditions of use: copyleft (GPL-2.0-only: cna, mirna, rppa; GPL-3.0-only: rna)" in text
    rows = text.partition("left out, as not cleared for commercial use\n")[2].splitlines()[2:]
    assert rows[0].split(maxsplit=2) == [
        "space", "tcga-wsi@0.1.0", "non-commercial (CC-BY-NC-SA-4.0: wsi)",
    ]  # fmt: skip
    assert len(rows) == 1 + len(discover().experts) - 12
    content = json.loads(done("compose", "--commercial", "--dry-run", "--json"))
    assert len(content["left_out"]) == len(rows)
    assert content["left_out"][0] == {
        "kind": "space",
        "left out": "tcga-wsi@0.1.0",
        "why": "non-commercial (CC-BY-NC-SA-4.0: wsi)",
    }


def test_an_unknown_licence_is_not_cleared(
    own_bank: Callable[[str], Path], done: Done, refused: Refused
) -> None:
    manifest = own_bank("codenoise_expert_rna_to_rppa") / "expert.json"
    content = json.loads(manifest.read_text()) | {"license": "LicenseRef-Lab"}
    manifest.write_text(json.dumps(content))
    words = ("compose", "--dry-run", "--expert", "rna-to-rppa")
    assert "conditions of use: unknown: ask the author (LicenseRef-Lab: rna-to-rppa), " in done(
        *words
    )
    assert refused(*words, "--commercial").startswith(
        "no expert is cleared for commercial use: rna-to-rppa@0.1.0 is unknown: ask the author "
        "(LicenseRef-Lab: rna-to-rppa); ask its author"
    )
