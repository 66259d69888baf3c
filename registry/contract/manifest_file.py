"""Reading a manifest from its file, and saying what is wrong with it."""

from __future__ import annotations

import difflib
import json
import re
import warnings
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from codenoise.core.base.errors import ArtifactError
from codenoise.registry.contract.manifest import AnyManifest

SCHEMA_MAJOR, SCHEMA_MINOR = 1, 1


def read_manifest(path: Path, model: type[AnyManifest]) -> AnyManifest:
    """Read and check a manifest.

    A newer minor schema is read, its unknown fields ignored, with a warning; a newer major one is
    refused.

    Raises
    ------
    ArtifactError
        If the file is missing, is no JSON, or a field is missing, unknown or wrong; the message
        names the file and the field.
    """
    try:
        content = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing; reinstall the package") from None
    except (OSError, ValueError) as problem:
        raise ArtifactError(f"{path} is no JSON file: {problem}; reinstall the package") from None
    if not isinstance(content, dict):
        raise ArtifactError(f"{path} should hold one JSON object; reinstall the package")
    newer = _newer_minor(path, content.get("schema_version"))
    try:
        return model.model_validate(content, extra="ignore" if newer else None)
    except ValidationError as problem:
        raise ArtifactError(f"{path}: {explain(problem, model)}") from None


def _newer_minor(path: Path, schema: object) -> bool:
    if not isinstance(schema, str) or not re.fullmatch(r"\d+\.\d+", schema):
        raise ArtifactError(f"{path}: schema_version should read like '1.0', not {schema!r}")
    major, minor = map(int, schema.split("."))
    if major > SCHEMA_MAJOR:
        raise ArtifactError(
            f"{path} follows schema {schema}; this codenoise reads {SCHEMA_MAJOR}.x: "
            f"pip install 'codenoise>={major}'"
        )
    if (major, minor) > (SCHEMA_MAJOR, SCHEMA_MINOR):
        warnings.warn(
            f"{path} follows schema {schema}, newer than {SCHEMA_MAJOR}.{SCHEMA_MINOR}; "
            f"fields this codenoise does not know are ignored",
            stacklevel=3,
        )
        return True
    return False


def explain(problem: ValidationError, model: type[BaseModel]) -> str:
    """The first fault of a validation as one line: field, fault, and the nearest known name."""
    errors = problem.errors()
    first = errors[0]
    where = ".".join(map(str, first["loc"])) or "manifest"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    if first["type"] == "extra_forbidden":
        known = _fields_at(model, first["loc"][:-1])
        nearest = difflib.get_close_matches(str(first["loc"][-1]), known, n=1)
        hint = f"; did you mean {nearest[0]!r}?" if nearest else f"; known: {', '.join(known)}"
        return f"field {where!r} is unknown{hint}{more}"
    if first["type"] == "missing":
        return f"field {where!r} is missing{more}"
    return f"field {where!r}: {first['msg']}{more}"


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> list[str]:
    current: Any = model
    for part in location:
        if isinstance(part, int) or part not in current.model_fields:
            continue  # an item of a list or dictionary, whose type was stepped into already
        annotation = current.model_fields[part].annotation
        options = [annotation, *getattr(annotation, "__args__", ())]
        current = next(
            (o for o in options if isinstance(o, type) and issubclass(o, BaseModel)), current
        )
    return list(current.model_fields)
