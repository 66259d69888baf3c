"""Publishing: an expert or a space becomes a repository on the Hugging Face Hub.

The layout is that of `codenoise.registry.installed.hub`, where repositories are read.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from codenoise.core.base.errors import ArtifactError, CodenoiseError, one_line
from codenoise.registry.authoring.project import complete_card
from codenoise.registry.authoring.release import read_release
from codenoise.registry.authoring.scaffold import AUTHOR
from codenoise.registry.contract.artifacts import file_entry, verify_files, verify_identity
from codenoise.registry.contract.folders import Artifact, bundled_space, read_bounded, spaces_of
from codenoise.registry.contract.manifest import (
    EXPERT_FILE,
    SPACE_FILE,
    ExpertManifest,
    SpaceManifest,
    SpaceRef,
)
from codenoise.registry.contract.plugin import Inventory
from codenoise.registry.installed.hub import split_reference
from codenoise.registry.installed.store import CARD_FILE

if TYPE_CHECKING:
    from huggingface_hub import HfApi
    from huggingface_hub.hf_api import ModelInfo

LOG_IN = "log in with 'hf auth login', or set HF_TOKEN to a token that may write"


@dataclass(frozen=True)
class Release:
    """What is to be published.

    Attributes
    ----------
    manifest
        Of the expert or space.
    files
        Path in the repository to file, but for the card.
    card
        Text of README.md.
    """

    manifest: ExpertManifest | SpaceManifest
    files: Mapping[str, Path]
    card: str

    @property
    def sizes(self) -> dict[str, int]:
        """Bytes of each file by its path in the repository."""
        sizes = {path: file.stat().st_size for path, file in self.files.items()}
        return sizes | {CARD_FILE: len(self.card.encode())}


@dataclass(frozen=True)
class Published:
    """Where a release went.

    Attributes
    ----------
    repo, commit
        Repository and the 40 digits of the commit.
    url
        Page of the repository.
    outcome
        ``"created"``, ``"updated"`` or ``"already there"``.
    """

    repo: str
    commit: str
    url: str
    outcome: str


def prepare(folder: Path, inventory: Inventory) -> Release:
    """Check an artifact and gather what its repository has to hold.

    Parameters
    ----------
    folder
        Holds a manifest and the files that it names, or is the project of a plugin.
    inventory
        What is installed: where the spaces of an expert come from that the folder does not bring.

    Raises
    ------
    ArtifactError
        If anything is missing, damaged or cannot be loaded, or a template is not trained yet.
    """
    artifact, bundled = read_release(folder)
    manifest = artifact.manifest
    if AUTHOR in manifest.authors or (
        isinstance(manifest, ExpertManifest) and not manifest.training.n
    ):
        raise ArtifactError(
            f"{manifest.reference} is a template still; say in train.py who you are and what your "
            f"cohort is, and train it with 'python train.py COHORT SPLIT.csv'"
        )
    files = _files_of(artifact, "")
    brought = {space.manifest.name: space for space in bundled}
    for ref in spaces_of(manifest):
        prefix = bundled_space(ref).removesuffix(SPACE_FILE)
        files |= _files_of(brought.get(ref.name) or _installed(ref, inventory), prefix)
    return Release(manifest, files, complete_card(manifest, artifact.file.parent / CARD_FILE))


def publish(
    release: Release, repo: str, *, private: bool = False, message: str | None = None
) -> Published:
    """Make or update a repository with one commit, by the user's own login.

    Parameters
    ----------
    release
        From `prepare`.
    repo
        ``org/name``.
    private
        Whether a repository that is made is private; by default as the organisation has it.
    message
        Of the commit; ``name@version`` by default.

    Raises
    ------
    ArtifactError
        If the repository holds another expert or space, or this version with other content.
    CodenoiseError
        If nobody is logged in, or the Hub refuses or does not answer.
    """
    from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, get_token
    from huggingface_hub.errors import RepositoryNotFoundError

    name, revision = split_reference(repo)
    if revision is not None:
        raise ArtifactError(f"{repo!r} names a revision; give {name!r}, what is published is new")
    if get_token() is None:
        raise CodenoiseError(f"nobody is logged in to the Hugging Face Hub; {LOG_IN}")
    api = HfApi()
    additions = {path: str(file) for path, file in release.files.items()}
    with _told(name):
        try:
            there = api.model_info(name)
        except RepositoryNotFoundError:
            there = None
            api.create_repo(name, private=private or None)
        if there is not None:
            _check_replaceable(api, there, release, private)
        stale = [path for path in _paths(there) if _is_stale(path, release)]
        commit = api.create_commit(
            name,
            [
                *(CommitOperationDelete(path) for path in stale),
                *(CommitOperationAdd(path, file) for path, file in additions.items()),
                CommitOperationAdd(CARD_FILE, release.card.encode()),
            ],
            commit_message=message or release.manifest.reference,
            parent_commit=there.sha if there is not None else None,
        )
    outcome = "created" if there is None else "updated"
    if there is not None and commit.oid == there.sha:
        outcome = "already there"
    return Published(name, commit.oid, f"{api.endpoint}/{name}", outcome)


def _paths(info: ModelInfo | None) -> list[str]:
    return [] if info is None else [file.rfilename for file in info.siblings or ()]


def _is_stale(path: str, release: Release) -> bool:
    """Whether a file belongs to a space that the expert no longer lives in."""
    return path.startswith("spaces/") and path not in release.files


def _check_replaceable(api: HfApi, info: ModelInfo, release: Release, private: bool) -> None:
    """Refuse to put a release over something else."""
    if private and not info.private:
        raise ArtifactError(
            f"{info.id} is there and public; make it private on its page on the Hub, or leave "
            f"--private out"
        )
    own = next(path for path in release.files if path in (EXPERT_FILE, SPACE_FILE))
    (other,) = {EXPERT_FILE, SPACE_FILE} - {own}
    if other in _paths(info):
        raise ArtifactError(f"{info.id} holds another artifact, {other}; give another repository")
    if own not in _paths(info):
        return
    with tempfile.TemporaryDirectory(prefix="codenoise-publish-") as temporary:
        file = Path(api.hf_hub_download(info.id, own, revision=info.sha, local_dir=temporary))
        try:
            held = _read(file)
        except ArtifactError:
            return  # a damaged manifest is mended by the release
        same = file_entry(file) == file_entry(release.files[own])
    if held.name != release.manifest.name:
        raise ArtifactError(
            f"{info.id} holds {held.reference}, this is {release.manifest.reference}; give "
            f"another repository"
        )
    if held.version == release.manifest.version and not same:
        raise ArtifactError(
            f"{info.id} holds {held.reference} with other content; a version that is published "
            f"stays as it is: train yours under a higher one"
        )


def _read(file: Path) -> ExpertManifest | SpaceManifest:
    if file.name == SPACE_FILE:
        return read_bounded(file, SpaceManifest)
    return read_bounded(file, ExpertManifest)


def _files_of(artifact: Artifact, prefix: str) -> dict[str, Path]:
    names = [artifact.file.name, *artifact.manifest.files]
    if prefix and (artifact.file.parent / CARD_FILE).is_file():
        names.append(CARD_FILE)
    return {f"{prefix}{name}": artifact.file.parent / name for name in names}


def _installed(ref: SpaceRef, inventory: Inventory) -> Artifact:
    for plugin in inventory.spaces:
        if plugin.manifest.digest == ref.digest:
            verify_files(plugin.folder, plugin.manifest, mend=plugin.source.repair)
            verify_identity(plugin.folder, plugin.manifest, mend=plugin.source.repair)
            return Artifact(plugin.file, plugin.manifest)
    raise ArtifactError(
        f"the {ref.modality} space {ref.name}@{ref.version} ({ref.digest[:19]}), which the expert "
        f"needs, is neither installed nor in the folder; install it, or put it beside the expert "
        f"as {bundled_space(ref)}"
    )


@contextmanager
def _told(repo: str) -> Iterator[None]:
    """Turn what the library reports into an error that says what to do."""
    import httpx2
    from huggingface_hub import errors

    try:
        yield
    except errors.OfflineModeIsEnabled:
        told = "cannot be published to, for HF_HUB_OFFLINE is set; unset it"
    except errors.HfHubHTTPError as problem:
        told = _refusal(problem.response.status_code, problem.server_message or "")
    except (errors.LocalEntryNotFoundError, httpx2.TransportError) as problem:
        reason = one_line(problem.__cause__ or problem)
        told = f"did not answer: {reason}; check the network, then publish again"
    except errors.HFValidationError as problem:
        told = f"is no name of a repository: {one_line(problem)}"
    except (OSError, RuntimeError, ValueError) as problem:
        reasons = [problem] if problem.__cause__ is None else [problem, problem.__cause__]
        told = f"was not published to: {' '.join(' '.join(map(str, reasons)).split())}"
    else:
        return
    raise CodenoiseError(f"{repo} {told}")


def _refusal(status: int, said: str) -> str:
    """What a status of the Hub means, and what to do."""
    means = {
        401: f"your login is not valid (any more); {LOG_IN}",
        403: f"you may not write there; ask its owner, or {LOG_IN}",
        404: "there is no such user or organisation, or it is not open to you; check the name",
        409: "somebody else changed it meanwhile; publish again",
        412: "somebody else changed it meanwhile; publish again",
    }
    return (
        f"was refused by the Hub with status {status}: "
        f"{means.get(status, 'try again later')}{f' (it says: {said})' if said else ''}"
    )
