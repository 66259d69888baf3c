from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from codenoise.core.base.errors import ArtifactError, CodenoiseError
from codenoise.registry.contract.artifacts import load_tensors, save_tensors
from codenoise.registry.contract.manifest import ExpertManifest, SpaceManifest
from codenoise.registry.installed.discovery import Inventory, Plugin, discover
from codenoise.registry.installed.loading import load_expert, load_space

Content = dict[str, Any]
PACKAGE = "codenoise_expert_rna_to_rppa"
SPACE = "codenoise_space_tcga_rppa"


def _found(site: Path) -> Inventory:
    inventory = discover(path=[str(site)])
    assert not inventory.broken
    return inventory


def _expert(site: Path) -> Plugin[ExpertManifest]:
    return next(p for p in _found(site).experts if p.folder.name == PACKAGE)


def _space(site: Path) -> Plugin[SpaceManifest]:
    return next(p for p in _found(site).spaces if p.folder.name == SPACE)


def test_loaded_spaces_have_the_digest_of_their_manifest(site: Path) -> None:
    for plugin in _found(site).spaces:
        space = load_space(plugin)
        manifest = plugin.manifest
        assert space.digest == manifest.digest
        assert space.reference == plugin.reference
        assert (space.modality, space.dim) == (manifest.modality, manifest.dim)
        assert list(space.features) == manifest.features


def test_loaded_expert_runs_and_keeps_the_shape(site: Path) -> None:
    plugin = _expert(site)
    expert = load_expert(plugin)
    assert (expert.name, expert.conditions, expert.target) == (
        "rna-to-rppa@0.1.0",
        ("rna",),
        "rppa",
    )
    assert expert.condition_spaces == (plugin.manifest.condition[0].digest,)
    assert expert.target_space == plugin.manifest.target.digest
    assert expert.validation_mse == plugin.manifest.validation.mse
    assert expert.prediction == plugin.manifest.prediction
    assert expert.schedule.steps == 1000
    with torch.inference_mode():
        output = expert.denoiser(torch.zeros(3, 32), torch.full((3,), 500.0), torch.ones(3, 32))
    assert output.shape == (3, 32)
    assert output.dtype == torch.float32
    assert torch.isfinite(output).all()


def test_loaded_expert_is_in_evaluation_mode(site: Path) -> None:
    denoiser = load_expert(_expert(site)).denoiser
    x, time, condition = torch.randn(4, 32), torch.full((4,), 500.0), torch.randn(4, 32)
    with torch.inference_mode():
        together = denoiser(x, time, condition)
        alone = torch.cat(
            [denoiser(*(part[i : i + 1] for part in (x, time, condition))) for i in range(4)]
        )
    torch.testing.assert_close(together, alone)


def test_loading_imports_no_plugin(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (site / PACKAGE / "__init__.py").write_text("raise RuntimeError('imported')\n")
    monkeypatch.syspath_prepend(site)
    load_expert(_expert(site))


def test_weights_of_another_expert_are_refused_for_their_identity(
    site: Path, edit: Callable[..., Path]
) -> None:
    other = site / "codenoise_expert_cna_to_rppa"
    shutil.copy(other / "denoiser.safetensors", site / PACKAGE / "denoiser.safetensors")
    files: Content = {}
    edit(other / "expert.json", lambda content: files.update(content["files"]))
    edit(site / PACKAGE / "expert.json", lambda content: content.update(files=files))
    with pytest.raises(ArtifactError, match=r"was not made for rna-to-rppa@0\.1\.0") as caught:
        load_expert(_expert(site))
    assert str(site / PACKAGE / "denoiser.safetensors") in str(caught.value)
    assert "pip install --force-reinstall codenoise-expert-rna-to-rppa==0.1.0" in str(caught.value)


def test_manifest_changed_after_training_is_refused_for_its_identity(
    site: Path, edit: Callable[..., Path]
) -> None:
    edit(site / PACKAGE / "expert.json", lambda content: content.update(prediction="epsilon"))
    with pytest.raises(ArtifactError, match="identity in its metadata differs"):
        load_expert(_expert(site))


def test_corrupted_weights_are_refused_for_their_checksum(site: Path) -> None:
    path = site / PACKAGE / "denoiser.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"denoiser\.safetensors differs from the checksum"):
        load_expert(_expert(site))


def test_weights_that_vanish_after_listing_are_refused(site: Path) -> None:
    plugin = _expert(site)
    (site / PACKAGE / "denoiser.safetensors").unlink()
    with pytest.raises(ArtifactError, match="is missing; reinstall"):
        load_expert(plugin)


def _architecture(**fields: object) -> Callable[[Content], object]:
    return lambda content: content["architecture"].update(fields)


def _parameters(**fields: object) -> Callable[[Content], object]:
    return lambda content: content["architecture"]["parameters"].update(fields)


def _schedule(**fields: object) -> Callable[[Content], object]:
    return lambda content: content["schedule"]["parameters"].update(fields)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_architecture(name="transformer"), "architecture 'transformer' is unknown; known: mlp"),
        (_parameters(heads=8), "does not take .*heads"),
        (_parameters(width="wide"), "does not take .*wide"),
        (_parameters(width=-1), "does not take .*-1"),
        (_parameters(width=128), "does not fit its architecture"),
        (_parameters(layers=3), "does not fit its architecture"),
        (_parameters(width=10**6), r"'hidden.0.bias' is \(256,\), by the fields 'architecture'"),
        (_schedule(steps=-5), "schedule 'linear'"),
        (_schedule(steps=1), "schedule 'linear' needs steps >= 2"),
        (_schedule(beta_start=0.5, beta_end=0.1), "beta_start <= beta_end"),
        (lambda m: m["schedule"]["parameters"].pop("beta_end"), "lacks the parameter 'beta_end'"),
    ],
    ids=[
        "unknown", "extra", "text", "negative", "width", "layers", "huge",
        "steps", "step", "betas", "beta",
    ],
)  # fmt: skip
def test_expert_that_cannot_be_built_is_refused(
    site: Path,
    edit: Callable[..., Path],
    seal: Callable[..., None],
    change: Callable[[Content], object],
    words: str,
) -> None:
    edit(site / PACKAGE / "expert.json", change)
    seal(site / PACKAGE)
    with pytest.raises(ArtifactError, match=words) as caught:
        load_expert(_expert(site))
    assert str(site / PACKAGE) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_weights_that_do_not_fit_are_refused(
    site: Path, seal: Callable[..., None], change: str
) -> None:
    tensors, _ = load_tensors(site / PACKAGE / "denoiser.safetensors")
    if change == "missing":
        del tensors["output.bias"]
    elif change == "extra":
        tensors["surplus"] = np.zeros(3, dtype=np.float32)
    else:
        tensors["output.bias"] = tensors["output.bias"][:5]
    seal(site / PACKAGE, tensors)
    with pytest.raises(ArtifactError, match="does not fit its architecture") as caught:
        load_expert(_expert(site))
    assert "\n" not in str(caught.value)


