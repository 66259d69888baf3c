"""Experts and spaces from the Hugging Face Hub, pinned to a commit.

A model repository holds one artifact, in the same files as its package, byte for byte::

    expert.json                      manifest (a space's repository: space.json)
    denoiser.safetensors             weights  (a space's repository: encoder.safetensors)
    README.md                        model card, with the tag ``codenoise``
    spaces/NAME/space.json           one folder for each space that the expert names,
    spaces/NAME/encoder.safetensors  NAME being the space's own name
    spaces/NAME/README.md            (optional)

A folder on disk is added from the same layout. Only the files that a manifest names are fetched,
beside the manifests and README.md; everything else in a repository is left where it is.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from codenoise.core.base.errors import ArtifactError, one_line
from codenoise.registry.contract.artifacts import imposter
from codenoise.registry.contract.folders import (
    MAX_MANIFEST_BYTES,
    bundled_space,
    read_bounded,
    spaces_of,
)
from codenoise.registry.contract.manifest import (
    EXPERT_FILE,
    SPACE_FILE,
    ExpertManifest,
    SpaceManifest,
)
from codenoise.registry.contract.sources import COMMIT, HubRepository
from codenoise.registry.installed.store import CARD_FILE

if TYPE_CHECKING:
    from huggingface_hub import HfApi

MAX_WEIGHTS_BYTES, MAX_CARD_BYTES = 8_000_000_000, 1_000_000
_REFERENCE = re.compile(r"([A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*)(?:@([\w./-]+))?", re.ASCII)
# Seconds without an answer; downloads have a limit of the library's own, HF_HUB_DOWNLOAD_TIMEOUT.
_LOOK_UP_TIMEOUT = 30.0


@dataclass(frozen=True)
class HubCommit:
    """A repository's files at a commit, with the sizes it states."""

    source: HubRepository
    sizes: Mapping[str, int]

    def size(self, path: str, limit: int) -> int:
        """Size of a file that has to be there and may have ``limit`` bytes.

        Raises
        ------
        ArtifactError
            If it is not there, or larger.
        """
        size = self.sizes.get(path)
        if size is None:
            raise ArtifactError(
                f"{self.source.label} has no {path}; pull another revision, or tell its author"
            )
        if size > limit:
            raise ArtifactError(
                f"{path} of {self.source.label} has {size} bytes, over the {limit} that it may "
                f"have; nothing was fetched"
            )
        return size


def split_reference(text: str) -> tuple[str, str | None]:
    """Repository and revision of ``org/name[@revision]``.

    Raises
    ------
    ArtifactError
        If the text does not read like that.
    """
    matched = _REFERENCE.fullmatch(text)
    if matched is None:
        raise ArtifactError(
            f"{text!r} should read like 'org/name' or 'org/name@revision', as in the address "
            f"of the repository on the Hub"
        )
    return matched[1], matched[2]


def search_hub(text: str, tags: Sequence[str] = (), *, limit: int = 50) -> list[dict[str, str]]:
    """Repositories on the Hub that carry the tag ``codenoise``, the most downloaded first.

    Parameters
    ----------
    text
        Part of a repository's name; all if empty.
    tags
        Only repositories with these tags too, such as a modality.
    limit
        At most so many.

    Raises
    ------
    ArtifactError
        If the Hub does not answer, or ``HF_HUB_OFFLINE`` is set.
    """
    wanted = ["codenoise", *tags]
    api = _api()
    try:
        with _told("the Hub"):
            found = list(api.list_models(filter=wanted, search=text or None, limit=limit))
    except ConnectionError:
        raise ArtifactError("the Hub cannot be searched, for HF_HUB_OFFLINE is set") from None
    return [
        {"repository": model.id, "tags": ", ".join(sorted(set(model.tags or []) - set(wanted)))}
        for model in found
    ]


def look_up(repo: str, revision: str | None) -> HubCommit:
    """Resolve a revision to its commit, and list the files there.

    Raises
    ------
    ArtifactError
        If the repository or revision is not there or not open to the user, or the Hub does not
        answer as it should.
    ConnectionError
        If ``HF_HUB_OFFLINE`` is set.
    """
    api = _api()
    from huggingface_hub import RepoFile

    label = repo if revision is None else f"{repo}@{revision}"
    with _told(label):
        info = api.model_info(
            repo, revision=revision or "main", files_metadata=True, timeout=_LOOK_UP_TIMEOUT
        )
        if not re.fullmatch(COMMIT, info.sha or ""):
            raise ValueError("it names no commit")
        sizes = {file.rfilename: file.size for file in info.siblings or ()}
        if None in sizes.values():  # a mirror may list names alone here
            tree = api.list_repo_tree(repo, revision=info.sha, recursive=True)
            sizes = {entry.path: entry.size for entry in tree if isinstance(entry, RepoFile)}
    known = {path: size for path, size in sizes.items() if isinstance(size, int)}
    return HubCommit(HubRepository(repo=repo, commit=info.sha), known)


