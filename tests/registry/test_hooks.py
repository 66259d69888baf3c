from __future__ import annotations

import shutil
import sys
import tomllib
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import distributions
from pathlib import Path
from types import SimpleNamespace
from typing import Any, get_args

import numpy as np
import pandas as pd
import pytest
import torch

from codenoise.core.base.errors import ArtifactError, CodenoiseError, DataError
from codenoise.core.cohort.cohort import Cohort, read_cohort, write_cohort
from codenoise.core.cohort.tables import read_table
from codenoise.core.diffusion.architectures import ARCHITECTURES, build_denoiser
from codenoise.core.diffusion.grid import step_grid
from codenoise.core.diffusion.samplers import SamplingMethod
from codenoise.core.diffusion.schedule import linear_schedule
from codenoise.core.ensemble.settings import EngineSettings
from codenoise.core.ensemble.weights import reliability_weights
from codenoise.registry.authoring.bank import train_bank
from codenoise.registry.authoring.bank_recipe import BankRecipe
from codenoise.registry.installed.catalogues import Listed, listed
from codenoise.registry.installed.code_plugins import (
    CodePlugins,
    Kind,
    known,
    load_code_plugins,
    need,
)
from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.loading import load_expert

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "examples" / "plugins"
Install = Callable[..., None]


