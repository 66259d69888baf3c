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

    from codenoise.core.diffusion.denoiser import LatentDenoiser
    from codenoise.core.diffusion.samplers import SamplingMethod
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
def codenoise_samplers() -> Mapping[str, SamplingMethod]:  # type: ignore[empty-body]
    """Samplers by the name that stands in recipes.

    Each is ``SamplingMethod(run)``, where ``run(predict, x, levels, noise)`` goes all the way from
    noise ``x``, shape ``(rows, dim)``, to clean latents of the same shape and type: it asks
    ``predict(x, step)`` for the noise in latents at each of ``levels`` (signal variances,
    increasing), as often as it likes, and may remember what it was told. ``fresh_noise=True`` has
    it given noise, shape ``(rows, steps - 1, dim)``; ``even=True`` spaces the levels evenly. See
    `codenoise.core.diffusion.samplers`, whose samplers are written alike.
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
