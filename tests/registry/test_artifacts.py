from __future__ import annotations

import json
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codenoise.core.base.errors import ArtifactError
from codenoise.registry.contract.artifacts import (
    WEIGHTS_FILE,
    expert_identity,
    file_entry,
    identity_digest,
    imposter,
    load_tensors,
    read_header,
    save_tensors,
    verify_files,
    verify_identity,
    write_manifest,
)
from codenoise.registry.contract.manifest import (
    ExpertManifest,
)
from codenoise.registry.contract.manifest_file import read_manifest

FOLDER = (
    Path(__file__).parents[2] / "plugins/codenoise-expert-rna-to-rppa/codenoise_expert_rna_to_rppa"
)


@pytest.fixture
def manifest() -> ExpertManifest:
    return read_manifest(FOLDER / "expert.json", ExpertManifest)


def test_tensors_and_metadata_survive_a_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    save_tensors({"m": matrix, "transposed": matrix.T, "empty": matrix[:0]}, path, {"key": "value"})
    tensors, metadata = load_tensors(path)
    assert metadata == {"key": "value"}
    assert set(tensors) == {"m", "transposed", "empty"}
    np.testing.assert_array_equal(tensors["m"], matrix)
    np.testing.assert_array_equal(tensors["transposed"], matrix.T)
    assert tensors["empty"].shape == (0, 3)