def fetch(commit: HubCommit, folder: Path, dry_run: bool) -> dict[str, int]:
    """Download the manifests and, but for a dry run, what they name.

    Returns the size of each file in bytes, by its path in the repository.

    Raises
    ------
    ArtifactError
        If a file is missing, larger than its manifest says, or does not come whole.
    """
    roots = [name for name in (EXPERT_FILE, SPACE_FILE) if name in commit.sizes]
    if len(roots) != 1:
        raise ArtifactError(
            f"{commit.source.label} should hold one {EXPERT_FILE} or {SPACE_FILE} at its root; "
            f"it holds {' and '.join(roots) or 'neither'}, so it is no codenoise repository"
        )
    paths = {roots[0]: MAX_MANIFEST_BYTES}
    _download(commit, roots[0], MAX_MANIFEST_BYTES, folder)
    root: ExpertManifest | SpaceManifest
    if roots[0] == SPACE_FILE:
        root = read_bounded(folder / SPACE_FILE, SpaceManifest)
    else:
        root = read_bounded(folder / EXPERT_FILE, ExpertManifest)
    manifests = {"": root}
    for ref in spaces_of(root):
        path = bundled_space(ref)
        if path in commit.sizes:
            _download(commit, path, MAX_MANIFEST_BYTES, folder)
            paths[path] = MAX_MANIFEST_BYTES
            manifests[path.removesuffix(SPACE_FILE)] = read_bounded(folder / path, SpaceManifest)
    for prefix, manifest in manifests.items():
        for name, entry in manifest.files.items():
            paths[f"{prefix}{name}"] = min(entry.bytes, MAX_WEIGHTS_BYTES)
        if f"{prefix}{CARD_FILE}" in commit.sizes:
            paths[f"{prefix}{CARD_FILE}"] = MAX_CARD_BYTES
    sizes = {path: commit.size(path, limit) for path, limit in paths.items()}
    if not dry_run:
        for path, limit in paths.items():
            if not (folder / path).exists():
                _download(commit, path, limit, folder)
    return sizes


def _download(commit: HubCommit, path: str, limit: int, folder: Path) -> None:
    api = _api()
    size = commit.size(path, limit)
    source = commit.source
    with _told(f"{path} of {source.label}"):
        local = Path(
            api.hf_hub_download(source.repo, path, revision=source.commit, local_dir=folder)
        )
    came = local.stat().st_size
    if came != size:
        raise ArtifactError(
            f"{path} of {source.label} came with {came} bytes where the Hub states {size}: it "
            f"{imposter(local) or 'was cut off or replaced on its way'}; pull it again"
        )


def _api() -> HfApi:
    """The library's client; its import fails on an ``HF_ENDPOINT`` that is no address."""
    endpoint = os.environ.get("HF_ENDPOINT", "https://huggingface.co")
    try:
        address = urlsplit(endpoint)
        usable = address.scheme in ("http", "https") and address.port != 0 and address.hostname
    except ValueError:
        usable = False
    if not usable:
        raise ArtifactError(
            f"HF_ENDPOINT is {endpoint!r}, which is no address; unset it, or give one such as "
            f"https://huggingface.co"
        )
    from huggingface_hub import HfApi

    return HfApi()


@contextmanager
def _told(what: str) -> Iterator[None]:
    """Turn what the library reports into an error that says what to do."""
    import httpx2
    from huggingface_hub import errors

    login = "log in with 'hf auth login'"
    try:
        yield
    except errors.GatedRepoError:
        told = f"is gated: ask for access on its page on the Hub, then {login} and pull again"
    except errors.RepositoryNotFoundError:
        told = f"was not found on the Hub, or is private: check its name, or {login}"
    except errors.RevisionNotFoundError:
        told = "was not found: the repository has no such revision; give another after the @"
    except errors.RemoteEntryNotFoundError:
        told = "was not found on the Hub; pull another revision, or tell its author"
    except errors.OfflineModeIsEnabled:
        raise
    except (errors.LocalEntryNotFoundError, httpx2.TransportError) as problem:
        told = f"did not come: {one_line(problem.__cause__ or problem)}; try again when it answers"
    except errors.HfHubHTTPError as problem:
        status = problem.response.status_code
        forbidden = f"you may not read it; {login}" if status in (401, 403) else "try again later"
        told = f"was refused by the Hub with status {status}: {forbidden}"
    except errors.HFValidationError as problem:
        told = f"is no name of a repository: {one_line(problem)}"
    except OSError as problem:
        told = f"did not come whole: {one_line(problem)}; pull it again"
    except (ValueError, TypeError, KeyError) as problem:
        told = (
            f"got an answer that is not the Hub's ({one_line(problem)}); check HF_ENDPOINT and "
            f"the network, which may want a login of its own"
        )
    else:
        return
    raise ArtifactError(f"{what} {told}")
