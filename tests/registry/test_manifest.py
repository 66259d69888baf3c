from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codenoise.core.base.errors import ArtifactError
from codenoise.registry.contract.manifest import (
    ExpertManifest,
    SpaceManifest,
)
from codenoise.registry.contract.manifest_file import read_manifest

Content = dict[str, Any]
PLUGINS = Path(__file__).parents[2] / "plugins"
EXPERT = PLUGINS / "codenoise-expert-rna-to-rppa/codenoise_expert_rna_to_rppa/expert.json"
SPACE = PLUGINS / "codenoise-space-tcga-rppa/codenoise_space_tcga_rppa/space.json"


@pytest.fixture
def refusal(tmp_path: Path) -> Callable[..., str]:
    """Why the bundled expert manifest is refused after a change of its content."""

    def apply(change: Callable[[Content], object]) -> str:
        content = json.loads(EXPERT.read_text())
        change(content)
        path = tmp_path / "expert.json"
        path.write_text(json.dumps(content))
        with pytest.raises(ArtifactError) as caught:
            read_manifest(path, ExpertManifest)
        message = str(caught.value)
        assert str(path) in message
        assert "\n" not in message
        return message.replace(str(path), "expert.json")

    return apply


@pytest.mark.parametrize("path", sorted(PLUGINS.glob("*/*/expert.json")), ids=lambda p: p.parts[-3])
def test_bundled_expert_manifests_read(path: Path) -> None:
    manifest = read_manifest(path, ExpertManifest)
    assert manifest.reference == f"{manifest.name}@{manifest.version}"
    source = "multi" if manifest.kind == "multi" else manifest.conditions
    assert manifest.name == f"{source}-to-{manifest.target.modality}"
    assert (manifest.kind == "multi") == (len(manifest.condition) > 1)


@pytest.mark.parametrize("path", sorted(PLUGINS.glob("*/*/space.json")), ids=lambda p: p.parts[-3])
def test_bundled_space_manifests_read_and_refer_to_themselves(path: Path) -> None:
    manifest = read_manifest(path, SpaceManifest)
    assert manifest.ref.model_dump() == manifest.model_dump(
        include={"modality", "name", "version", "digest", "dim"}
    )


def test_bundled_experts_refer_to_bundled_spaces() -> None:
    spaces = [read_manifest(p, SpaceManifest).ref for p in PLUGINS.glob("*/*/space.json")]
    for path in PLUGINS.glob("*/*/expert.json"):
        manifest = read_manifest(path, ExpertManifest)
        assert all(ref in spaces for ref in (*manifest.condition, manifest.target))


def test_manifests_do_not_change() -> None:
    manifest = read_manifest(SPACE, SpaceManifest)
    with pytest.raises(ValueError, match="frozen"):
        manifest.dim = 8


@pytest.mark.parametrize(
    ("change", "field", "nearest"),
    [
        (lambda m: m.update(licence="MIT"), "'licence'", "license"),
        (lambda m: m["validation"].update(r3=0.5), "'validation.r3'", "r2"),
        (lambda m: m["validation"].update(energy_scor=1), "'validation.energy_scor'", "energy"),
        (lambda m: m["condition"][0].update(dims=32), "'condition.0.dims'", "'dim'"),
        (lambda m: m["target"].update(modalty="x"), "'target.modalty'", "'modality'"),
        (
            lambda m: m["files"]["denoiser.safetensors"].update(sha265="x"),
            "denoiser.safetensors.sha265",
            "'sha256'",
        ),
        (lambda m: m.update({"zzz\n": 1}), r"'zzz\n'", "schema_version"),
    ],
    ids=["top", "r3", "validation", "condition", "target", "files", "nothing-near"],
)
def test_unknown_field_is_refused_with_the_nearest_known(
    refusal: Callable[..., str], change: Callable[[Content], object], field: str, nearest: str
) -> None:
    message = refusal(change)
    assert f"{field} is unknown" in message or f"{field}' is unknown" in message
    assert nearest in message.split("is unknown")[1]


Change = Callable[[Content], object]


def _second_condition(content: Content) -> None:
    content["condition"].append(content["condition"][0] | {"modality": "mirna"})


def _same_condition_twice(content: Content) -> None:
    content["kind"] = "multi"
    content["condition"].append(content["condition"][0])


