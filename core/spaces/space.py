"""A space: the coordinate system in which experts of a modality meet."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, ClassVar, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from codenoise.core.base.errors import DataError, SpaceError, first_few
from codenoise.core.spaces.autoencoder import Autoencoder
from codenoise.core.spaces.pca import PCAEncoder
from codenoise.core.spaces.scale import check_scale
from codenoise.core.spaces.steps import Step, apply_steps, invert_steps, load_steps, store_steps

Float32 = NDArray[np.float32]
# Rows are encoded in blocks of this size, padded when fewer: matrix kernels round differently for
# different shapes, and a patient's latents must not depend on who else is in the table.
BLOCK = 64


class Encoder(Protocol):
    """A map between preprocessed features and codes, stored as named tensors."""

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


ENCODERS: Mapping[str, type[Encoder]] = {"autoencoder": Autoencoder, "pca": PCAEncoder}


@dataclass(frozen=True)
class Space:
    """Ordered features, preprocessing, encoder, decoder and latent standardisation of a modality.

    Attributes
    ----------
    modality, name, version
        Identity for people; the `digest` is the identity that counts.
    features
        Feature names in order.
    steps
        Preprocessing, in the order of application; the last ones leave no gap and standardise.
    encoder
        Preprocessed features to codes and back.
    center, scale
        Per feature, shape ``(features,)``: mean and standard deviation of the training patients in
        the units of the input, for judging scales and errors.
    latent_mean, latent_scale
        Per code dimension, shape ``(dim,)``; latents are codes standardised by these.
    residual_sd
        Per feature, shape ``(features,)``: standard deviation, in input units, of what decoding
        cannot recover, measured on validation patients.
    r2
        Per feature, shape ``(features,)``: R2 of validation patients' values after encoding and
        decoding; NaN where a feature does not vary among them.
    unit
        What the values are, in words.
    max_missing_fraction
        Share of a patient's features that may be gaps; 0 for a space fitted on complete data.
    max_absent_fraction
        Share of the space's features that a whole table may lack; they are filled as gaps are.
    """

    modality: str
    name: str
    version: str
    features: tuple[str, ...] = field(repr=False)
    steps: tuple[Step, ...] = field(repr=False)
    encoder: Encoder = field(repr=False)
    center: Float32 = field(repr=False)
    scale: Float32 = field(repr=False)
    latent_mean: Float32 = field(repr=False)
    latent_scale: Float32 = field(repr=False)
    residual_sd: Float32 = field(repr=False)
    r2: Float32 = field(repr=False)
    unit: str = "as in training"
    max_missing_fraction: float = 0.0
    max_absent_fraction: float = 0.1

    @property
    def dim(self) -> int:
        """Latent dimensions."""
        return self.encoder.dim

    @property
    def reference(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"

    @property
    def preprocessing(self) -> list[dict[str, Any]]:
        """The steps' kinds and options, as stored in a manifest."""
        return store_steps(self.steps)[0]

    @cached_property
    def digest(self) -> str:
        """``sha256:`` of the content: modality, features, preprocessing, encoder, every number.

        Name and version are left out: two spaces with equal content are the same space.
        """
        header = {
            "modality": self.modality,
            "features": list(self.features),
            "preprocessing": self.preprocessing,
            "encoder": self.encoder.kind,
            "unit": self.unit,
            "max_missing_fraction": self.max_missing_fraction,
            "max_absent_fraction": self.max_absent_fraction,
        }
        content = hashlib.sha256(json.dumps(header, sort_keys=True).encode())
        for name, tensor in sorted(self.tensors().items()):
            content.update(f"{name}{tensor.shape}".encode())
            content.update(np.ascontiguousarray(tensor, dtype="<f4").tobytes())
        return f"sha256:{content.hexdigest()}"

    def tensors(self) -> dict[str, Float32]:
        """Every number of the space, by name, for storage."""
        own = {name: getattr(self, name) for name in _TENSORS}
        encoder = {f"encoder.{name}": value for name, value in self.encoder.tensors().items()}
        return own | encoder | store_steps(self.steps)[1]

    @classmethod
    def from_tensors(
        cls,
        *,
        modality: str,
        name: str,
        version: str,
        features: Sequence[str],
        preprocessing: Sequence[Mapping[str, Any]],
        encoder: str,
        unit: str,
        max_missing_fraction: float,
        max_absent_fraction: float,
        tensors: Mapping[str, Float32],
    ) -> Space:
        """Rebuild a space from its stored parts.

        Raises
        ------
        SpaceError
            If the encoder or a step is unknown, or a tensor is missing or of the wrong shape.
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
                steps=load_steps(preprocessing, tensors),
                encoder=ENCODERS[encoder].from_tensors(parts),
                unit=unit,
                max_missing_fraction=max_missing_fraction,
                max_absent_fraction=max_absent_fraction,
                **{name: tensors[name] for name in _TENSORS},
            )
        except KeyError as missing:
            raise SpaceError(f"space {name}@{version} lacks the tensor {missing}") from None
        except DataError as problem:
            raise SpaceError(f"preprocessing of space {name}@{version}: {problem}") from None
        space._check_shapes()
        return space

    def _check_shapes(self) -> None:
        if self.encoder.features != len(self.features):
            raise SpaceError(
                f"the encoder of space {self.reference} takes {self.encoder.features} features, "
                f"the space has {len(self.features)}"
            )
        sizes = {"latent_mean": self.dim, "latent_scale": self.dim}
        for name in _TENSORS:
            size = sizes.get(name, len(self.features))
            shape = getattr(self, name).shape
            if shape != (size,):
                raise SpaceError(
                    f"tensor {name!r} of space {self.reference} has shape {shape}, "
                    f"expected ({size},)"
                )

    def encode(
        self, table: pd.DataFrame, source: str = "the table", *, any_scale: bool = False
    ) -> pd.DataFrame:
        """Turn a table of features into latents.

        Parameters
        ----------
        table
            Patients x features in the space's units; extra columns are ignored, order is free, and
            gaps up to ``max_missing_fraction`` of a patient's features are filled by the space's
            own step.
        source
            What to call the table in messages, usually its file name.
        any_scale
            Whether to skip the check of scale, for generated tables: means of draws vary less than
            real values by right.

        Returns
        -------
        pandas.DataFrame
            Latents, shape ``(patients, dim)``, float32, same index.

        Raises
        ------
        SpaceError
            If more features of the space are missing from the table than it allows.
        DataError
            If a patient has more gaps than the space allows, the table is on another scale, or a
            step refuses a value.
        """
        values = self._gathered(table, source)
        self._check_gaps(table, np.isnan(values), source)
        if not any_scale:
            check_scale(values, self.center, self.scale, source, self.reference, self.unit)
        with threadpool_limits(1, user_api="blas"):  # threads would change the last bits
            blocks = list(self._encoded(values, table.index, source))
        empty = np.empty((0, self.dim), dtype=np.float32)
        return pd.DataFrame(np.concatenate([empty, *blocks]), index=table.index)

    def _encoded(self, values: Float32, rows: pd.Index, source: str) -> Iterator[Float32]:
        for start in range(0, len(values), BLOCK):
            block = values[start : start + BLOCK]
            # Padded with its first row, for zeros need not be values that the steps accept.
            padded = np.concatenate([block, np.repeat(block[:1], BLOCK - len(block), axis=0)])
            names = [*rows[start : start + BLOCK], *[rows[start]] * (BLOCK - len(block))]
            try:
                ready = apply_steps(self.steps, padded, rows=names, columns=self.features)
            except DataError as problem:
                raise DataError(f"{source}: {problem}") from None
            latents = (self.encoder.encode(ready) - self.latent_mean) / self.latent_scale
            yield latents[: len(block)].astype(np.float32)

    def decode(self, latents: Float32) -> Float32:
        """Turn latents ``(..., dim)`` into features ``(..., features)`` in the input's units."""
        codes = latents * self.latent_scale + self.latent_mean
        with threadpool_limits(1, user_api="blas"):
            return invert_steps(self.steps, self.encoder.decode(codes))

    def standardised(self, values: Float32) -> Float32:
        """Features ``(..., features)`` in units of the training patients' standard deviations."""
        return np.asarray((values - self.center) / self.scale, dtype=np.float32)

    def absent(self, table: pd.DataFrame) -> list[str]:
        """Features of the space that a table lacks."""
        return [name for name in self.features if name not in table.columns]

    def _gathered(self, table: pd.DataFrame, source: str) -> Float32:
        absent = self.absent(table)
        if len(absent) > self.max_absent_fraction * len(self.features):
            raise SpaceError(
                f"{source} lacks {len(absent)} of the {len(self.features)} features of space "
                f"{self.reference}, which takes {self.max_absent_fraction:.0%}: "
                f"{first_few(absent)}; use a table with the space's features"
            )
        return table.reindex(columns=list(self.features)).to_numpy(dtype=np.float32)

    def _check_gaps(self, table: pd.DataFrame, gaps: NDArray[np.bool_], source: str) -> None:
        there = [name in table.columns for name in self.features]
        gaps = gaps & np.array(there)  # absent features are judged apart
        over = gaps.mean(axis=1) > self.max_missing_fraction
        if not over.any():
            return
        worst = int(np.argmax(over))
        columns = [name for name, gap in zip(self.features, gaps[worst], strict=True) if gap]
        raise DataError(
            f"{source}, patient {table.index[worst]!r}: {len(columns)} of {len(self.features)} "
            f"values are missing ({first_few(columns)}); space {self.reference} takes gaps in at "
            f"most {self.max_missing_fraction:.0%} of a patient's features; fill them, or leave "
            f"the patient's row out so that the whole modality is imputed"
        )


_TENSORS = ("center", "scale", "latent_mean", "latent_scale", "residual_sd", "r2")
