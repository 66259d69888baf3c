"""Files of an expert or a space: safetensors, checksums, reading and writing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codenoise.core.base.errors import ArtifactError, one_line
from codenoise.core.base.files import atomic_file
from codenoise.registry.contract.manifest import (
    EXPERT_FILE,
    SPACE_FILE,
    ExpertManifest,
    FileEntry,
    Manifest,
    SpaceManifest,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

IDENTITY_KEY = "codenoise_identity"
WEIGHTS_FILE, ENCODER_FILE = "denoiser.safetensors", "encoder.safetensors"
IDENTITY_FIELDS = ("name", "version", "kind", "condition", "target", "architecture", "prediction",
                   "schedule")  # fmt: skip
REINSTALL = "reinstall the package"
# A real header is a few kB; one of gigabytes is meant to fill the memory of whoever reads it.
MAX_HEADER_BYTES = 1_000_000


def identity_digest(fields: Mapping[str, Any]) -> str:
    """``sha256:`` of the canonical JSON of some fields."""
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def expert_identity(manifest: ExpertManifest) -> str:
    """Digest that ties a weights file to the manifest it belongs to."""
    return identity_digest(manifest.model_dump(mode="json", include=set(IDENTITY_FIELDS)))


def file_entry(path: Path) -> FileEntry:
    """Checksum and size of a file."""
    with path.open("rb") as opened:
        digest = hashlib.file_digest(opened, "sha256").hexdigest()
    return FileEntry(sha256=f"sha256:{digest}", bytes=path.stat().st_size)


def weights_file(manifest: Manifest) -> str:
    """Name of the safetensors file that a manifest of this kind has to list."""
    return ENCODER_FILE if isinstance(manifest, SpaceManifest) else WEIGHTS_FILE


def imposter(path: Path) -> str:
    """What a download left in place of the file: a Git LFS pointer, a web page; else empty."""
    with path.open("rb") as opened:
        start = opened.read(256).lstrip().lower()
    if start.startswith(b"version https://git-lfs.github.com/spec/"):
        return "is a Git LFS pointer in place of the file"
    if start.startswith((b"<!doctype html", b"<html")):
        return "is an HTML page in place of the file"
    return ""


def verify_files(
    folder: Path, manifest: Manifest, *, checksums: bool = True, mend: str = REINSTALL
) -> None:
    """Check that the manifest's files are there, of the right size and, if asked, unchanged.

    Parameters
    ----------
    folder
        Where the files are.
    manifest
        What they should be.
    checksums
        Whether to read them and compare checksums too.
    mend
        What to do where one fails.

    Raises
    ------
    ArtifactError
        Naming the first file that fails and how.
    """
    needed = weights_file(manifest)
    if needed not in manifest.files:
        file = folder / (SPACE_FILE if needed == ENCODER_FILE else EXPERT_FILE)
        raise ArtifactError(f"{file}: field 'files' does not name {needed}; {mend}")
    for name, wanted in manifest.files.items():
        path = folder / name
        if not path.is_file():
            raise ArtifactError(f"{path} is missing; {mend}")
        size = path.stat().st_size
        if size != wanted.bytes:
            hint = imposter(path) or ("is truncated" if size < wanted.bytes else "is another file")
            raise ArtifactError(
                f"{path} has {size} bytes, its manifest says {wanted.bytes}: it {hint}; {mend}"
            )
        if checksums and file_entry(path).sha256 != wanted.sha256:
            fault = imposter(path) or "differs from the checksum in its manifest"
            raise ArtifactError(f"{path} {fault}; {mend}")


def read_header(path: Path) -> tuple[dict[str, tuple[int, ...]], dict[str, str]]:
    """Shapes of the tensors of a safetensors file, and its metadata; reads no tensor.

    Raises
    ------
    ArtifactError
        If the file is missing, or its header is too long or cannot be read.
    """
    try:
        with path.open("rb") as opened:
            length = int.from_bytes(opened.read(8), "little")
            if length > MAX_HEADER_BYTES:
                raise ValueError(f"its header should take {length} bytes, over {MAX_HEADER_BYTES}")
            header = json.loads(opened.read(length))
        metadata = header.pop("__metadata__", {})
        return {name: tuple(entry["shape"]) for name, entry in header.items()}, dict(metadata)
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing; {REINSTALL}") from None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as problem:
        raise ArtifactError(
            f"{path} is no valid safetensors file: {one_line(problem)}; {REINSTALL}"
        ) from None


def verify_identity(folder: Path, manifest: Manifest, *, mend: str = REINSTALL) -> None:
    """Check that the weights were made for this manifest.

    Raises
    ------
    ArtifactError
        If the identity in the weights' metadata is another than the manifest's fields give.
    """
    path = folder / weights_file(manifest)
    _, metadata = read_header(path)
    if isinstance(manifest, SpaceManifest):
        made_for, fields = manifest.digest, "field 'digest'"
    elif isinstance(manifest, ExpertManifest):
        made_for, fields = expert_identity(manifest), f"fields {', '.join(IDENTITY_FIELDS)}"
    if metadata.get(IDENTITY_KEY) != made_for:
        raise ArtifactError(
            f"{path} was not made for {manifest.reference}: the identity in its metadata is "
            f"another than by the manifest's {fields}; {mend}"
        )


def save_tensors(
    tensors: Mapping[str, NDArray[Any]], path: Path, metadata: Mapping[str, str]
) -> None:
    """Write tensors as safetensors, whole or not at all."""
    import numpy as np
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
    import numpy as np
    from safetensors import SafetensorError, safe_open

    _, metadata = read_header(path)
    try:
        with safe_open(path, framework="np") as opened:
            tensors = {
                name: opened.get_tensor(name).astype(np.float32)
                for name in opened.keys()  # noqa: SIM118 (not a mapping)
            }
    except (OSError, SafetensorError, TypeError) as problem:
        raise ArtifactError(
            f"{path} is no valid safetensors file: {problem}; {REINSTALL}"
        ) from None
    return tensors, metadata


def check_finite(path: Path, tensors: Mapping[str, NDArray[np.float32]]) -> None:
    """Refuse tensors that hold what is no number, for whatever is made of it is none either.

    Raises
    ------
    ArtifactError
        Naming the first tensor and how many of its values are infinite or none.
    """
    import numpy as np

    for name, tensor in tensors.items():
        wrong = int((~np.isfinite(tensor)).sum())
        if wrong:
            raise ArtifactError(
                f"{path}: {wrong} of the {tensor.size} values of tensor {name!r} are no finite "
                f"numbers; ask its author for a sound one"
            )


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write a manifest as indented JSON, whole or not at all."""
    with atomic_file(path) as temporary:
        temporary.write_text(json.dumps(manifest.model_dump(mode="json"), indent=1) + "\n")
