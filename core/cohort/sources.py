"""Which files make up a cohort: a folder, or a TOML that names them."""

from __future__ import annotations

import re
import tomllib
from collections import defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast, get_args

from codenoise.core.base.errors import DataError, first_few, one_line
from codenoise.core.cohort.embeddings import slide_files
from codenoise.core.cohort.formats import table_suffix
from codenoise.core.cohort.options import Merge, Orientation, ReadOptions, SampleChoice

CLINICAL = "clinical"
# Words in a file's name that say which modality it holds, where it is not named after one.
WORDS = {
    "rna": ("rnaseq", "rnaseqv2", "mrna", "htseq", "rsem", "fpkm", "tpm", "hiseqv2"),
    "mirna": ("mirna", "mirnaseq"),
    "cna": ("cna", "cnv", "snp6", "copynumber", "gistic", "gistic2"),
    "rppa": ("rppa", "rbn"),
    "methylation": ("methylation", "hm27", "hm450", "methylation450"),
    "wsi": ("wsi", "hif", "hifs", "titan"),
    CLINICAL: ("clinical", "clinicalmatrix"),
}
_KEYS: Mapping[str, tuple[str, ...]] = {
    "orientation": get_args(Orientation),
    "samples": get_args(SampleChoice),
    "merge": get_args(Merge),
}


@dataclass(frozen=True)
class Source:
    """A file of a cohort.

    Attributes
    ----------
    path
        The file, or a folder of slide embeddings.
    options
        Arguments of `read_table` that were given for it.
    note
        How the modality was told, where it is not the file's name.
    problem
        Why it cannot be read, if so: a modality that nobody asks for may be in disorder.
    """

    path: Path
    options: ReadOptions = field(default_factory=ReadOptions)
    note: str = ""
    problem: str = ""


def folder_sources(folder: Path, known: Collection[str] = ()) -> dict[str, Source]:
    """Tables in a folder by modality, ``clinical`` among them.

    A file is taken by its name without the ending. Where no file has the name of a modality, one
    with a word of `WORDS` in its name is taken for it: ``xena_rnaseq_log2tpm.tsv`` for ``rna``.
    Text files in ``.txt`` are taken only if they are named so, for most are no tables.

    Parameters
    ----------
    folder
        Where the tables are.
    known
        Names of modalities that are never taken for another.
    """
    named: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.iterdir()):
        stem = _stem(path, known)
        if stem is not None:
            named[stem].append(path)
    found = {stem: Source(paths[0]) for stem, paths in named.items()}
    for stem, (first, *others) in named.items():
        if others:
            problem = f"{folder}: {first.name} and {others[0].name} are both {stem}; keep one"
            found[stem] = Source(first, problem=problem)
    alike: dict[str, list[str]] = defaultdict(list)
    for stem in named:
        modality = _by_words(stem)
        if modality is not None and modality not in named and stem not in known:
            alike[modality].append(stem)
    for modality, stems in alike.items():
        path = named[stems[0]][0]
        if len(stems) > 1:
            names = first_few(named[stem][0].name for stem in stems)
            problem = (
                f"{folder}: {len(stems)} files could be {modality}: {names}; name one of them "
                f"{modality}, or name the files in a TOML"
            )
            found[modality] = Source(path, problem=problem)
        elif len(named[stems[0]]) == 1:
            found[modality] = Source(path, note=f"{path.name} is taken for {modality}, by its name")
        for stem in stems if modality in found else ():
            del found[stem]
    return {name: found[name] for name in sorted(found)}


def _stem(path: Path, known: Collection[str]) -> str | None:
    """What a file or folder of embeddings is called, or ``None`` if it is no table by its name."""
    if path.name.startswith("."):
        return None
    if path.is_dir():
        is_slides = table_suffix(path) is None and bool(slide_files(path))
        return path.name if is_slides else None
    suffix = table_suffix(path)
    if suffix is None:
        return None
    stem = path.name[: -len(suffix)]
    if suffix.startswith(".txt") and stem not in (*known, *WORDS) and _by_words(stem) is None:
        return None
    return stem


def _by_words(stem: str) -> str | None:
    """The modality that words in a file's name speak of, if they agree."""
    words = re.split(r"[^a-z0-9]+", stem.lower())
    if words[0] == "meta":  # cBioPortal's description of a table, not the table
        return None
    found = {modality for modality, own in WORDS.items() if any(word in own for word in words)}
    return found.pop() if len(found) == 1 else None


def toml_sources(path: Path) -> dict[str, Source]:
    """Tables that a TOML names, by modality, ``clinical`` among them.

    .. code-block:: toml

        clinical = "clinical.tsv"
        [tables]
        rna = "xena_rnaseq_log2tpm.tsv"
        cna = { path = "snp6_hg19.seg", samples = "primary" }

    Paths are relative to the TOML.

    Raises
    ------
    DataError
        If it cannot be read, or says something else.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"{path} is not there") from None
    except (OSError, ValueError) as problem:
        raise DataError(f"{path} cannot be read as TOML: {one_line(problem)}") from None
    unknown = [key for key in content if key not in ("tables", CLINICAL)]
    if unknown:
        raise DataError(f"{path}: {first_few(unknown)} unknown; expected [tables] and clinical")
    tables = content.get("tables", {})
    if not isinstance(tables, dict) or not tables:
        raise DataError(f'{path} names no table; expected [tables] and e.g. rna = "rna.tsv"')
    if CLINICAL in content:
        tables = {**tables, CLINICAL: content[CLINICAL]}
    return {name: _source(name, entry, path) for name, entry in tables.items()}


def _source(name: str, entry: object, toml: Path) -> Source:
    table = {"path": entry} if isinstance(entry, str) else entry
    if not isinstance(table, dict) or not isinstance(table.get("path"), str):
        raise DataError(
            f'{toml}, {name}: expected a path or a table with a path, e.g. {name} = "{name}.tsv"'
        )
    options = {key: value for key, value in table.items() if key != "path"}
    for key, value in options.items():
        if key not in _KEYS:
            raise DataError(f"{toml}, {name}: {key!r} is unknown; known: path, {', '.join(_KEYS)}")
        if value not in _KEYS[key]:
            raise DataError(
                f"{toml}, {name}: {key} = {value!r}; expected one of {', '.join(_KEYS[key])}"
            )
    return Source(toml.parent / table["path"], cast(ReadOptions, options))
