"""Messages and atomic writing."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from codenoise.core.base.errors import (
    ArtifactError,
    CodenoiseError,
    DataError,
    EnsembleError,
    SpaceError,
    first_few,
)
from codenoise.core.base.files import atomic_file, atomic_folder


@pytest.fixture(params=[0o022, 0o027, 0o077], ids=oct)
def umask(request: pytest.FixtureRequest) -> Iterator[int]:
    before = os.umask(request.param)
    yield request.param
    os.umask(before)


def permissions(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.mark.parametrize("kind", [ArtifactError, DataError, EnsembleError, SpaceError])
def test_every_error_is_of_the_one_family(kind: type[Exception]) -> None:
    assert issubclass(kind, CodenoiseError)


def test_all_values_are_named_up_to_the_limit() -> None:
    assert first_few(["a", "b", "c"]) == "'a', 'b', 'c'"


def test_values_beyond_the_limit_are_counted() -> None:
    assert first_few(["a", "b", "c", "d", "e"]) == "'a', 'b', 'c' and 2 more"
    assert first_few(iter(range(10)), limit=1) == "'0' and 9 more"


def test_nothing_is_named_of_no_values() -> None:
    assert first_few([]) == ""


def test_values_are_shown_by_repr_so_that_blanks_and_line_breaks_are_seen() -> None:
    assert first_few([" a", "b\n"]) == "' a', 'b\\n'"


def test_a_file_appears_when_the_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "new" / "folders" / "x.txt"
    with atomic_file(path) as temporary:
        temporary.write_text("whole")
        assert not path.exists()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_a_file_is_written_beside_its_place_so_that_the_move_is_atomic(tmp_path: Path) -> None:
    with atomic_file(tmp_path / "x.txt") as temporary:
        assert temporary.parent == tmp_path


def test_nothing_is_left_of_a_file_when_the_block_raises(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_file(tmp_path / "x.txt") as temporary:
        temporary.write_text("half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_the_old_file_stays_when_the_block_raises(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with pytest.raises(KeyboardInterrupt), atomic_file(path) as temporary:
        temporary.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "x.txt"
    path.write_text("old")
    with atomic_file(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"


def test_the_permissions_of_a_file_follow_the_umask(tmp_path: Path, umask: int) -> None:
    with atomic_file(tmp_path / "x.txt") as temporary:
        temporary.write_text("whole")
    assert permissions(tmp_path / "x.txt") == 0o666 & ~umask


def test_writing_leaves_the_umask_as_it_was(tmp_path: Path, umask: int) -> None:
    with atomic_file(tmp_path / "x.txt"), atomic_folder(tmp_path / "out"):
        pass
    assert os.umask(umask) == umask


def test_a_folder_appears_when_the_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "new" / "out"
    with atomic_folder(path) as temporary:
        (temporary / "deep").mkdir()
        (temporary / "deep" / "x.txt").write_text("whole")
        assert not path.exists()
    assert (path / "deep" / "x.txt").read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_nothing_is_left_of_a_folder_when_the_block_raises(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_folder(tmp_path / "out") as temporary:
        (temporary / "x.txt").write_text("half")
        raise ZeroDivisionError
    assert list(tmp_path.iterdir()) == []


def test_an_empty_folder_is_used(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.mkdir()
    with atomic_folder(path) as temporary:
        (temporary / "x.txt").write_text("whole")
    assert [inside.name for inside in path.iterdir()] == ["x.txt"]


def test_a_folder_that_holds_files_is_refused_before_anything_is_done(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.mkdir()
    (path / "precious.txt").write_text("old")
    with (
        pytest.raises(CodenoiseError, match="already holds files; give another folder") as caught,
        atomic_folder(path),
    ):
        pytest.fail("the block must not run")
    assert str(path) in str(caught.value)
    assert "`overwrite=True`" in str(caught.value)
    assert (path / "precious.txt").read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_overwriting_a_folder_replaces_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with atomic_folder(path, "old.txt") as temporary:
        (temporary / "new.txt").write_text("new")
        assert (path / "old.txt").exists()
    assert [inside.name for inside in path.iterdir()] == ["new.txt"]
    assert list(tmp_path.iterdir()) == [path]


def test_a_folder_that_is_not_ours_is_never_replaced(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.mkdir()
    (path / "thesis.txt").write_text("three years")
    with (
        pytest.raises(CodenoiseError, match=r"was not written by codenoise \(it has no made"),
        atomic_folder(path, "made.json"),
    ):
        pytest.fail("the block must not run")
    assert (path / "thesis.txt").read_text() == "three years"


def test_the_old_folder_stays_when_the_block_raises(tmp_path: Path) -> None:
    path = tmp_path / "out"
    path.mkdir()
    (path / "old.txt").write_text("old")
    with (
        pytest.raises(ZeroDivisionError),
        atomic_folder(path, "old.txt") as temporary,
    ):
        (temporary / "new.txt").write_text("new")
        raise ZeroDivisionError
    assert [inside.name for inside in path.iterdir()] == ["old.txt"]
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("replaces", [None, "old.txt"])
def test_a_file_in_the_place_of_a_folder_is_refused(tmp_path: Path, replaces: str | None) -> None:
    path = tmp_path / "out"
    path.write_text("a file")
    with (
        pytest.raises(CodenoiseError, match="out is a file; give a folder"),
        atomic_folder(path, replaces),
    ):
        pytest.fail("the block must not run")
    assert path.read_text() == "a file"


def test_the_permissions_of_a_folder_follow_the_umask(tmp_path: Path, umask: int) -> None:
    with atomic_folder(tmp_path / "out"):
        pass
    assert permissions(tmp_path / "out") == 0o777 & ~umask
