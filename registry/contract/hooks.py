"""Hooks: what a code plugin may add. Its author marks functions of these names with `hookimpl`.

A distribution names the module that holds them under the entry-point group ``codenoise``::

    [project.entry-points.codenoise]
    mine = "my_module"

Everything that a hook returns has to be importable by name, so that it can be sent to other
processes. Heavy imports belong inside the functions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    import pandas as pd
    from torch import Tensor

    from codenoise.core.diffusion.denoiser import LatentDenoiser
    from codenoise.core.ensemble.expert import Expert
    from codenoise.core.ensemble.weights import Weights

GROUP = "codenoise"
hookimpl = pluggy.HookimplMarker(GROUP)
_hookspec = pluggy.HookspecMarker(GROUP)


@_hookspec
def codenoise_architectures() -> Mapping[str, Callable[..., LatentDenoiser]]:  # type: ignore[empty-body]
    """Networks by the name that stands in manifests and training settings.

    Each is called with ``dim``, ``condition_dims``, ``masked=`` and the parameters of the manifest,
    which training gives as ``width=``, ``layers=``, ``time_dim=`` and ``condition_width=``; see
    `codenoise.core.diffusion.denoiser.MLPDenoiser`.
    """


@_hookspec
def codenoise_weightings() -> Mapping[str, Callable[[Sequence[Expert]], Weights]]:  # type: ignore[empty-body]
    """Reliability weights by the name that stands in recipes.

    Each takes the experts in play and returns as many weights, non-negative and summing to one; see
    `codenoise.core.ensemble.weights`.
    """


@_hookspec
def codenoise_samplers() -> Mapping[str, Callable[[Tensor, Tensor, float, float], Tensor]]:  # type: ignore[empty-body]
    """Steps of samplers by the name that stands in recipes.

    Each takes noisy latents ``(rows, dim)``, the noise in them, and the signal variance now and
    after the step (1 ends the run), and returns the latents after the step; see
    `codenoise.core.diffusion.samplers.ddim_step`.
    """


@_hookspec
def codenoise_readers() -> Mapping[str, Callable[[Path], pd.DataFrame]]:  # type: ignore[empty-body]
    """Readers of table files by the ending of their names, such as ``.gct``.

    Each takes a path and returns numbers with patients and features as index and columns, either
    way round, gaps as NaN.
    """


@_hookspec
def codenoise_sources() -> Mapping[str, Sequence[str]]:  # type: ignore[empty-body]
    """Catalogues of an institution by name, for ``codenoise experts search --catalogues``.

    Each lists absolute paths of folders, which hold an expert or a space or are full of such
    folders, and Hub repositories as ``org/name``.
    """
