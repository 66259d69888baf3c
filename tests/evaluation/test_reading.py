"""The kit that sections are made with, on rows whose cells and tests are known."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy.stats import wilcoxon

from codenoise.evaluation.experiment import Claim, Section
from codenoise.evaluation.experiments import EXPERIMENTS
from codenoise.evaluation.plotting import COLOURS, clouds, figure, grouped, panels, spans
from codenoise.evaluation.reading import (
    against,
    mean_sd,
    not_measured,
    notes,
    over,
    present,
    spread,
)
from codenoise.evaluation.statistics import interval, p_text
from codenoise.evaluation.study import BASELINE, COHERENT, MULTI, PUBLISHED


def rows(shift: dict[str, float], subjects: int = 20) -> pd.DataFrame:
    """Each method's value is that of the subject, moved and shaken a little."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=subjects)
    return pd.DataFrame(
        {"method": name, "subject": i, "value": base[i] + move + noise}
        for name, move in shift.items()
        for i, noise in enumerate(rng.normal(scale=0.1, size=subjects))
    )


def test_the_usual_methods_come_first_and_in_their_order() -> None:
    frame = pd.DataFrame({"method": ["new", MULTI, None, COHERENT]})
    assert present(frame) == [COHERENT, MULTI, "new"]


@pytest.mark.parametrize(
    ("values", "text"),
    [([0.1, 0.2, 0.3], "0.200 ± 0.100"), ([0.25, np.nan], "0.250"), ([np.nan], "-"), ([], "-")],
)
def test_a_cell_is_the_mean_and_the_deviation_of_what_is_known(
    values: list[float], text: str
) -> None:
    assert mean_sd(values) == text


def test_digits_and_sign_of_a_cell_are_chosen() -> None:
    assert mean_sd([0.01, 0.03], 2, "+") == "+0.02 ± 0.01"


def test_a_spread_table_has_a_line_for_each_index_and_a_column_for_each_method() -> None:
    frame = pd.DataFrame(
        {"target": ["x", "x", "x", "a"], "method": [MULTI, MULTI, COHERENT, MULTI],
         "value": [1.0, 2.0, 3.0, 4.0]}
    )  # fmt: skip
    table = spread(frame, ["target"], "value", digits=1)
    assert table.to_dict("list") == {
        "target": ["x", "a"], COHERENT: ["3.0", "-"], MULTI: ["1.5 ± 0.7", "4.0"],
    }  # fmt: skip
    assert list(spread(frame.iloc[:0], ["target"], "value").columns) == ["target"]


def test_an_interval_says_over_how_many_of_what() -> None:
    values = np.random.default_rng(0).normal(size=30)
    low, high = interval(values)
    assert over([*values, np.nan], "runs", ".2f") == (
        f"95% interval over 30 runs (bootstrap): {low:.2f} to {high:.2f}"
    )
    assert over([1.0], "runs") == "95% interval over 1 runs (bootstrap): not available"


def test_one_method_is_set_against_all_others_with_scipys_test() -> None:
    pytest.importorskip("pingouin")
    frame = rows({COHERENT: 0.0, PUBLISHED: -1.0, BASELINE: 1.0})
    (claim,) = against(frame, "value", ["subject"], "Value", things="subjects", headline=True)
    wide = frame.pivot_table(index="subject", columns="method", values="value")
    for other, how in ((PUBLISHED, "above"), (BASELINE, "below")):
        apart = wide[COHERENT] - wide[other]
        assert f"{how} {other} ({wide[other].mean():.3f})" in claim.text
        raw = wilcoxon(wide[COHERENT], wide[other]).pvalue
        tested = f"{other} {apart.median():+.3f}, {(apart > 0).sum()} of 20, {p_text(3 * raw)}"
        assert tested in claim.test
    mean = wide[COHERENT].mean()
    assert claim.text.startswith(f"Value, mean over 20 subjects: {COHERENT} {mean:.3f}, ")
    assert "Friedman" in claim.test
    assert claim.headline


@pytest.mark.parametrize(
    ("shift", "agrees"), [(1.0, True), (-1.0, False), (0.0, None)], ids=["same", "other", "none"]
)
def test_a_claim_agrees_with_the_paper_where_the_order_is_the_same_and_told_apart(
    shift: float, agrees: bool | None
) -> None:
    pytest.importorskip("pingouin")
    frame = rows({COHERENT: shift, MULTI: 0.0})
    (claim,) = against(
        frame, "value", ["subject"], "Value", things="subjects", paper="2 against 1",
        expected=(MULTI, "above"),
    )  # fmt: skip
    assert claim.agrees is agrees
    assert claim.paper == "2 against 1"
    assert ("not told apart from multi-condition" in claim.text) == (agrees is None)


