"""The TOML file behind a bank: modalities, licences, preprocessing and training settings."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from pydantic import Field, TypeAdapter, ValidationError, model_validator

from codenoise.core.base.errors import DataError
from codenoise.core.spaces.fit import DEFAULT_PREPROCESSING, EncoderName
from codenoise.registry.contract.manifest import (
    Modality,
    Name,
    PepVersion,
    SourceLicense,
    StoredStep,
    Strict,
)
from codenoise.registry.contract.toml_file import read_toml

if TYPE_CHECKING:
    from codenoise.core.diffusion.config import TrainingConfig


class ModalityRecipe(Strict):
    """What a bank has to know of one modality."""

    space: Name
    unit: str
    license: str
    sources: Annotated[list[str], Field(min_length=1)]
    source_licenses: list[SourceLicense] = Field(default_factory=list)
    dim: Annotated[int, Field(gt=0)] = 32
    encoder: EncoderName = "autoencoder"
    preprocessing: Annotated[list[StoredStep], Field(min_length=1)] = Field(
        default_factory=lambda: [
            StoredStep(kind=kind, options=dict(options)) for kind, options in DEFAULT_PREPROCESSING
        ]
    )


class BankRecipe(Strict):
    """The TOML file behind ``codenoise train bank``."""

    cohort: str
    version: PepVersion
    authors: Annotated[list[str], Field(min_length=1)]
    citation: str
    minimum_patients: Annotated[int, Field(ge=2)] = 300
    training: dict[str, int | float | str] = Field(default_factory=dict)
    modalities: Annotated[dict[Modality, ModalityRecipe], Field(min_length=2)]

    @model_validator(mode="after")
    def _own_spaces(self) -> BankRecipe:
        names = [entry.space for entry in self.modalities.values()]
        if len(set(names)) < len(names):
            raise ValueError(f"two modalities share a space: {', '.join(names)}")
        return self

    def config(self) -> TrainingConfig:
        """Training settings, the defaults where the recipe is silent."""
        from codenoise.core.diffusion.config import TrainingConfig

        try:
            return TypeAdapter(TrainingConfig).validate_python(self.training, extra="forbid")
        except ValidationError as problem:
            first = problem.errors()[0]
            where = f", {first['loc'][0]!r}" if first["loc"] else ""
            raise DataError(f"[training] of the bank recipe{where}: {first['msg']}") from None


def read_bank_recipe(path: Path) -> BankRecipe:
    """Read a bank recipe.

    Raises
    ------
    DataError
        If the file is missing, is no TOML, or a field is missing, unknown or wrong.
    """
    return read_toml(path, BankRecipe, DataError, "give a bank recipe with --recipe")
