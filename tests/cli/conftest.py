"""The command run as users run it, on the example cohort and on a tiny one."""

from __future__ import annotations

import re
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import distributions
from itertools import permutations
from pathlib import Path

import click
import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

from codenoise.cli.main import cli, main
from codenoise.registry.ensembles.composing import compose
from codenoise.registry.ensembles.recipe import Sampler, write_recipe
from codenoise.registry.installed.discovery import discover

EXAMPLE = Path(__file__).parents[2] / "examples" / "tcga"


@dataclass(frozen=True)
class Ran:
    """Exit status and output of one run."""

    code: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """``run(*words)``: what the installed ``codenoise`` does with these words."""

    def apply(*words: object) -> Ran:
        monkeypatch.setattr(sys, "argv", ["codenoise", *map(str, words)])
        capsys.readouterr()
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        return Ran(code, *capsys.readouterr())

    return apply


@pytest.fixture
def done(run: Run) -> Callable[..., str]:
    """``done(*words)``: standard output of a run that has to end well."""

    def apply(*words: object) -> str:
        ran = run(*words)
        assert ran.code == 0, ran.err
        return ran.out

    return apply


@pytest.fixture
def refused(run: Run) -> Callable[..., str]:
    """``refused(*words)``: the one line on stderr of a run that has to fail."""

    def apply(*words: object) -> str:
        ran = run(*words)
        assert ran.code == 1
        assert ran.out == ""
        assert ran.err.endswith("\n")
        assert ran.err.count("\n") == 1
        assert ran.err.startswith("error: ")
        assert "Traceback" not in ran.err
        _check_commands(ran.err)
        return ran.err.removeprefix("error: ").strip()

    return apply


def _check_commands(message: str) -> None:
    """Every command that a message sends its reader to has to be there."""
    for words in re.findall(r"'codenoise ([a-z][a-z ]*)", message):
        command: click.Command | None = cli
        for word in words.split():
            if isinstance(command, click.Group):
                command = command.get_command(click.Context(command), word)
                assert command is not None, f"there is no 'codenoise {words}'"


@pytest.fixture(scope="session")
def once(bank_site: Path) -> Callable[..., str]:
    """``once(*words)``: what a run with the bundled bank prints, for several tests to read."""

    def there(path: list[str] | None = None) -> object:
        return distributions(path=path or [str(bank_site)])

    def apply(*words: object) -> str:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("codenoise.registry.installed.discovery.distributions", there)
            ran = CliRunner().invoke(cli, [*map(str, words)], catch_exceptions=False)
        assert ran.exit_code == 0, ran.output
        return ran.stdout

    return apply


@pytest.fixture
def cohort(tmp_path: Path) -> Path:
    """The two smaller tables of the example cohort, copied to be spoilt."""
    folder = tmp_path / "cohort"
    folder.mkdir()
    for name in ("cna.csv", "rppa.csv", "clinical.csv"):
        shutil.copy(EXAMPLE / "cohort" / name, folder)
    return folder


@pytest.fixture
def own_bank(
    bank_site: Path, tmp_path: Path, only_these: Callable[[Path], None]
) -> Callable[[str], Path]:
    """``own_bank(package)`` gives a package of an installed bank a folder of its own, to be spoilt.

    The bank's other packages are linked.
    """
    site = tmp_path / "site"
    shutil.copytree(bank_site, site, symlinks=True)
    only_these(site)

    def apply(package: str) -> Path:
        folder = site / package
        if folder.is_symlink():
            real = folder.resolve()
            folder.unlink()
            shutil.copytree(real, folder)
        return folder

    return apply


@pytest.fixture(scope="session")
def ensemble(bank_site: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe of the experts between the example's modalities, and 5 steps."""
    path = tmp_path_factory.mktemp("recipe") / "ensemble.toml"
    names = [f"{a}-to-{b}" for a, b in permutations(("cna", "rna", "rppa", "wsi"), 2)]
    recipe = compose(discover(path=[str(bank_site)]), experts=names, sampler=Sampler(steps=5))
    write_recipe(recipe, path)
    return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cohort of 150 patients and two modalities, its split and a bank recipe; not to be changed.

    ``cohort/{alpha,beta,clinical}.csv``, ``split.csv`` and ``bank.toml``.
    """
    root = tmp_path_factory.mktemp("tiny")
    rng = np.random.default_rng(0)
    patients = pd.Index([f"P{i:03d}" for i in range(150)], name="patient")
    factors = rng.normal(size=(150, 4))
    (root / "cohort").mkdir()
    for modality in ("alpha", "beta"):
        values = factors @ rng.normal(size=(4, 40)) + 0.1 * rng.normal(size=(150, 40))
        frame = pd.DataFrame(values, patients, [f"{modality}{i}" for i in range(40)])
        frame.round(4).to_csv(root / "cohort" / f"{modality}.csv")
    types = pd.DataFrame({"cancer_type": ["LUAD", "BRCA", "KIRC"] * 50}, patients)
    types.to_csv(root / "cohort" / "clinical.csv")
    labels = ["train", "train", "train", "validation", "test"] * 30
    pd.Series(labels, patients, name="split").to_csv(root / "split.csv")
    (root / "bank.toml").write_text(
        'cohort = "tiny"\nversion = "0.1.0"\nauthors = ["A. Author"]\ncitation = "none"\n'
        "minimum_patients = 20\n"
        "[training]\nwidth = 16\nlayers = 2\ntime_dim = 8\ncondition_width = 8\nbatch = 64\n"
        "max_steps = 60\nvalidate_every = 20\nvalidation_draws = 4\n"
        "validation_sampler_steps = 5\n"
        + "".join(
            f'[modalities.{m}]\nspace = "tiny-{m}"\nunit = "none"\nlicense = "MIT"\n'
            f'sources = ["made up"]\ndim = 4\n'
            for m in ("alpha", "beta")
        )
    )
    return root