@pytest.fixture(autouse=True)
def _as_before(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Nothing is installed at first, and registers and modules are as they were afterwards."""
    sites = tmp_path / "sites"
    monkeypatch.setattr(
        "codenoise.registry.installed.code_plugins.distributions",
        lambda: distributions(path=sorted(map(str, sites.glob("*")))),
    )
    for kind in get_args(Kind):
        monkeypatch.setattr(known(kind), "_things", {**known(kind)._things})
    modules = set(sys.modules)
    load_code_plugins.cache_clear()
    yield
    load_code_plugins.cache_clear()
    for name in set(sys.modules) - modules:
        if name.startswith(("codenoise_example", "plugin_")):
            del sys.modules[name]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """``install(name, source)``: a distribution ``name`` 1.0 whose module has this source."""

    def apply(name: str, source: str = "", *, entries: str | None = None) -> None:
        site = tmp_path / "sites" / name
        info = site / f"{name}-1.0.dist-info"
        info.mkdir(parents=True)
        module = f"plugin_{name}"
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        text = entries if entries is not None else f"[codenoise]\n{name} = {module}\n"
        (info / "entry_points.txt").write_text(text)
        (site / f"{module}.py").write_text(f"from codenoise import hookimpl\n{source}")
        monkeypatch.syspath_prepend(site)

    return apply


@pytest.fixture
def example(install: Install, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], CodePlugins]:
    """``example(name)``: one of the example packages is installed and loaded."""

    def apply(name: str) -> CodePlugins:
        content = tomllib.loads((EXAMPLES / name / "pyproject.toml").read_text())
        about, packed = content["project"], content["tool"]["setuptools"]["py-modules"]
        assert packed == sorted(file.stem for file in (EXAMPLES / name).glob("*.py"))
        ((entry, module),) = about["entry-points"]["codenoise"].items()
        monkeypatch.syspath_prepend(EXAMPLES / name)
        install(about["name"].replace("-", "_"), entries=f"[codenoise]\n{entry} = {module}\n")
        loaded = load_code_plugins()
        assert loaded.broken == ()
        return loaded

    return apply


METHOD = "from codenoise.core.diffusion.samplers import SamplingMethod\n"


def _adding(kind: str, names: str) -> str:
    return f"@hookimpl\ndef codenoise_{kind}():\n    return {names}\n"


def test_nothing_installed() -> None:
    assert load_code_plugins() == CodePlugins((), ())


# The examples


def test_example_architecture_is_built_trained_and_loaded(
    example: Callable[[str], CodePlugins],
    tiny_cohort: Cohort,
    tiny_split: pd.Series[str],
    tiny_recipe: Callable[..., BankRecipe],
    tmp_path: Path,
    put: Callable[..., Path],
) -> None:
    (plugin,) = example("architecture").plugins
    assert plugin.where == "codenoise_example_architecture 1.0"
    assert list(plugin.adds["architectures"]) == ["linear"]
    linear = build_denoiser("linear", 4, [3], {"time_dim": 8, "condition_width": 5})
    assert linear(torch.zeros(2, 4), torch.zeros(2), torch.zeros(2, 3)).shape == (2, 4)
    recipe = tiny_recipe()
    training = {**recipe.training, "architecture": "linear"}
    (*_, outcome) = train_bank(
        recipe.model_copy(update={"training": training}),
        tiny_cohort, tiny_split, tmp_path / "bank", experts=[(("alpha",), "beta")],
    )  # fmt: skip
    assert outcome.status == "trained"
    site = tmp_path / "site"
    for project in (tmp_path / "bank").iterdir():
        put(site, project)
    (expert,) = discover(path=[str(site)]).experts
    assert expert.manifest.architecture.name == "linear"
    assert type(load_expert(expert).denoiser).__name__ == "LinearDenoiser"


def test_example_architecture_is_there_in_worker_processes(
    example: Callable[[str], CodePlugins],
    tiny_cohort: Cohort,
    tiny_split: pd.Series[str],
    tiny_recipe: Callable[..., BankRecipe],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # One process tells as much as two, and each imports torch.
    monkeypatch.setattr(
        "codenoise.registry.authoring.bank.ProcessPoolExecutor",
        lambda _, **more: ProcessPoolExecutor(1, **more),
    )
    example("architecture")
    recipe = tiny_recipe()
    training = {**recipe.training, "architecture": "linear"}
    outcomes = train_bank(
        recipe.model_copy(update={"training": training}),
        tiny_cohort, tiny_split, tmp_path / "bank", workers=2,
    )  # fmt: skip
    assert [outcome.status for outcome in outcomes] == ["trained"] * 4


def test_an_architecture_of_nobody_is_named(site: Path) -> None:
    expert = discover(path=[str(site)]).experts[0]
    architecture = expert.manifest.architecture.model_copy(update={"name": "linear"})
    changed = expert.manifest.model_copy(update={"architecture": architecture})
    with pytest.raises(CodenoiseError) as caught:
        need("architectures", changed.architecture.name)
    assert str(caught.value) == (
        "architecture 'linear' is unknown; known: mlp, residual, unet; install the plugin that "
        "adds it"
    )


def test_a_skipped_plugin_is_named_where_something_is_unknown(
    site: Path, install: Install, edit: Callable[..., Path], seal: Callable[..., None]
) -> None:
    install("bad", "import no_such_module\n")
    folder = site / "codenoise_expert_cna_to_rppa"
    edit(folder / "expert.json", lambda content: content["architecture"].update(name="linear"))
    seal(folder)
    expert = discover(path=[str(site)]).experts[0]
    with pytest.raises(ArtifactError) as caught:
        load_expert(expert)
    assert str(caught.value) == (
        f"{folder / 'expert.json'}: architecture 'linear' is unknown; known: mlp, residual, unet; "
        f"bad of bad 1.0 was skipped: ModuleNotFoundError: No module named 'no_such_module'; "
        f"upgrade it, or tell its author"
    )


def test_known_names_load_no_plugin(site: Path, install: Install) -> None:
    install("loud", "raise SystemExit('loaded')\n")
    need("architectures", "unet")
    load_expert(discover(path=[str(site)]).experts[0])
    assert "plugin_loud" not in sys.modules


def test_example_weighting_weighs(example: Callable[[str], CodePlugins]) -> None:
    example("weighting")
    need("weightings", "best")
    experts: Any = [SimpleNamespace(validation_mse=error) for error in (0.5, 0.2, 0.9)]
    weights = reliability_weights(EngineSettings(weighting="best"), experts)
    assert weights.tolist() == [0, 1, 0]


def test_example_sampler_follows_the_flow_at_second_order(
    example: Callable[[str], CodePlugins],
) -> None:
    adams = example("sampler").of("samplers")["adams"]
    need("samplers", "adams")
    start = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    mean, variance = 0.7, 0.3
    errors, asked = [], []
    for steps in (50, 100, 200):
        levels = step_grid(linear_schedule().alpha_bar, steps, "adams").tolist()

        def exact(x: torch.Tensor, step: int, a: list[float] = levels) -> torch.Tensor:
            asked.append(step)
            residual = (1 - a[step]) ** 0.5 * (x - a[step] ** 0.5 * mean)
            return residual / (a[step] * variance + 1 - a[step])

        ends = adams.run(exact, start, levels, None)
        # The flow keeps a Gaussian's quantiles: deviations shrink as the standard deviation does.
        noise = (1 - levels[0]) / levels[0]
        shrink = (variance / (variance + noise)) ** 0.5
        right = mean + shrink * (start / levels[0] ** 0.5 - mean)
        errors.append(float((ends - right).abs().max()))
    assert asked == [*range(50), *range(100), *range(200)]  # one evaluation per step
    assert errors[0] < 0.02
    assert 2.8 < errors[0] / errors[1] < 6
    assert 2.8 < errors[1] / errors[2] < 6


@pytest.fixture
def gct(tmp_path: Path) -> Path:
    folder = tmp_path / "cohort"
    folder.mkdir()
    (folder / "rna.gct").write_text(
        "#1.2\n2\t3\nName\tDescription\tP1\tP2\tP3\nTP53\tna\t1.5\t2\t3\nEGFR\tna\t4\t\t6\n"
    )
    return folder


def test_example_reader_reads_a_cohort(example: Callable[[str], CodePlugins], gct: Path) -> None:
    example("reader")
    cohort = read_cohort(gct, features={"rna": ["EGFR", "TP53"]})
    expected = pd.DataFrame({"TP53": [1.5, 2, 3], "EGFR": [4, np.nan, 6]}, index=["P1", "P2", "P3"])
    table = cohort.tables["rna"]
    np.testing.assert_array_equal(table.frame.to_numpy(), expected.to_numpy())
    assert (list(table.frame.index), list(table.frame)) == (["P1", "P2", "P3"], ["TP53", "EGFR"])
    assert "read by the plugin for .gct" in table.notes
    write_cohort(cohort, gct / "again")
    again = read_cohort(gct / "again", features={"rna": ["EGFR", "TP53"]}).tables["rna"]
    assert (gct / "again" / "rna.csv").is_file()
    pd.testing.assert_frame_equal(again.frame, table.frame, check_names=False)


def test_without_the_reader_there_is_no_table(gct: Path) -> None:
    with pytest.raises(DataError, match="holds no table"):
        read_cohort(gct)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        ("#1.3\n", "ValueError: its first line should be '#1.2', not '#1.3'"),
        ("#1.2\n1\t1\nName\tP1\nTP53\t1\n", "KeyError: \"['Description'] not found in axis\""),
    ],
)
def test_what_a_reader_raises_names_the_file(
    example: Callable[[str], CodePlugins], gct: Path, content: str, reason: str
) -> None:
    example("reader")
    path = gct / "rna.gct"
    path.write_text(content)
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert str(caught.value) == f"{path} cannot be read as .gct: {reason}"
    with pytest.raises(DataError) as caught:
        read_table(gct / "cna.gct")
    assert str(caught.value) == f"{gct / 'cna.gct'} is not there"


def test_values_of_a_reader_are_checked_as_all_others(
    example: Callable[[str], CodePlugins], gct: Path
) -> None:
    example("reader")
    path = gct / "rna.gct"
    path.write_text(path.read_text().replace("1.5", "high"))
    with pytest.raises(DataError, match=r"rna\.gct.*'high'"):
        read_table(path, orientation="features-as-rows")


def test_a_reader_has_to_return_a_table(install: Install, tmp_path: Path) -> None:
    install("own", "def read(path):\n    return 3\n" + _adding("readers", "{'.own': read}"))
    assert load_code_plugins().broken == ()
    path = tmp_path / "rna.own"
    path.touch()
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert str(caught.value) == (
        f"{path}: the reader of .own returned int; expected a DataFrame of patients and features"
    )


def test_example_catalogue_lists_folders_and_repositories(
    example: Callable[[str], CodePlugins], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INSTITUTE_EXPERTS", str(ROOT / "plugins"))
    example("catalogue")
    found = listed()
    assert Listed(
        "institute", "cna-to-rna@0.1.0",
        f"codenoise experts add {ROOT / 'plugins' / 'codenoise-expert-cna-to-rna'}",
    ) in found  # fmt: skip
    assert found[-1] == Listed(
        "institute", "institute/rna-to-rppa", "codenoise pull institute/rna-to-rppa"
    )
    assert [one.holds for one in listed("TCGA-rppa")] == ["tcga-rppa@0.1.0"]
    assert listed("nonsense") == []
    folders = list((ROOT / "plugins").glob("codenoise-*"))
    assert len(listed("institute")) == len(found) == len(folders) + 1


def test_a_catalogue_may_name_one_folder_and_tells_of_a_broken_one(
    install: Install, tmp_path: Path
) -> None:
    good = ROOT / "plugins" / "codenoise-expert-cna-to-rna" / "codenoise_expert_cna_to_rna"
    install("mine", _adding("sources", f"{{'mine': ['{good}', '{tmp_path / 'gone'}']}}"))
    whole, broken = listed()
    assert whole == Listed("mine", "cna-to-rna@0.1.0", f"codenoise experts add {good}")
    assert broken.command == ""
    assert broken.holds == f"{tmp_path / 'gone'} is no folder; give one with an expert.json"


# Broken plugins

TAIL = "; upgrade it, or tell its author"
BREAKINGS = {
    "import": ("import no_such_module\n", "ModuleNotFoundError: No module named 'no_such_module'"),
    "syntax": ("def\n", "SyntaxError: invalid syntax (plugin_bad.py, line 2)"),
    "exit": ("raise SystemExit(3)\n", "SystemExit: 3"),
    "raises": (
        "@hookimpl\ndef codenoise_readers():\n    raise RuntimeError('no licence')\n",
        "RuntimeError: no licence",
    ),
    "no-hook": ("x = 1\n", "plugin_bad has no function marked with codenoise's hookimpl"),
    "not-mapping": (
        _adding("samplers", "['a']"), "codenoise_samplers returns list; expected names and values",
    ),
    "name": (
        _adding("weightings", "{'My name': len}"),
        "codenoise_weightings gives the name 'My name'; expected one like 'my-name'",
    ),
    "ending": (
        _adding("readers", "{'gct': len}"),
        "codenoise_readers gives the name 'gct'; expected one like '.gct'",
    ),
    "not-callable": (
        _adding("weightings", "{'mine': 3}"), "codenoise_weightings, 'mine': 3 cannot be called",
    ),
    "not-sampler": (
        _adding("samplers", "{'mine': 3}"),
        "codenoise_samplers, 'mine': expected SamplingMethod, not 3",
    ),
    "not-list": (
        _adding("sources", "{'mine': '/srv'}"),
        "codenoise_sources, 'mine': expected a list of folders and repositories",
    ),
    "not-text": (
        _adding("sources", "{'mine': [3]}"),
        "codenoise_sources, 'mine': expected a list of folders and repositories",
    ),
    "built-in": (
        _adding("architectures", "{'new': len, 'unet': len}"),
        "architecture 'unet' of bad 1.0 is already there, from codenoise; give it another name",
    ),
    "built-in-sampler": (
        METHOD + _adding("samplers", "{'ddim': SamplingMethod(len)}"),
        "sampler 'ddim' of bad 1.0 is already there, from codenoise; give it another name",
    ),
    "built-in-weighting": (
        _adding("weightings", "{'stacked': len}"),
        "weighting 'stacked' of bad 1.0 is already there, from codenoise; give it another name",
    ),
    "built-in-ending": (
        _adding("readers", "{'.my.csv': len}"),
        "reader '.my.csv' of bad 1.0 is already there, from codenoise; give it another name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("how", BREAKINGS)
def test_broken_plugin_is_reported_and_breaks_no_other(
    install: Install, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    source, reason = BREAKINGS[how]
    install("aaa", _adding("weightings", "{'first': len}"))
    install("bad", source)
    install("zzz", _adding("weightings", "{'last': len}"))
    before = {name: ARCHITECTURES[name] for name in ARCHITECTURES}
    loaded = load_code_plugins()
    assert loaded.of("weightings") == {"first": len, "last": len}
    (broken,) = loaded.broken
    assert (broken.entry, broken.where, broken.remedy) == ("bad", "bad 1.0", "pip uninstall bad")
    assert broken.reason == f"{reason}{TAIL}"
    assert {name: ARCHITECTURES[name] for name in ARCHITECTURES} == before
    load_code_plugins.cache_clear()
    monkeypatch.setenv("CODENOISE_STRICT", "1")
    with pytest.raises(CodenoiseError) as caught:
        load_code_plugins()
    assert str(caught.value) == (
        f"code plugin 'bad' of bad 1.0: {reason}{TAIL} (CODENOISE_STRICT=1 makes this fatal)"
    )


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("@hookimpl\ndef codenoise_readers(path):\n    return {}\n", "codenoise_readers"),
        ("@hookimpl\ndef codenoise_reader():\n    return {}\n", "unknown hook 'codenoise_reader'"),
    ],
    ids=["wrong-signature", "wrong-name"],
)
def test_hooks_have_to_be_those_that_are_specified(
    install: Install, source: str, part: str
) -> None:
    install("bad", source)
    install("good", _adding("weightings", "{'mine': len}"))
    loaded = load_code_plugins()
    assert loaded.of("weightings") == {"mine": len}
    (broken,) = loaded.broken
    assert part in broken.reason
    assert broken.reason.startswith("PluginValidationError: ")
    assert "\n" not in broken.reason


def test_a_name_that_two_plugins_add_is_the_firsts(install: Install) -> None:
    install("aaa", METHOD + _adding("samplers", "{'mine': SamplingMethod(len)}"))
    both = "{'yours': SamplingMethod(max), 'mine': SamplingMethod(max)}"
    install("bbb", METHOD + _adding("samplers", both))
    loaded = load_code_plugins()
    assert loaded.of("samplers") == {"mine": SamplingMethod(len)}  # type: ignore[arg-type]
    assert loaded.broken[0].reason == (
        f"sampler 'mine' of bbb 1.0 is already there, from aaa 1.0; give it another name{TAIL}"
    )
    assert "yours" not in known("samplers")


@pytest.mark.parametrize(
    ("entries", "reason"),
    [
        ("[codenoise]\nx = plugin_x:hook\n", "'plugin_x:hook' should name a module"),
        ("[codenoise]\nx = not a module\n", "'not a module' should name a module"),
        ("[codenoise]\nx = plugin_y\n", "No module named 'plugin_y'"),
    ],
)
def test_entry_points_that_name_no_module(install: Install, entries: str, reason: str) -> None:
    install("x", entries=entries)
    assert reason in load_code_plugins().broken[0].reason


def test_unreadable_metadata_breaks_nothing(install: Install, tmp_path: Path) -> None:
    install("bad")
    (entry_points,) = tmp_path.glob("sites/bad/*/entry_points.txt")
    entry_points.write_bytes(b"\xff\xfe")
    install("good", _adding("weightings", "{'mine': len}"))
    assert load_code_plugins().of("weightings") == {"mine": len}


def test_the_same_distribution_twice_counts_once(install: Install, tmp_path: Path) -> None:
    install("mine", _adding("weightings", "{'mine': len}"))
    shutil.copytree(tmp_path / "sites" / "mine", tmp_path / "sites" / "more")
    loaded = load_code_plugins()
    assert (len(loaded.plugins), loaded.broken) == (1, ())


def test_loading_again_changes_nothing(install: Install) -> None:
    install("mine", _adding("weightings", "{'mine': len}"))
    first = load_code_plugins()
    load_code_plugins.cache_clear()
    again = load_code_plugins()
    assert again == first
    assert again.broken == ()
