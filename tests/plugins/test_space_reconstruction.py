"""What a bundled space says it keeps is what a user finds in encoding and decoding."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import r2_score

from codenoise.core.cohort.cohort import read_cohort
from codenoise.core.cohort.splits import read_split, split_part
from codenoise.core.spaces.space import Space
from codenoise.core.spaces.streaming import encode_file
from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.loading import load_space

ROOT = Path(__file__).parents[2]
SPLIT = ROOT / "plugins" / "tcga_split.csv"
FULL = ROOT.parent / "shared" / "data" / "tcga"
MANIFESTS = sorted((ROOT / "plugins").glob("codenoise-space-*/*/space.json"))

needs_full_cohort = pytest.mark.skipif(not FULL.is_dir(), reason="the full cohort is not here")


def bundled(path: Path) -> tuple[Space, dict[str, float]]:
    """A space by its manifest's path, and what the manifest says of its validation."""
    about = json.loads(path.read_text())
    (plugin,) = (p for p in discover().spaces if p.reference == f"{about['name']}@0.1.0")
    return load_space(plugin), about["validation"]


@needs_full_cohort
@pytest.mark.usefixtures("bank")
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.parent.name)
def test_validation_patients_are_reconstructed_as_well_as_the_manifest_says(path: Path) -> None:
    space, said = bundled(path)
    cohort = read_cohort(FULL, [space.modality], features={space.modality: space.features})
    held = split_part(cohort, read_split(SPLIT), "validation").measured(space.modality)
    decoded = space.decode(space.encode(held, space.modality).to_numpy())
    real = held[list(space.features)].to_numpy(dtype=np.float32)
    real = np.where(np.isnan(real), decoded, real)  # gaps count as met
    wanted, got = ((values - space.center) / space.scale for values in (real, decoded))
    assert len(held) == said["n"]
    assert r2_score(wanted.ravel(), got.ravel()) == pytest.approx(said["r2"], abs=1e-5)
    varying = wanted.std(axis=0) > 0
    each = r2_score(wanted[:, varying], got[:, varying], multioutput="raw_values")
    assert each.mean() == pytest.approx(said["r2_feature_mean"], abs=1e-5)


@needs_full_cohort
@pytest.mark.usefixtures("bank")
@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.parent.name)
def test_reading_in_chunks_gives_the_latents_of_reading_whole(path: Path) -> None:
    space, _ = bundled(path)
    file = FULL / f"{space.modality}.parquet"
    whole = read_cohort(FULL, [space.modality]).measured(space.modality)
    pd.testing.assert_frame_equal(
        encode_file(space, file), space.encode(whole, file.name), check_exact=True
    )
