"""Files of an expert or a space: safetensors, checksums, reading and writing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codenoise.core.errors import ArtifactError
from codenoise.core.files import atomic_file
from codenoise.registry.manifest import ExpertManifest, FileEntry, Manifest

IDENTITY_KEY = "codenoise_identity"
WEIGHTS_FILE, ENCODER_FILE = "denoiser.safetensors", "encoder.safetensors"


def identity_digest(fields: Mapping[str, Any]) -> str:
    """``sha256:`` of the canonical JSON of some fields."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def expert_identity(manifest: ExpertManifest) -> str:
    """Digest that ties a weights file to the manifest it belongs to."""
    fields = ("name", "version", "kind", "condition", "target", "architecture", "prediction",
              "schedule")  # fmt: skip
    return identity_digest(manifest.model_dump(mode="json", include=set(fields)))


def file_entry(path: Path) -> FileEntry:
    """Checksum and size of a file."""
    content = path.read_bytes()
    digest = hashlib.sha256(content).hexdigest()
    return FileEntry(sha256=f"sha256:{digest}", bytes=len(content))


def verify_files(folder: Path, manifest: Manifest, *, checksums: bool = True) -> None:
    """Check that the manifest's files are there, of the right size and, if asked, unchanged.

    Raises
    ------
    ArtifactError
        Naming the first file that fails and how.
    """
    for name, wanted in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"{path} is missing; reinstall the package")
        size = path.stat().st_size
        if size != wanted.bytes:
            raise ArtifactError(
                f"{path} has {size} bytes, its manifest says {wanted.bytes}; reinstall the package"
            )
        if checksums and file_entry(path).sha256 != wanted.sha256:
            raise ArtifactError(
                f"{path} differs from the checksum in its manifest; reinstall the package"
            )


def save_tensors(
    tensors: Mapping[str, NDArray[Any]], path: Path, metadata: Mapping[str, str]
) -> None:
    """Write tensors as safetensors, whole or not at all."""
    from safetensors.numpy import save_file

    with atomic_file(path) as temporary:
        save_file(
            {name: np.ascontiguousarray(tensor) for name, tensor in tensors.items()},
            temporary,
            dict(metadata),
        )


def load_tensors(path: Path) -> tuple[dict[str, NDArray[np.float32]], dict[str, str]]:
    """Read tensors and metadata of a safetensors file; half precision becomes float32.

    Raises
    ------
    ArtifactError
        If the file is missing or no valid safetensors.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="np") as opened:
            metadata = opened.metadata() or {}
            tensors = {
                name: opened.get_tensor(name).astype(np.float32)
                for name in opened.keys()  # noqa: SIM118 (not a mapping)
            }
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing; reinstall the package") from None
    except (OSError, SafetensorError, TypeError) as problem:
        raise ArtifactError(
            f"{path} is no valid safetensors file: {problem}; reinstall the package"
        ) from None
    return tensors, metadata


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest as indented JSON, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n")
