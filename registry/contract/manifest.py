"""Manifests: what an expert or a space says of itself, checked before anything else is read."""

from __future__ import annotations

from typing import Annotated, Literal, TypeVar

from packaging.specifiers import InvalidSpecifier, SpecifierSet
from packaging.version import InvalidVersion, Version
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

EXPERT_FILE, SPACE_FILE = "expert.json", "space.json"


def _pep440(text: str) -> str:
    try:
        if Version(text) and text != text.strip():
            raise InvalidVersion
    except InvalidVersion:
        raise ValueError(f"{text!r} is no PEP 440 version, such as 0.1.0") from None
    return text


def _specifier(text: str) -> str:
    try:
        SpecifierSet(text)
    except InvalidSpecifier:
        raise ValueError(f"{text!r} is no PEP 440 range, such as >=0.1,<1") from None
    return text


Name = Annotated[str, Field(pattern=r"^[a-z0-9]+(-[a-z0-9]+)*$", max_length=80)]
Modality = Annotated[str, Field(pattern=r"^[a-z0-9]+(_[a-z0-9]+)*$", max_length=40)]
FileName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*\.(json|safetensors|md)$")]
Sha256 = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
PepVersion = Annotated[str, AfterValidator(_pep440)]
PepRange = Annotated[str, AfterValidator(_specifier)]
Positive = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]


class Strict(BaseModel):
    """Base of all parts: unknown fields are refused, instances do not change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class FileEntry(Strict):
    """A file beside the manifest."""

    sha256: Sha256
    bytes: Annotated[int, Field(ge=0)]


class SpaceRef(Strict):
    """The space that latents live in."""

    modality: Modality
    name: Name
    version: PepVersion
    digest: Sha256
    dim: Positive


class Architecture(Strict):
    """A registered network and what it is built with."""

    name: str
    parameters: dict[str, int | float | str | bool]


class Schedule(Strict):
    """Forward process."""

    type: Literal["linear"]
    parameters: dict[str, float]


class ExpertValidation(Strict):
    """Measured on validation patients; ``mse`` sets the reliability weight."""

    n: Count
    mse: Annotated[float, Field(gt=0)]
    r2: float
    mse_mean_of_draws: Annotated[float, Field(gt=0)]
    r2_mean_of_draws: float
    r2_expectation: float
    energy_score: float
    noise_mse_by_level: list[float]
    draws: Positive
    cohort_digest: Sha256
    protocol: str


class Training(Strict):
    """How the weights came to be; a template that nobody trained yet has seen 0 patients."""

    cohort: str
    n: Count
    code_version: str
    seed: int
    date: str
    seconds: float
    hardware: str
    steps: Count
    best_step: int
    config: dict[str, int | float | str]
    fingerprint: Sha256


class ConditionStats(Strict):
    """Distribution of the training patients' condition latents, for out-of-distribution checks.

    The covariance is ``factor @ factor.T`` with a lower triangular factor, rows given up to the
    diagonal.
    """

    mean: list[float]
    covariance_factor: list[list[float]]


class SourceLicense(Strict):
    """Where a part of the data came from, and under which licence."""

    name: Annotated[str, Field(min_length=1, description="The source, with its release.")]
    license: Annotated[str, Field(min_length=1, description="SPDX expression.")]
    url: Annotated[str, Field(description="Page of the source.")] = ""
    covers: Annotated[str, Field(description="Which part of the data, such as a modality.")] = ""


class Manifest(Strict):
    """What expert and space manifests share.

    ``license`` is that of the whole. ``source_licenses``, since schema 1.1, says which source asks
    for which part of it.
    """

    schema_version: Annotated[str, Field(pattern=r"^\d+\.\d+$")]
    name: Name
    version: PepVersion
    engine: PepRange
    license: Annotated[str, Field(min_length=1)]
    authors: Annotated[list[str], Field(min_length=1)]
    citation: str
    sources: list[str]
    source_licenses: list[SourceLicense] = Field(default_factory=list)
    files: dict[FileName, FileEntry]

    @property
    def reference(self) -> str:
        """``name@version``."""
        return f"{self.name}@{self.version}"


class ExpertManifest(Manifest):
    """``expert.json``."""

    kind: Literal["pair", "multi"]
    condition: Annotated[list[SpaceRef], Field(min_length=1)]
    target: SpaceRef
    architecture: Architecture
    prediction: Literal["epsilon", "v", "x0"]
    schedule: Schedule
    validation: ExpertValidation
    training: Training
    condition_stats: list[ConditionStats]

    @property
    def conditions(self) -> str:
        """Condition modalities in words: ``rna``, or ``rna+cna`` for any subset of both."""
        return "+".join(ref.modality for ref in self.condition)

    @model_validator(mode="after")
    def _fitting(self) -> ExpertManifest:
        modalities = [ref.modality for ref in self.condition]
        if self.target.modality in modalities:
            raise ValueError(f"condition and target are both {self.target.modality!r}")
        if self.kind == "pair" and len(modalities) != 1:
            raise ValueError(f"a pair has one condition, not {len(modalities)}")
        if len(set(modalities)) < len(modalities):
            raise ValueError(f"condition names a modality twice: {', '.join(modalities)}")
        if len(self.condition_stats) != len(self.condition):
            raise ValueError(
                f"condition_stats has {len(self.condition_stats)} entries, "
                f"condition {len(self.condition)}"
            )
        for i, (stats, ref) in enumerate(zip(self.condition_stats, self.condition, strict=True)):
            if len(stats.mean) != ref.dim:
                raise ValueError(
                    f"condition_stats.{i}.mean has {len(stats.mean)} values, "
                    f"the {ref.modality} space {ref.dim} dimensions"
                )
            if [len(row) for row in stats.covariance_factor] != [*range(1, ref.dim + 1)]:
                raise ValueError(
                    f"condition_stats.{i}.covariance_factor should have rows of 1 to {ref.dim} "
                    f"values"
                )
        return self


class SpaceValidation(Strict):
    """Encoding and decoding of validation patients."""

    n: Positive
    r2: float
    r2_feature_mean: float


class SpaceTraining(Strict):
    """What the space was fitted on."""

    cohort: str
    n: Positive
    outliers_left_out: Annotated[int, Field(ge=0)]
    code_version: str
    date: str
    fingerprint: Sha256


class StoredStep(Strict):
    """One preprocessing step; its numbers stand in the tensors."""

    kind: str
    options: dict[str, int | float | str] = Field(default_factory=dict)


class SpaceManifest(Manifest):
    """``space.json``."""

    kind: Literal["space"]
    modality: Modality
    unit: str
    dim: Positive
    features: Annotated[list[str], Field(min_length=1)]
    preprocessing: list[StoredStep]
    encoder: str
    max_missing_fraction: Annotated[float, Field(ge=0, le=1)]
    max_absent_fraction: Annotated[float, Field(ge=0, le=1)]
    digest: Sha256
    validation: SpaceValidation
    training: SpaceTraining

    @property
    def ref(self) -> SpaceRef:
        """How an expert refers to this space."""
        return SpaceRef(
            modality=self.modality,
            name=self.name,
            version=self.version,
            digest=self.digest,
            dim=self.dim,
        )


AnyManifest = TypeVar("AnyManifest", ExpertManifest, SpaceManifest)
