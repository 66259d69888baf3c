"""What an analyst would use instead of an expert: each a point prediction of target latents."""

from __future__ import annotations

from collections.abc import Mapping

from codenoise.evaluation.baselines.completion import missforest, softimpute
from codenoise.evaluation.baselines.queries import Baseline, Query
from codenoise.evaluation.baselines.regression import knn, mean, mlp, ridge, ridge_each

BASELINES: Mapping[str, Baseline] = {
    "mean": mean,
    "ridge": ridge_each,
    "knn": knn,
    "missforest": missforest,
    "softimpute": softimpute,
    "mlp": mlp,
}

__all__ = ["BASELINES", "Baseline", "Query", "ridge"]
