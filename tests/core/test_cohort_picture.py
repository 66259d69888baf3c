"""A picture of which modalities patients have."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from codenoise.core.base.errors import CodenoiseError, DataError
from codenoise.core.cohort.cohort import read_cohort
from codenoise.core.cohort.picture import draw_pattern

EXAMPLE = Path(__file__).parents[2] / "examples" / "tcga" / "cohort"
HEADS = {".png": b"\x89PNG\r\n", ".pdf": b"%PDF-", ".svg": b"<?xml"}


def pattern(*counts: tuple[int, str]) -> pd.DataFrame:
    """So many patients with so many modalities, each named by a letter."""
    letters = sorted({letter for _, have in counts for letter in have})
    rows = [[letter in have for letter in letters] for n, have in counts for _ in range(n)]
    return pd.DataFrame(rows, [f"p{i}" for i in range(len(rows))], letters)


def words(path: Path) -> list[str]:
    """Every piece of text in an SVG, from the comments that stand before its outlines."""
    return re.findall(r"<!-- (.*?) -->", path.read_text())


@pytest.mark.parametrize("suffix", HEADS)
@pytest.mark.parametrize("change", [str.lower, str.upper])
def test_the_ending_tells_the_format(tmp_path: Path, suffix: str, change: Any) -> None:
    path = tmp_path / f"pattern{change(suffix)}"
    draw_pattern(pattern((3, "ab"), (2, "a"), (1, "b")), path)
    assert path.read_bytes().startswith(HEADS[suffix])
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_every_combination_and_modality_has_its_count(tmp_path: Path) -> None:
    path = tmp_path / "pattern.svg"
    draw_pattern(pattern((31, "ab"), (17, "a"), (7, "bc"), (3, "abc"), (2, "")), path)
    found = words(path)
    assert "60 patients by what they have" in found
    for count in ("31", "17", "7", "3", "2"):  # combinations
        assert count in found
    for letter, total in (("a", "51"), ("b", "41"), ("c", "10")):
        assert letter in found
        assert total in found


def test_the_example_is_drawn_with_its_modalities(tmp_path: Path) -> None:
    draw_pattern(read_cohort(EXAMPLE).mask(), tmp_path / "pattern.svg")
    assert {"cna", "rna", "rppa", "wsi", "64 patients by what they have"} <= {
        *words(tmp_path / "pattern.svg")
    }


def test_of_many_combinations_the_commonest_are_drawn_and_it_is_said(tmp_path: Path) -> None:
    letters = "abcdef"
    counts = [
        (64 - number, "".join(c for place, c in enumerate(letters) if number >> place & 1))
        for number in range(64)
    ]
    draw_pattern(pattern(*counts), tmp_path / "pattern.svg")
    found = words(tmp_path / "pattern.svg")
    drawn = sum(64 - number for number in range(40))
    assert (
        f"{drawn:,} of 2,080 patients by what they have: the 40 commonest of 64 combinations"
        in found
    )
    # The totals are of all patients all the same.
    assert str(sum(n for n, have in counts if "f" in have)) in found


def test_a_dollar_sign_is_a_dollar_sign(tmp_path: Path) -> None:
    mask = pattern((3, "ab"), (2, "a")).rename(columns={"a": "r$na_1$"})
    draw_pattern(mask, tmp_path / "pattern.svg")
    assert any("r$na_1$" in word.replace("\\", "") for word in words(tmp_path / "pattern.svg"))


def test_nobody_with_anything_can_be_drawn(tmp_path: Path) -> None:
    mask = pd.DataFrame({"a": [False] * 3, "b": [False] * 3}, list("pqr"))
    draw_pattern(mask, tmp_path / "pattern.png")
    assert (tmp_path / "pattern.png").stat().st_size > 0


@pytest.mark.parametrize("name", ["pattern", "pattern.jpg", "pattern.png.txt", ".png"])
def test_another_ending_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(DataError) as caught:
        draw_pattern(pattern((3, "ab"), (2, "a")), tmp_path / name)
    assert str(caught.value) == (
        f"{tmp_path / name} tells no format of a picture; end its name in .png or .svg or .pdf"
    )
    assert list(tmp_path.iterdir()) == []


def test_one_modality_or_nobody_makes_no_picture(tmp_path: Path) -> None:
    for mask, problem in (
        (pattern((3, "a")), "3 patients, of a alone"),
        (pattern((1, "ab")).iloc[:0], "0 patients, of a and b alone"),
    ):
        with pytest.raises(DataError) as caught:
            draw_pattern(mask, tmp_path / "pattern.png")
        assert str(caught.value) == (
            f"a picture of who has what needs patients and two modalities or more; these are "
            f"{problem}"
        )


def test_a_missing_library_is_named_with_the_command_that_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def absent(name: str, *_: Any) -> Any:
        raise ImportError(name)

    monkeypatch.setattr("codenoise.core.base.optional.importlib.import_module", absent)
    with pytest.raises(DataError) as caught:
        draw_pattern(pattern((3, "ab"), (2, "a")), tmp_path / "pattern.png")
    assert str(caught.value) == (
        "drawing an UpSet plot needs the package marsilea; install it with: "
        "pip install 'codenoise[plots]'"
    )


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(CodenoiseError, match=r"file/pattern\.png cannot be written: "):
        draw_pattern(pattern((3, "ab"), (2, "a")), tmp_path / "file" / "pattern.png")
