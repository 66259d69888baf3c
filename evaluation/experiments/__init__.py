"""The experiments by name, in the order of a report; importing this loads none of them.

A new one is a module with an ``EXPERIMENT`` (see `codenoise.evaluation.experiment`), a line below,
and its definitions in ``templates/notes/NAME.md.j2``. `codenoise.evaluation.reading` words its
claims and cells, `codenoise.evaluation.plotting` draws its figures.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from codenoise.evaluation.experiment import Experiment

EXPERIMENTS = {
    "reconstruction": ("reconstruction", "How close generated latents come to the real ones."),
    "manifold": ("manifold", "Whether generated patients lie where real ones do (UMAP)."),
    "signals": ("signals", "Whether cancer type and stage can be read from generated values."),
    "completion": ("completion", "What completing gives back to stage and survival models."),
    "prioritisation": ("prioritisation", "Whether the right patients would be tested next."),
    "privacy": ("privacy", "What generation from nothing, or of members, gives away."),
    "weights": ("reliability", "How reliability weights are distributed."),
    "rejection": ("rejection", "When trajectories are rejected, and whether that finds conflicts."),
    "dimension": ("dimension", "How the size of latents matters."),
}
"""Module and summary of each."""


def experiment(name: str) -> Experiment:
    """Import one experiment.

    Raises
    ------
    KeyError
        If there is none of this name.
    """
    module = importlib.import_module(f"codenoise.evaluation.experiments.{EXPERIMENTS[name][0]}")
    found: Experiment = module.EXPERIMENT
    return found