def test_half_precision_becomes_float32(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    half = np.array([0.1, -2.5, 6e4], dtype=np.float16)
    save_tensors({"half": half, "count": np.array(7)}, path, {})
    tensors, _ = load_tensors(path)
    assert {tensor.dtype for tensor in tensors.values()} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(tensors["half"], half.astype(np.float32))
    assert tensors["count"] == 7


def test_saving_is_reproducible_and_leaves_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "new" / "a.safetensors"
    written = []
    for _ in range(2):
        save_tensors({"b": np.ones(3), "a": np.zeros(2)}, path, {"key": "value"})
        written.append(path.read_bytes())
    assert written[0] == written[1]
    assert list(path.parent.iterdir()) == [path]


def test_failed_saving_keeps_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(b"old")
    with pytest.raises(Exception, match="object"):
        save_tensors({"a": np.array([object()])}, path, {})
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kept", [0, 4, 100, 100_000])
def test_truncated_tensors_are_refused(tmp_path: Path, kept: int) -> None:
    path = tmp_path / WEIGHTS_FILE
    path.write_bytes((FOLDER / WEIGHTS_FILE).read_bytes()[:kept])
    with pytest.raises(ArtifactError, match=r"no valid safetensors file.*reinstall") as caught:
        load_tensors(path)
    assert str(path) in str(caught.value)


class _Bomb:
    """Creates a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


def test_pickle_is_refused_and_not_run(tmp_path: Path) -> None:
    path = tmp_path / WEIGHTS_FILE
    path.write_bytes(pickle.dumps(_Bomb(tmp_path / "ran")))
    with pytest.raises(ArtifactError, match="no valid safetensors"):
        load_tensors(path)
    assert not (tmp_path / "ran").exists()


def test_missing_tensors_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"a\.safetensors is missing; reinstall"):
        load_tensors(tmp_path / "a.safetensors")


def test_folder_in_place_of_tensors_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="no valid safetensors"):
        load_tensors(tmp_path)


def test_unchanged_files_pass(manifest: ExpertManifest) -> None:
    verify_files(FOLDER, manifest)


def test_missing_file_is_refused(manifest: ExpertManifest, tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match=r"denoiser\.safetensors is missing; reinstall"):
        verify_files(tmp_path, manifest, checksums=False)


def test_other_size_is_refused_without_checksums(manifest: ExpertManifest, tmp_path: Path) -> None:
    content = (FOLDER / WEIGHTS_FILE).read_bytes()
    (tmp_path / WEIGHTS_FILE).write_bytes(content[:-1])
    with pytest.raises(ArtifactError, match=f"has {len(content) - 1} bytes.*{len(content)}"):
        verify_files(tmp_path, manifest, checksums=False)


def test_other_content_is_refused_with_checksums(manifest: ExpertManifest, tmp_path: Path) -> None:
    content = bytearray((FOLDER / WEIGHTS_FILE).read_bytes())
    content[-1] ^= 1
    (tmp_path / WEIGHTS_FILE).write_bytes(content)
    verify_files(tmp_path, manifest, checksums=False)
    with pytest.raises(ArtifactError, match="differs from the checksum") as caught:
        verify_files(tmp_path, manifest)
    assert str(tmp_path / WEIGHTS_FILE) in str(caught.value)


def test_file_entry_is_size_and_sha256(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    entry = file_entry(tmp_path / "a")
    assert entry.bytes == 3
    assert entry.sha256 == (
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    )


@pytest.mark.parametrize(
    "change",
    [
        {"name": "other"},
        {"version": "0.1.1"},
        {"prediction": "epsilon"},
        {"condition": {"digest": f"sha256:{'0' * 64}"}},
        {"target": {"digest": f"sha256:{'0' * 64}"}},
        {"target": {"dim": 31}},
        {"architecture": {"name": "other"}},
        {"architecture": {"parameters": {"width": 1}}},
        {"schedule": {"parameters": {"steps": 10.0}}},
    ],
    ids=str,
)
def test_identity_changes_with_each_of_its_fields(
    manifest: ExpertManifest, change: dict[str, Any]
) -> None:
    content = manifest.model_dump(mode="json")
    for field, value in change.items():
        if field == "condition":
            content["condition"][0] |= value
        elif isinstance(value, dict):
            content[field] |= value
        else:
            content[field] = value
    changed = ExpertManifest.model_validate(content)
    assert expert_identity(changed) != expert_identity(manifest)


@pytest.mark.parametrize("field", ["license", "citation", "engine"])
def test_identity_does_not_depend_on_what_is_said_about_the_expert(
    manifest: ExpertManifest, field: str
) -> None:
    changed = manifest.model_copy(update={field: "<9", "files": {}})
    assert expert_identity(changed) == expert_identity(manifest)


@settings(deadline=None)
@given(st.dictionaries(st.text(max_size=5), st.integers() | st.text(max_size=5), min_size=1))
def test_digest_ignores_the_order_of_fields_and_nothing_else(fields: dict[str, Any]) -> None:
    assert identity_digest(dict(reversed(fields.items()))) == identity_digest(fields)
    first = next(iter(fields))
    assert identity_digest(fields | {first: [fields[first]]}) != identity_digest(fields)


def test_written_manifest_reads_as_the_same(manifest: ExpertManifest, tmp_path: Path) -> None:
    path = tmp_path / "expert.json"
    write_manifest(manifest, path)
    assert read_manifest(path, ExpertManifest) == manifest
    assert path.read_text().endswith("}\n")


def test_written_manifest_is_whole_or_not_there(
    manifest: ExpertManifest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(json, "dumps", full)
    with pytest.raises(OSError, match="no space left"):
        write_manifest(manifest, tmp_path / "expert.json")
    assert not list(tmp_path.iterdir())


def _with_header(path: Path, header: bytes, length: int | None = None) -> Path:
    path.write_bytes((len(header) if length is None else length).to_bytes(8, "little") + header)
    return path


@pytest.mark.parametrize(
    ("header", "length", "words"),
    [
        (b"{}", 2**63, f"its header should take {2**63} bytes, over 1000000"),
        (b"{}", 1_000_001, "its header should take 1000001 bytes, over 1000000"),
        (b"[]", None, "no valid safetensors file"),
        (b'{"a": 3}', None, "no valid safetensors file"),
        (b'{"a": {"shape": 3}}', None, "no valid safetensors file"),
        (b'{"__metadata__": 3}', None, "no valid safetensors file"),
        (b"[" * 99_999, None, "no valid safetensors file"),
        (b"\xff", None, "no valid safetensors file"),
    ],
    ids=["endless", "long", "list", "number", "shape", "metadata", "deep", "binary"],
)
def test_bad_headers_are_refused_before_the_file_is_read(
    tmp_path: Path, header: bytes, length: int | None, words: str
) -> None:
    path = _with_header(tmp_path / "a.safetensors", header, length)
    for read in (read_header, load_tensors):
        with pytest.raises(ArtifactError) as caught:
            read(path)
        assert words in str(caught.value)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_header_gives_shapes_and_metadata(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    save_tensors({"m": np.ones((2, 3)), "v": np.ones(4)}, path, {"key": "value"})
    assert read_header(path) == ({"m": (2, 3), "v": (4,)}, {"key": "value"})


def test_weights_made_for_the_manifest_pass(manifest: ExpertManifest) -> None:
    verify_identity(FOLDER, manifest)


def test_weights_made_for_another_manifest_are_refused(manifest: ExpertManifest) -> None:
    with pytest.raises(ArtifactError, match=r"denoiser\.safetensors was not made for other@0\.1"):
        verify_identity(FOLDER, manifest.model_copy(update={"name": "other"}))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "is a Git LFS pointer in place of the"),
        (b"  <!DOCTYPE html>", "is an HTML page in place of the file"),
        (b"\n<HTML>", "is an HTML page in place of the file"),
        (b"", ""),
        (b"\0\0", ""),
    ],
)
def test_what_came_in_place_of_a_file_is_known(tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "a").write_bytes(content)
    assert imposter(tmp_path / "a").startswith(words)
    assert bool(imposter(tmp_path / "a")) == bool(words)


def test_the_mend_is_that_of_the_source(manifest: ExpertManifest, tmp_path: Path) -> None:
    with pytest.raises(
        ArtifactError, match=r"denoiser\.safetensors is missing; codenoise pull a/b"
    ):
        verify_files(tmp_path, manifest, mend="codenoise pull a/b")
