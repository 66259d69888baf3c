"""Where an expert or a space came from, and the command that brings it again."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from packaging.utils import canonicalize_name
from pydantic import Field

from codenoise.registry.contract.manifest import Strict

COMMIT = r"^[0-9a-f]{40}$"
# As many digits of a commit as tables show, and the fewest that name one.
SHOWN_DIGITS, FEWEST_DIGITS = 12, 7


class Package(Strict):
    """A pip-installed distribution."""

    kind: Literal["pip"] = "pip"
    distribution: str
    version: str

    @property
    def label(self) -> str:
        """What stands before the colon in ``source:name``."""
        return self.distribution

    @property
    def command(self) -> str:
        """What installs it."""
        return self.command_of([self])

    @staticmethod
    def command_of(packages: Sequence[Package]) -> str:
        """What installs several at once."""
        pinned = (f"{package.distribution}=={package.version}" for package in packages)
        return f"pip install {shlex.join(pinned)}"

    @property
    def repair(self) -> str:
        """What installs it over a damaged copy."""
        return self.command.replace("install", "install --force-reinstall", 1)

    def matches(self, text: str) -> bool:
        """Whether a user's ``source`` means this one."""
        return canonicalize_name(text) == canonicalize_name(self.distribution)


class Folder(Strict):
    """A folder on this machine."""

    kind: Literal["folder"] = "folder"
    path: str

    @property
    def label(self) -> str:
        """What stands before the colon in ``source:name``."""
        return self.path

    @property
    def command(self) -> str:
        """What installs it."""
        return f"codenoise experts add {shlex.quote(self.path)}"

    @property
    def repair(self) -> str:
        """What installs it over a damaged copy."""
        return self.command

    def matches(self, text: str) -> bool:
        """Whether a user's ``source`` means this one."""
        return str(Path(text).resolve()) == self.path


class HubRepository(Strict):
    """A folder in a commit of a model repository on the Hugging Face Hub; its root by default."""

    kind: Literal["hub"] = "hub"
    repo: str
    commit: Annotated[str, Field(pattern=COMMIT)]
    folder: str = ""

    @property
    def label(self) -> str:
        """What stands before the colon in ``source:name``."""
        return f"{self.repo}@{self.commit[:SHOWN_DIGITS]}"

    @property
    def command(self) -> str:
        """What installs it."""
        return f"codenoise pull {shlex.quote(f'{self.repo}@{self.commit}')}"

    @property
    def repair(self) -> str:
        """What installs it over a damaged copy."""
        return self.command

    def matches(self, text: str) -> bool:
        """Whether a user's ``source`` means this one."""
        repo, _, commit = text.partition("@")
        return repo == self.repo and (
            not commit or (len(commit) >= FEWEST_DIGITS and self.commit.startswith(commit))
        )


def command_for(source: str | None, requirement: str) -> str:
    """The command that installs from a source as a user names it; a package's by default."""
    if source is None:
        return f"pip install '{requirement}'"
    if Path(source).is_absolute():
        return f"codenoise experts add {shlex.quote(source)}"
    return f"{'codenoise pull' if '/' in source else 'pip install'} {shlex.quote(source)}"


Source = Annotated[Package | Folder | HubRepository, Field(discriminator="kind")]