def test_little_is_said_of_little() -> None:
    assert against(rows({COHERENT: 0}), "value", ["subject"], "Value", things="subjects") == []
    assert against(rows({MULTI: 0, BASELINE: 1}), "value", ["subject"], "V", things="s") == []
    few = rows({COHERENT: 0, MULTI: 1}, 3)
    (claim,) = against(few, "value", ["subject"], "Value", things="subjects")
    assert "not tested against multi-condition" in claim.text
    assert claim.test.startswith("not tested: 3 subjects")
    assert "p =" not in claim.test
    assert "Wilcoxon" not in claim.test
    apart = few.assign(subject=few["subject"].where(few["method"] == MULTI, few["subject"] + 9))
    assert against(apart, "value", ["subject"], "Value", things="subjects") == []


def test_what_was_not_measured_is_grouped_by_its_reason() -> None:
    frame = pd.DataFrame(
        {"method": ["b", "a", None, "c"], "target": ["x", "x", None, "y"],
         "reason": ["too few", "too few", "nobody", None]}
    )  # fmt: skip
    assert not_measured(frame, "method", "target") == [
        "Not measured (a, b; x): too few.", "Not measured: nobody.",
    ]  # fmt: skip


def test_notes_are_paragraphs_and_miss_no_value() -> None:
    found = notes("completion", trees="500")
    assert "Forests have 500 trees." in found
    assert len(notes("completion", trees="")) == len(found) - 1
    assert not any("\n" in note or "  " in note for note in found)
    with pytest.raises(Exception, match="'trees' is undefined"):
        notes("completion")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_has_its_notes(name: str) -> None:
    names = ("ceiling", "coherent", "control", "narrowed", "published", "sizes", "trees")
    text = dict.fromkeys(names, "x")
    counts = dict.fromkeys(("alone", "gaps", "left_out", "patients", "runs"), 1)
    setting = {"target": "x", "conditions": "y"}
    assert len(notes(name, **text, **counts, setting=setting)) > 1


def test_a_verdict_is_the_headline_claims_and_how_many_agree_with_the_paper() -> None:
    claims = [
        Claim("First.", "t", headline=True),
        Claim("Second.", "t", "p", agrees=True),
        Claim("Third.", "t", "p", agrees=False, headline=True),
    ]
    assert Section(claims).verdict == (
        "First. Third. Set beside the paper's findings: 1 agree, 1 do not."
    )
    assert Section(claims[:1]).verdict == "First."
    assert Section().verdict == "Nothing could be measured."


def test_bars_and_dots_stand_at_the_means_of_their_group() -> None:
    pytest.importorskip("matplotlib")
    frame = pd.DataFrame(
        {"target": ["x", "x", "a"], "method": [MULTI, MULTI, COHERENT], "value": [1.0, 3.0, 5.0]}
    )
    _, (bars, dots) = figure(1, 2)
    grouped(bars, frame, "target", "value", [COHERENT, MULTI], dots=False)
    heights = [bar.get_height() for bar in bars.patches]
    np.testing.assert_array_equal(heights, [np.nan, 5, 2, np.nan])
    assert [label.get_text() for label in bars.get_xticklabels()] == ["x", "a"]
    grouped(dots, frame, "target", "value", [MULTI], dots=True)
    (line,) = (container.lines[0] for container in dots.containers)
    np.testing.assert_array_equal(line.get_ydata().astype(float), [2, np.nan])
    assert line.get_color() == COLOURS[MULTI]


def test_panels_beyond_the_last_are_hidden() -> None:
    pytest.importorskip("matplotlib")
    made, axes = panels(4, 3, each=2.0)
    assert len(axes) == 4
    assert [one.get_visible() for one in made.axes] == [True] * 4 + [False] * 2


def test_spans_and_clouds_are_where_their_rows_are() -> None:
    pytest.importorskip("matplotlib")
    frame = pd.DataFrame(
        {"method": [COHERENT, MULTI], "value": [1.0, 2.0], "low": [0.5, 1.5], "high": [2.0, 2.5]}
    )
    _, (one, other) = figure(1, 2)
    spans(one, frame, "value", [0, 1])
    (bars,) = one.collections
    ends = [segment[:, 0].tolist() for segment in bars.get_segments()]
    assert ends == [[0.5, 2.0], [1.5, 2.5]]
    clouds(other, frame, ("low", "high"), [COHERENT, MULTI])
    assert [c.get_offsets().tolist() for c in other.collections] == [[[0.5, 2.0]], [[1.5, 2.5]]]
    assert [c.get_label() for c in other.collections] == [COHERENT, MULTI]