FAULTS: dict[str, tuple[Change, str]] = {
    "source-without-licence": (
        lambda m: m.update(source_licenses=[{"name": "A table"}]),
        "'source_licenses.0.license' is missing",
    ),
    "source-unknown": (
        lambda m: m.update(source_licenses=[{"name": "A", "licence": "MIT"}]),
        "'source_licenses.0.",
    ),
    "missing": (lambda m: m.pop("license"), "'license' is missing"),
    "missing-nested": (lambda m: m["validation"].pop("mse"), "'validation.mse' is missing"),
    "missing-in-list": (lambda m: m["condition"][0].pop("digest"), "'condition.0.digest' is miss"),
    "text-for-list": (lambda m: m.update(authors="me"), "'authors'"),
    "text-for-number": (lambda m: m["validation"].update(n="many"), "'validation.n'"),
    "negative": (lambda m: m["validation"].update(mse=-1), "'validation.mse'"),
    "nan": (lambda m: m["validation"].update(mse=float("nan")), "validation.mse"),
    "infinity": (lambda m: m["validation"].update(mse=float("inf")), "validation.mse"),
    "two-conditions": (_second_condition, "a pair has one condition, not 2"),
    "condition-twice": (_same_condition_twice, "condition names a modality twice: rna, rna"),
    "stats-lacking": (lambda m: m["condition_stats"].pop(), "condition_stats has 0 entries"),
    "no-condition": (lambda m: m.update(condition=[]), "'condition'"),
    "other-kind": (lambda m: m.update(kind="space"), "'kind'"),
    "prediction": (lambda m: m.update(prediction="noise"), "'prediction'"),
    "schedule": (lambda m: m["schedule"].update(type="cosine"), "'schedule.type'"),
    "digest": (lambda m: m["target"].update(digest="sha256:abc"), "'target.digest'"),
    "dim": (lambda m: m["target"].update(dim=0), "'target.dim'"),
    "version": (lambda m: m.update(version="latest"), "'version'"),
    "version-control": (lambda m: m.update(version="0.1.0\n"), "'version'"),
    "engine": (lambda m: m.update(engine="newest"), "'engine'"),
    "name-escape": (lambda m: m.update(name="../../escape"), "'name'"),
    "name-slash": (lambda m: m.update(name="a/b"), "'name'"),
    "name-control": (lambda m: m.update(name="rna\x1b[2J"), "'name'"),
    "name-newline": (lambda m: m.update(name="rna\n"), "'name'"),
    "name-empty": (lambda m: m.update(name=""), "'name'"),
    "modality": (lambda m: m["target"].update(modality="../rppa"), "'target.modality'"),
    "file-escape": (lambda m: m["files"].update({"../a.json": m["files"].popitem()[1]}), "../a"),
    "file-code": (lambda m: m["files"].update({"run.py": m["files"].popitem()[1]}), "run.py"),
    "no-pair": (lambda m: m.update(target=m["condition"][0]), "both 'rna'"),
    "mean": (lambda m: m["condition_stats"][0].update(mean=[0.0]), "condition_stats.0.mean"),
    "factor": (lambda m: m["condition_stats"][0]["covariance_factor"].pop(), "covariance_factor"),
    "factor-row": (lambda m: m["condition_stats"][0]["covariance_factor"][3].pop(), "covariance_f"),
    "schema-number": (lambda m: m.update(schema_version=1), "schema_version"),
    "schema-word": (lambda m: m.update(schema_version="one"), "schema_version"),
    "schema-missing": (lambda m: m.pop("schema_version"), "schema_version"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_wrong_field_is_refused_by_file_and_name(refusal: Callable[..., str], fault: str) -> None:
    change, words = FAULTS[fault]
    assert words in refusal(change)


def test_several_faults_are_counted(refusal: Callable[..., str]) -> None:
    def change(content: Content) -> None:
        del content["license"], content["authors"], content["engine"]

    assert "(and 2 more)" in refusal(change)


def test_newer_major_schema_is_refused_naming_the_version_to_install(
    refusal: Callable[..., str],
) -> None:
    message = refusal(lambda m: m.update(schema_version="2.1", novelty=1))
    assert "schema 2.1" in message
    assert "pip install 'codenoise>=2'" in message


def test_newer_minor_schema_is_read_with_a_warning(tmp_path: Path) -> None:
    content = json.loads(EXPERT.read_text())
    content |= {"schema_version": "1.7", "novelty": {"a": 1}}
    content["validation"]["crps"] = 0.5
    path = tmp_path / "expert.json"
    path.write_text(json.dumps(content))
    with pytest.warns(UserWarning, match=r"schema 1\.7, newer than 1\.1"):
        manifest = read_manifest(path, ExpertManifest)
    original = read_manifest(EXPERT, ExpertManifest)
    assert manifest.model_copy(update={"schema_version": "1.1"}) == original


def test_schema_before_licences_of_sources_is_read_as_having_none(tmp_path: Path) -> None:
    content = json.loads(EXPERT.read_text()) | {"schema_version": "1.0"}
    assert [one["covers"] for one in content.pop("source_licenses")] == ["rna", "rppa"]
    path = tmp_path / "expert.json"
    path.write_text(json.dumps(content))
    assert read_manifest(path, ExpertManifest).source_licenses == []


def test_newer_minor_schema_still_has_to_be_right(refusal: Callable[..., str]) -> None:
    with warnings.catch_warnings(action="ignore"):
        message = refusal(lambda m: m.update(schema_version="1.7", prediction="noise"))
    assert "'prediction'" in message


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"{", "no JSON file"),
        (b"", "no JSON file"),
        (b"\xff\xfe\x00garbage", "no JSON file"),
        (b"[]", "one JSON object"),
        (b'"text"', "one JSON object"),
        (b"null", "one JSON object"),
    ],
)
def test_what_is_no_json_object_is_refused(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "space.json"
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=words) as caught:
        read_manifest(path, SpaceManifest)
    assert str(path) in str(caught.value)
    assert "reinstall" in str(caught.value)


def test_missing_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"space\.json is missing; reinstall"):
        read_manifest(tmp_path / "space.json", SpaceManifest)


def test_folder_in_place_of_a_manifest_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no JSON file"):
        read_manifest(tmp_path, SpaceManifest)


def test_expert_manifest_is_no_space_manifest() -> None:
    with pytest.raises(ArtifactError, match=r"expert\.json: field"):
        read_manifest(EXPERT, SpaceManifest)
