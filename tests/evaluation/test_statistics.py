from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import friedmanchisquare, wilcoxon

from codenoise.core.base.errors import DataError
from codenoise.evaluation.statistics import compare, interval, p_text


def rows(shift: dict[str, float], subjects: int = 20) -> pd.DataFrame:
    rng = np.random.default_rng(0)
    base = rng.normal(size=subjects)
    return pd.DataFrame(
        {"method": name, "target": "x", "subject": i, "value": base[i] + move + noise}
        for name, move in shift.items()
        for i, noise in enumerate(rng.normal(scale=0.5, size=subjects))
    )


def test_methods_are_compared_as_scipy_does_with_holms_correction() -> None:
    frame = rows({"a": 0.0, "b": 0.2, "c": 1.0})
    found = compare(frame, value="value", method="method", subject=["target", "subject"])
    wide = frame.pivot_table(index="subject", columns="method", values="value")
    statistic, p = friedmanchisquare(wide.a, wide.b, wide.c)
    assert found.p == pytest.approx(p)
    assert found.overall == f"Friedman chi2(2) = {statistic:.1f}, {p_text(p)}, n = 20"
    raw = {(a, b): wilcoxon(wide[a], wide[b]).pvalue for a, b in ("ab", "ac", "bc")}
    ordered = sorted(raw, key=lambda pair: raw[pair])
    holm, highest = {}, 0.0
    for place, pair in enumerate(ordered):
        highest = max(highest, min(1.0, (3 - place) * raw[pair]))
        holm[pair] = highest
    for _, row in found.pairs.iterrows():
        pair = row["first"], row["second"]
        assert row["p"] == pytest.approx(holm[pair], rel=1e-6)
        assert found.difference(*pair) == pytest.approx((wide[pair[0]] - wide[pair[1]]).median())
    assert found.significant("c", "a")
    assert found.between("c", "a").startswith("c - a: median +")
    assert found.between("a", "c").startswith("a - c: median -")
    with pytest.raises(DataError, match="were not compared"):
        found.between("a", "z")


def test_only_subjects_with_every_method_count_and_repeats_are_averaged() -> None:
    frame = rows({"a": 0.0, "b": 1.0})
    frame = pd.concat([frame[(frame.method == "a") | (frame.subject < 12)]] * 2)
    found = compare(frame, value="value", method="method", subject=["subject"])
    assert found.subjects == 12
    assert np.isnan(found.p)
    assert found.significant("a", "b")


def test_few_subjects_are_not_tested() -> None:
    found = compare(rows({"a": 0, "b": 1}, 3), value="value", method="method", subject=["subject"])
    assert found.overall == "not tested: 3 subjects"
    assert not found.significant("a", "b")
    with pytest.raises(DataError, match="needs two methods"):
        compare(rows({"a": 0}), value="value", method="method", subject=["subject"])


def test_the_interval_covers_the_mean_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(150):
        low, high = interval(rng.normal(size=30), seed)
        hits += low <= 0 <= high
    assert 0.88 <= hits / 150 <= 0.99
    assert all(np.isnan(interval(np.array([1.0, np.nan]))))
    assert all(np.isnan(interval(np.ones(5))))


@pytest.mark.parametrize(
    ("p", "text"), [(0.0004, "p < .001"), (0.0312, "p = .031"), (1.0, "p = 1.000"),
                    (float("nan"), "p not available")]
)  # fmt: skip
def test_p_values_are_written_as_they_are_read(p: float, text: str) -> None:
    assert p_text(p) == text
