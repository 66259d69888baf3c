"""Reading a TOML file into a model, with errors that name file and field."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from codenoise.core.base.errors import CodenoiseError
from codenoise.registry.contract.manifest_file import explain

Model = TypeVar("Model", bound=BaseModel)


def read_toml(path: Path, model: type[Model], error: type[CodenoiseError], mend: str) -> Model:
    """Read and check a TOML file.

    Parameters
    ----------
    path
        The file.
    model
        What it should hold.
    error
        Raised if the file is missing, is no TOML, or a field is missing, unknown or wrong.
    mend
        What to do where the file is missing.
    """
    try:
        return model.model_validate(tomllib.loads(path.read_text()))
    except FileNotFoundError:
        raise error(f"{path} is not there; {mend}") from None
    except ValidationError as problem:
        raise error(f"{path}: {explain(problem, model)}") from None
    except (OSError, ValueError) as problem:
        raise error(f"{path} is no TOML file: {problem}") from None