def test_tampered_space_content_is_refused_for_its_digest(
    site: Path, seal: Callable[..., None]
) -> None:
    tensors, _ = load_tensors(site / SPACE / "encoder.safetensors")
    tensors["center"][0] += 1
    seal(site / SPACE, tensors)
    with pytest.raises(ArtifactError, match=r"space\.json: digest is sha256:\w+, its content"):
        load_space(_space(site))


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m["features"].reverse(), "digest"),
        (lambda m: m["features"].pop(), "143"),
        (lambda m: m.update(max_missing_fraction=1.0), "digest"),
        (lambda m: m.update(dim=31), "dim is 31"),
        (lambda m: m.update(encoder="vae"), "'vae' is unknown; known: autoencoder, pca"),
    ],
    ids=["order", "feature", "gaps", "dim", "encoder"],
)
def test_space_whose_manifest_disagrees_with_its_content_is_refused(
    site: Path, edit: Callable[..., Path], change: Callable[[Content], object], words: str
) -> None:
    edit(site / SPACE / "space.json", change)
    with pytest.raises(CodenoiseError, match=words):
        load_space(_space(site))


@pytest.mark.parametrize("tensor", ["center", "encoder.encoder.0.weight"])
def test_space_without_a_tensor_is_refused(
    site: Path, seal: Callable[..., None], tensor: str
) -> None:
    tensors, _ = load_tensors(site / SPACE / "encoder.safetensors")
    del tensors[tensor]
    seal(site / SPACE, tensors)
    with pytest.raises(CodenoiseError, match="lacks the tensor"):
        load_space(_space(site))


def test_corrupted_space_is_refused_for_its_checksum(site: Path) -> None:
    path = site / SPACE / "encoder.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match=r"encoder\.safetensors differs from the checksum"):
        load_space(_space(site))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_weights_that_are_no_numbers_are_refused(
    site: Path, seal: Callable[..., None], value: float
) -> None:
    folder = site / PACKAGE
    tensors, metadata = load_tensors(folder / "denoiser.safetensors")
    name = sorted(tensors)[0]
    tensors[name].flat[0] = value
    save_tensors(tensors, folder / "denoiser.safetensors", metadata)
    seal(folder)
    with pytest.raises(ArtifactError, match=rf"1 of the \d+ values of tensor '{name}' are no fin"):
        load_expert(_expert(site))


def test_a_space_of_no_numbers_is_refused(site: Path, seal: Callable[..., None]) -> None:
    folder = site / SPACE
    tensors, metadata = load_tensors(folder / "encoder.safetensors")
    tensors["residual_sd"][:2] = np.nan
    save_tensors(tensors, folder / "encoder.safetensors", metadata)
    seal(folder)
    with pytest.raises(ArtifactError, match="2 of the 144 values of tensor 'residual_sd'"):
        load_space(_space(site))
