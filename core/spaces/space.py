"""A space: the coordinate system in which experts of a modality meet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import ClassVar, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from codenoise.core.errors import DataError, SpaceError, first_few
from codenoise.core.spaces.pca import PCAEncoder

Float32 = NDArray[np.float32]
# Standardised values beyond this many standard deviations are clipped before encoding: a single
# corrupt value must not move a patient across the whole space.
CLIP = 10.0
# Rows are encoded in blocks of this size, padded when fewer: matrix kernels round differently for
# different shapes, and a patient's latents must not depend on who else is in the table.
BLOCK = 64


class Encoder(Protocol):
    """A map between standardised features and codes, stored as named tensors."""

    kind: ClassVar[str]

    @classmethod
    def from_tensors(cls, tensors: dict[str, Float32]) -> Self: ...  # noqa: D102
    @property
    def dim(self) -> int: ...  # noqa: D102
    @property
    def features(self) -> int: ...  # noqa: D102
    def tensors(self) -> dict[str, Float32]: ...  # noqa: D102
    def encode(self, values: Float32) -> Float32: ...  # noqa: D102
    def decode(self, codes: Float32) -> Float32: ...  # noqa: D102


ENCODERS: Mapping[str, type[Encoder]] = {"pca": PCAEncoder}


@dataclass(frozen=True)
class Space:
    """Ordered features, preprocessing, encoder, decoder and latent standardisation of a modality.

    Attributes
    ----------
    modality, name, version
        Identity for people; the `digest` is the identity that counts.
    features
        Feature names in order.
    median, center, scale
        Per feature, shape ``(features,)``: the value a gap is filled with, and the mean and
        standard deviation used for standardising; in the units of the input.
    encoder
        Standardised features to codes and back.
    latent_mean, latent_scale
        Per code dimension, shape ``(dim,)``; latents are codes standardised by these.
    residual_sd
        Per feature, shape ``(features,)``: standard deviation, in input units, of what decoding
        cannot recover, measured on validation patients.
    max_missing_fraction
        Share of a patient's features that may be gaps; 0 for a space fitted on complete data.
    """

    modality: str
    name: str
    version: str
    features: tuple[str, ...] = field(repr=False)
    median: Float32 = field(repr=False)
    center: Float32 = field(repr=False)
    scale: Float32 = field(repr=False)
    encoder: Encoder
    latent_mean: Float32 = field(repr=False)
    latent_scale: Float32 = field(repr=False)
    residual_sd: Float32 = field(repr=False)
    max_missing_fraction: float = 0.0

    @property
    def dim(self) -> int:
        """Latent dimensions."""
        return self.encoder.dim

    @property
    def reference(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @cached_property
    def digest(self) -> str:
        """``sha256:`` of the content: modality, features, encoder kind and every number.

        Name and version are left out: two spaces with equal content are the same space.
        """
        header = {
            "modality": self.modality,
            "features": list(self.features),
            "encoder": self.encoder.kind,
            "max_missing_fraction": self.max_missing_fraction,
        }
        content = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
        for name, tensor in sorted(self.tensors().items()):
            content.update(f"{name}{tensor.shape}".encode())
            content.update(np.ascontiguousarray(tensor, dtype="<f4").tobytes())
        return f"sha256:{content.hexdigest()}"

    def tensors(self) -> dict[str, Float32]:
        """Every number of the space, by name, for storage."""
        own = {name: getattr(self, name) for name in _TENSORS}
        return own | {f"encoder.{name}": value for name, value in self.encoder.tensors().items()}

    @classmethod
    def from_tensors(
        cls,
        *,
        modality: str,
        name: str,
        version: str,
        features: Sequence[str],
        encoder: str,
        max_missing_fraction: float,
        tensors: Mapping[str, Float32],
    ) -> Space:
        """Rebuild a space from its stored parts.

        Raises
        ------
        SpaceError
            If the encoder is unknown, or a tensor is missing or of the wrong shape.
        """
        if encoder not in ENCODERS:
            raise SpaceError(f"encoder {encoder!r} is unknown; known: {', '.join(ENCODERS)}")
        prefix = "encoder."
        parts = {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
        try:
            space = cls(
                modality=modality,
                name=name,
                version=version,
                features=tuple(features),
                encoder=ENCODERS[encoder].from_tensors(parts),
                max_missing_fraction=max_missing_fraction,
                **{name: tensors[name] for name in _TENSORS},
            )
        except KeyError as missing:
            raise SpaceError(f"space {name}@{version} lacks the tensor {missing}") from None
        if space.encoder.features != len(space.features):
            raise SpaceError(
                f"the encoder of space {space.reference} takes {space.encoder.features} features, "
                f"the space has {len(space.features)}"
            )
        sizes = {"latent_mean": space.dim, "latent_scale": space.dim}
        for tensor in _TENSORS:
            size = sizes.get(tensor, len(space.features))
            if tensors[tensor].shape != (size,):
                raise SpaceError(
                    f"tensor {tensor!r} of space {space.reference} has shape "
                    f"{tensors[tensor].shape}, expected ({size},)"
                )
        return space

    def encode(self, table: pd.DataFrame, source: str = "the table") -> pd.DataFrame:
        """Turn a table of features into latents.

        Parameters
        ----------
        table
            Patients x features in the space's units; extra columns are ignored, order is free, and
            gaps up to ``max_missing_fraction`` of a patient's features are filled with medians.
        source
            What to call the table in messages, usually its file name.

        Returns
        -------
        pandas.DataFrame
            Latents, shape ``(patients, dim)``, float32, same index.

        Raises
        ------
        SpaceError
            If features of the space are missing from the table.
        DataError
            If a patient has more gaps than the space allows.
        """
        values = self._gathered(table, source)
        gaps = np.isnan(values)
        if gaps.any():
            self._check_gaps(table, gaps, source)
            values = np.where(gaps, self.median, values)
        with threadpool_limits(1, user_api="blas"):  # threads would change the last bits
            codes = self._encoded(self._standardised(values))
        latents = (codes - self.latent_mean) / self.latent_scale
        return pd.DataFrame(latents.astype(np.float32), index=table.index)

    def decode(self, latents: Float32) -> Float32:
        """Turn latents ``(..., dim)`` into features ``(..., features)`` in the input's units."""
        codes = latents * self.latent_scale + self.latent_mean
        with threadpool_limits(1, user_api="blas"):
            values = self.encoder.decode(codes)
        return np.asarray(values * self.scale + self.center, dtype=np.float32)

    def standardised(self, values: Float32) -> Float32:
        """Features ``(..., features)`` in units of the training patients' standard deviations."""
        return np.asarray((values - self.center) / self.scale, dtype=np.float32)

    def _encoded(self, values: Float32) -> Float32:
        rows = -(-len(values) // BLOCK) * BLOCK
        padded = np.zeros((rows, values.shape[1]), dtype=np.float32)
        padded[: len(values)] = values
        codes = [self.encoder.encode(padded[i : i + BLOCK]) for i in range(0, rows, BLOCK)]
        empty = np.empty((0, self.dim), dtype=np.float32)
        return np.concatenate([empty, *codes])[: len(values)]

    def _standardised(self, values: Float32) -> Float32:
        return np.clip(self.standardised(values), -CLIP, CLIP)

    def _gathered(self, table: pd.DataFrame, source: str) -> Float32:
        absent = [name for name in self.features if name not in table.columns]
        if absent:
            raise SpaceError(
                f"{source} lacks {len(absent)} of the {len(self.features)} features of space "
                f"{self.reference}: {first_few(absent)}; use a table with the space's features"
            )
        return table.loc[:, list(self.features)].to_numpy(dtype=np.float32)

    def _check_gaps(self, table: pd.DataFrame, gaps: NDArray[np.bool_], source: str) -> None:
        share = gaps.mean(axis=1)
        worst = int(np.argmax(share > self.max_missing_fraction))
        if share[worst] <= self.max_missing_fraction:
            return
        columns = [name for name, gap in zip(self.features, gaps[worst], strict=True) if gap]
        raise DataError(
            f"{source}, patient {table.index[worst]!r}: {len(columns)} of {len(self.features)} "
            f"values are missing ({first_few(columns)}); space {self.reference} takes gaps in at "
            f"most {self.max_missing_fraction:.0%} of a patient's features; fill them, or leave "
            f"the patient's row out so that the whole modality is imputed"
        )


_TENSORS = ("median", "center", "scale", "latent_mean", "latent_scale", "residual_sd")
