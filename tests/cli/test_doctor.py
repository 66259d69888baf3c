from __future__ import annotations

import json
import platform
from collections.abc import Callable, Iterator
from importlib.metadata import distributions, version
from pathlib import Path
from typing import Any

import pytest

from codenoise.core.diffusion.samplers import SAMPLERS
from codenoise.registry.installed.code_plugins import load_code_plugins

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """No code plugin is loaded at first, and the samplers of one are gone afterwards."""
    monkeypatch.setattr(SAMPLERS, "_things", {**SAMPLERS._things})
    load_code_plugins.cache_clear()
    yield
    load_code_plugins.cache_clear()


@pytest.fixture
def code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """``code(name, source)``: a code plugin of this source is all that is installed of them."""
    monkeypatch.setattr(
        "codenoise.registry.installed.code_plugins.distributions",
        lambda: distributions(path=[str(tmp_path)]),
    )

    def apply(name: str, source: str) -> None:
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text(f"[codenoise]\nmine = doctored_{name}\n")
        (tmp_path / f"doctored_{name}.py").write_text(source)
        monkeypatch.syspath_prepend(tmp_path)

    return apply


GOOD = (
    "from codenoise import hookimpl\n"
    "from codenoise.core.diffusion.samplers import SamplingMethod as M\n"
    "@hookimpl\ndef codenoise_samplers():\n    return {'slow': M(len), 'fast': M(max)}\n"
)


def test_facts(bank: Path, hub: Any, done: Callable[..., str]) -> None:
    told = json.loads(done("doctor", "--json"))
    facts = told["facts"]
    assert facts["python"].startswith(platform.python_version())
    for name in ("codenoise", "torch", "numpy", "huggingface_hub"):
        assert facts[name] == version(name)
    assert facts["store"].endswith("home (CODENOISE_HOME)")
    assert facts["Hub"] == hub.url
    assert facts["Hub login"] == "none; 'hf auth login' makes one"
    for kind in ("expert", "space"):
        assert facts[f"{kind}s"] == len(list(bank.glob(f"codenoise_{kind}_*.dist-info")))
    assert (told["code plugins"], told["broken"]) == ([], [])


def test_text(bank: Path, hub: Any, done: Callable[..., str], code: Any) -> None:
    code("good", GOOD)
    out = done("doctor")
    assert "mine     good 1.0   samplers: fast, slow" in out
    assert out.endswith("nothing is broken\n")


def test_broken_things_are_named_with_their_mend(
    bank_site: Path, own_bank: Callable[[str], Path], hub: Any, run: Callable[..., Any], code: Any
) -> None:
    code("good", GOOD)
    code("bad", "import no_such_module\n")
    (own_bank("codenoise_expert_cna_to_rna") / "denoiser.safetensors").unlink()
    ran = run("doctor", "--json")
    assert ran.code == 1
    told = json.loads(ran.out)
    plugin, expert = told["broken"]
    assert plugin == {
        "broken": "mine", "of": "bad 1.0", "mend": "pip uninstall bad",
        "reason": "ModuleNotFoundError: No module named 'no_such_module'; upgrade it, or tell its "
                  "author",
    }  # fmt: skip
    assert expert["broken"] == "cna-to-rna"
    assert told["code plugins"] == [
        {"entry": "mine", "where": "good 1.0", "adds": {"samplers": ["fast", "slow"]}}
    ]
    assert told["facts"]["experts"] == len(list(bank_site.glob("codenoise_expert_*.dist-info"))) - 1
    assert run("doctor").code == 1


def test_a_broken_plugin_is_told_of_where_a_cohort_is_read(
    bank: Path, run: Callable[..., Any], code: Any
) -> None:
    code("bad", "import no_such_module\n")
    ran = run("cohort", "check", ROOT / "examples" / "tcga" / "cohort")
    assert ran.code == 0
    assert ran.err.startswith("skipped: mine of bad 1.0: ModuleNotFoundError: ")
