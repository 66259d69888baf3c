"""Principal components as an encoder: the linear default of a space."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from codenoise.core.base.errors import SpaceError

Float32 = NDArray[np.float32]


@dataclass(frozen=True)
class PCAEncoder:
    """Projection on orthonormal components.

    Attributes
    ----------
    components
        Rows are components, shape ``(dim, features)``.
    """

    kind: ClassVar[str] = "pca"
    components: Float32

    @classmethod
    def fit(cls, values: Float32, dim: int, seed: int = 0) -> PCAEncoder:
        """Fit to standardised training values, shape ``(patients, features)``."""
        from sklearn.decomposition import PCA  # slow to import, and only fitting needs it

        fitted = PCA(n_components=dim, svd_solver="full", random_state=seed).fit(values)
        return cls(np.asarray(fitted.components_, dtype=np.float32))

    @classmethod
    def from_tensors(cls, tensors: dict[str, Float32]) -> PCAEncoder:
        """Rebuild from `tensors`.

        Raises
        ------
        SpaceError
            If the components are no matrix.
        """
        components = tensors["components"]
        if components.ndim != 2:
            raise SpaceError(f"PCA components have shape {components.shape}, expected a matrix")
        return cls(components)

    @property
    def dim(self) -> int:
        """Latent dimensions."""
        return len(self.components)

    @property
    def features(self) -> int:
        """Features the encoder takes."""
        return int(self.components.shape[1])

    def tensors(self) -> dict[str, Float32]:
        """What has to be stored, by name."""
        return {"components": self.components}

    def encode(self, values: Float32) -> Float32:
        """Standardised values ``(patients, features)`` to codes ``(patients, dim)``."""
        return values @ self.components.T

    def decode(self, codes: Float32) -> Float32:
        """Codes ``(..., dim)`` to standardised values ``(..., features)``."""
        return codes @ self.components
