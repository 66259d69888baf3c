from __future__ import annotations

import shlex

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from codenoise.registry.contract.sources import Folder, HubRepository, Package, Source, command_for

COMMIT = "0123456789abcdef" * 2 + "01234567"
PACKAGE = Package(distribution="codenoise-expert-a", version="0.1.0")
FOLDER = Folder(path="/data/my expert")
HUB = HubRepository(repo="lab/a-to-b", commit=COMMIT)


@pytest.mark.parametrize(
    ("source", "label", "command"),
    [
        (PACKAGE, "codenoise-expert-a", "pip install codenoise-expert-a==0.1.0"),
        (FOLDER, "/data/my expert", "codenoise experts add '/data/my expert'"),
        (HUB, "lab/a-to-b@0123456789ab", f"codenoise pull lab/a-to-b@{COMMIT}"),
    ],
)
def test_label_and_command(
    source: Package | Folder | HubRepository, label: str, command: str
) -> None:
    assert source.label == label
    assert source.command == command
    assert source.matches(label)


def test_only_a_package_needs_force_to_be_repaired() -> None:
    assert PACKAGE.repair == "pip install --force-reinstall codenoise-expert-a==0.1.0"
    assert FOLDER.repair == FOLDER.command
    assert HUB.repair == HUB.command


@pytest.mark.parametrize(
    ("source", "text", "meant"),
    [
        (PACKAGE, "Codenoise_Expert.A", True),
        (PACKAGE, "codenoise-expert-b", False),
        (FOLDER, "/data/../data/my expert", True),
        (FOLDER, "/data", False),
        (HUB, "lab/a-to-b", True),
        (HUB, f"lab/a-to-b@{COMMIT}", True),
        (HUB, f"lab/a-to-b@{COMMIT[:7]}", True),
        (HUB, f"lab/a-to-b@{COMMIT[:6]}", False),
        (HUB, "lab/a-to-b@f" + COMMIT[1:], False),
        (HUB, "lab/a-to-c", False),
    ],
)
def test_what_a_user_may_call_it(
    source: Package | Folder | HubRepository, text: str, meant: bool
) -> None:
    assert source.matches(text) is meant


@pytest.mark.parametrize("source", [PACKAGE, FOLDER, HUB])
def test_sources_survive_a_round_trip(source: Package | Folder | HubRepository) -> None:
    reader: TypeAdapter[Source] = TypeAdapter(Source)
    assert reader.validate_json(source.model_dump_json()) == source


@pytest.mark.parametrize("commit", ["main", "", COMMIT[:39], COMMIT.upper(), f"{COMMIT}\n"])
def test_a_commit_is_forty_digits(commit: str) -> None:
    with pytest.raises(ValidationError):
        HubRepository(repo="lab/a", commit=commit)


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1))
def test_no_name_escapes_its_command(name: str) -> None:
    assert shlex.split(Package(distribution=name, version="1").command)[-1] == f"{name}==1"
    assert shlex.split(Folder(path=name).command)[-1] == name


@pytest.mark.parametrize(
    ("source", "command"),
    [
        (None, "pip install 'codenoise-expert-a>=1'"),
        ("lab/a", "codenoise pull lab/a"),
        ("/data/a", "codenoise experts add /data/a"),
        ("their-package", "pip install their-package"),
    ],
)
def test_command_for_a_source_as_users_name_it(source: str | None, command: str) -> None:
    assert command_for(source, "codenoise-expert-a>=1") == command
