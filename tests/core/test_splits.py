"""Splits: proportions, strata, reproducibility, and the file they are kept in."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codenoise.core.base.errors import DataError
from codenoise.core.cohort.splits import SPLITS, read_split, split_patients, write_split

ROOT = Path(__file__).parents[2]


def make_strata(sizes: dict[str, int]) -> pd.Series[str]:
    return pd.Series({f"{name}-{i:04d}": name for name, size in sizes.items() for i in range(size)})


def put(folder: Path, text: str) -> Path:
    (folder / "split.csv").write_text(text)
    return folder / "split.csv"


def refusal(path: Path) -> str:
    with pytest.raises(DataError) as caught:
        read_split(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_complete_patients_are_split_80_5_15() -> None:
    strata = make_strata({"A": 1000})
    counts = split_patients(strata, strata.index).value_counts()
    assert counts.to_dict() == {"train": 800, "validation": 50, "test": 150}


def test_every_stratum_is_split_80_5_15_within_rounding() -> None:
    sizes = {"A": 1000, "B": 333, "C": 47, "D": 7, "E": 1}
    strata = make_strata(sizes)
    split = split_patients(strata, strata.index)
    for name, size in sizes.items():
        counts = split[strata[strata == name].index].value_counts()
        assert abs(counts.get("test", 0) - 0.15 * size) <= 0.5
        assert abs(counts.get("validation", 0) - 0.05 * size) <= 0.6
        assert abs(counts.get("train", 0) - 0.80 * size) <= 1


def test_only_complete_patients_are_tested() -> None:
    strata = make_strata({"A": 400, "B": 300})
    complete = set(strata.index[::3])
    split = split_patients(strata, complete)
    tested = set(split.index[split == "test"])
    assert tested <= complete
    assert len(tested) == pytest.approx(0.15 * len(complete), abs=1)


def test_incomplete_patients_are_divided_80_to_5() -> None:
    strata = make_strata({"A": 850})
    counts = split_patients(strata, []).value_counts()
    assert counts.to_dict() == {"train": 800, "validation": 50}


@given(
    labels=st.dictionaries(
        st.text(min_size=1, max_size=5), st.sampled_from(["A", "B", "C"]), min_size=1, max_size=60
    ),
    share=st.floats(0, 1),
    seed=st.integers(0, 2**32),
)
@settings(max_examples=60, deadline=None)
def test_every_patient_stands_in_one_split(labels: dict[str, str], share: float, seed: int) -> None:
    strata = pd.Series(labels, dtype=object)
    complete = list(strata.index[: int(share * len(strata))])
    split = split_patients(strata, complete, seed)
    assert sorted(split.index) == sorted(labels)
    assert set(split) <= set(SPLITS)
    assert set(split.index[split == "test"]) <= set(complete)


def test_a_patient_without_a_stratum_is_not_dropped() -> None:
    strata = make_strata({"A": 30})
    strata.iloc[:10] = None
    assert sorted(split_patients(strata, strata.index).index) == sorted(strata.index)


@given(seed=st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_the_order_of_the_input_does_not_matter(seed: int) -> None:
    strata = make_strata({"A": 60, "B": 50})
    complete = list(strata.index[::2])
    shuffled = strata.sample(frac=1, random_state=seed)
    pd.testing.assert_series_equal(
        split_patients(shuffled, complete[::-1]), split_patients(strata, complete)
    )


def test_patients_come_out_sorted_and_named() -> None:
    split = split_patients(make_strata({"B": 5, "A": 5})[::-1], [])
    assert list(split.index) == sorted(split.index)
    assert (split.name, split.index.name) == ("split", "patient")


def test_the_seed_changes_who_is_tested_but_not_how_many() -> None:
    strata = make_strata({"A": 200, "B": 100})
    one, two = (split_patients(strata, strata.index, seed) for seed in (0, 1))
    assert not one.equals(two)
    assert one.value_counts().to_dict() == two.value_counts().to_dict()
    pd.testing.assert_series_equal(one, split_patients(strata, strata.index, 0))


def test_another_stratum_changes_nothing_for_those_before_it() -> None:
    few = make_strata({"A": 100})
    more = make_strata({"A": 100, "B": 100})
    split = split_patients(more, more.index)
    pd.testing.assert_series_equal(split[few.index], split_patients(few, few.index))


def test_patients_are_shuffled_and_not_taken_in_order() -> None:
    strata = make_strata({"A": 200})
    tested = split_patients(strata, strata.index) == "test"
    assert 0 < tested.to_numpy()[:100].sum() < 30


def test_a_split_survives_writing_and_reading(tmp_path: Path) -> None:
    strata = make_strata({"A": 40, "B": 30})
    split = split_patients(strata, strata.index)
    write_split(split, tmp_path / "new" / "split.csv")
    pd.testing.assert_series_equal(
        read_split(tmp_path / "new" / "split.csv"), split, check_dtype=False, check_index_type=False
    )


@given(
    ids=st.lists(
        st.text(st.sampled_from("aZ09 ,\"'-é"), min_size=1, max_size=5) | st.just("NA"),
        min_size=1,
        max_size=8,
        unique=True,
    )
)
@settings(max_examples=30, deadline=None)
def test_any_id_survives(tmp_path_factory: pytest.TempPathFactory, ids: list[str]) -> None:
    path = tmp_path_factory.mktemp("split") / "split.csv"
    split = pd.Series("train", index=pd.Index(ids, name="patient"), name="split")
    write_split(split, path)
    assert list(read_split(path).index) == ids


def test_a_split_is_two_columns_of_csv(tmp_path: Path) -> None:
    split = pd.Series({"0012": "train", "p": "test"}, name="split").rename_axis("patient")
    write_split(split, tmp_path / "split.csv")
    assert (tmp_path / "split.csv").read_text() == "patient,split\n0012,train\np,test\n"
    assert list(read_split(tmp_path / "split.csv").index) == ["0012", "p"]


def test_the_split_of_the_published_bank_is_readable() -> None:
    split = read_split(ROOT / "plugins" / "tcga_split.csv")
    assert len(split) > 10_000
    assert split.index.str.startswith("TCGA-").all()
    assert set(split) == set(SPLITS)


def test_a_missing_split_is_refused_with_the_command_that_makes_one(tmp_path: Path) -> None:
    message = refusal(tmp_path / "split.csv")
    assert "is not there; make it with 'codenoise train split'" in message


@pytest.mark.parametrize("content", [b"", b"patient,split\np\xe9,train\n", b"a,b\n1,2\n1,2,3\n"])
def test_what_is_no_csv_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "split.csv").write_bytes(content)
    assert "cannot be read as CSV" in refusal(tmp_path / "split.csv")


def test_a_folder_in_the_place_of_a_split_is_refused(tmp_path: Path) -> None:
    (tmp_path / "split.csv").mkdir()
    assert "cannot be read as CSV" in refusal(tmp_path / "split.csv")


@pytest.mark.parametrize("header", ["split,patient", "patient", "id,split", "patient,split,note"])
def test_other_columns_are_refused(tmp_path: Path, header: str) -> None:
    message = refusal(put(tmp_path, f"{header}\n"))
    assert f"has columns {header.split(',')}; expected patient,split" in message


def test_a_patient_named_twice_is_refused(tmp_path: Path) -> None:
    message = refusal(put(tmp_path, "patient,split\np,train\nq,train\np,test\nq,train\n"))
    assert "names 2 patient(s) more than once: 'p', 'q'" in message


@pytest.mark.parametrize("word", ["Train", "val", "", "0", " train"])
def test_a_split_that_is_none_is_refused_with_its_patient(tmp_path: Path, word: str) -> None:
    message = refusal(put(tmp_path, f"patient,split\np,train\nq,{word}\n"))
    assert f"patient 'q': {word!r} is no split; expected one of train, validation, test" in message


def test_a_row_without_a_split_is_refused_with_its_patient(tmp_path: Path) -> None:
    assert "patient 'q'" in refusal(put(tmp_path, "patient,split\np,train\nq\n"))
