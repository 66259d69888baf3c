from __future__ import annotations

import pytest

from codenoise.core.base.errors import CodenoiseError, EnsembleError
from codenoise.core.base.known import BUILT_IN, Known


@pytest.fixture
def known() -> Known[int]:
    """Two numbers, and one that is no number."""
    return Known("number", {"two": 2, "one": 1}, reserved=["many"], error=EnsembleError)


def test_things_are_found_by_name(known: Known[int]) -> None:
    assert (known["one"], known["two"]) == (1, 2)
    assert list(known) == ["two", "one"]
    assert "one" in known
    assert known.source("one") == BUILT_IN


def test_reserved_names_are_known_and_stand_for_nothing(known: Known[int]) -> None:
    assert known.names == ("many", "one", "two")
    assert "many" not in known
    assert known.source("many") == BUILT_IN
    with pytest.raises(EnsembleError):
        known["many"]


def test_an_unknown_name_lists_the_known(known: Known[int]) -> None:
    known.register("three", 3, "numbers 1.0")
    with pytest.raises(EnsembleError) as caught:
        known["four"]
    assert str(caught.value) == "number 'four' is unknown; known: many, one, three, two"


def test_what_is_registered_is_known_with_its_source(known: Known[int]) -> None:
    known.register("three", 3, "numbers 1.0")
    assert known["three"] == 3
    assert known.source("three") == "numbers 1.0"
    assert list(known) == ["two", "one", "three"]


@pytest.mark.parametrize(
    ("name", "thing", "owner"),
    [("one", 7, "codenoise"), ("one", 1, "codenoise"), ("many", 7, "codenoise"),
     ("three", 7, "numbers 1.0"), ("three", 3, "numbers 1.0")],
)  # fmt: skip
def test_a_taken_name_is_refused_with_both_sources(
    known: Known[int], name: str, thing: int, owner: str
) -> None:
    known.register("three", 3, "numbers 1.0")
    before = {name: known[name] for name in known}
    for refused in (known.refuse_taken, known.register):
        with pytest.raises(CodenoiseError) as caught:
            refused(name, thing, "others 2.0")
        assert str(caught.value) == (
            f"number {name!r} of others 2.0 is already there, from {owner}; give it another name"
        )
    assert {name: known[name] for name in known} == before


def test_the_same_may_be_registered_again(known: Known[int]) -> None:
    for _ in range(2):
        known.register("three", 3, "numbers 1.0")
    with pytest.raises(CodenoiseError):
        known.register("three", 4, "numbers 1.0")


def test_a_check_adds_nothing(known: Known[int]) -> None:
    known.refuse_taken("three", 3, "numbers 1.0")
    assert "three" not in known


def test_what_clashes_with_a_reserved_name_may_be_more_than_its_equal() -> None:
    endings: Known[int] = Known("reader", {}, reserved=[".csv"], clash=str.endswith)
    with pytest.raises(CodenoiseError, match=r"'\.my\.csv' of x 1 is already there"):
        endings.register(".my.csv", 1, "x 1")
    endings.register(".csv.my", 1, "x 1")
    assert ".csv.my" in endings
