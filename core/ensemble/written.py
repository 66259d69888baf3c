"""A result as files: what `Imputation.write` and ``codenoise impute`` leave in a folder."""

from __future__ import annotations

import json
from pathlib import Path

from codenoise.core.cohort.tables import write_table
from codenoise.core.ensemble.imputation import PROVENANCE, Imputation
from codenoise.core.ensemble.multiple import completed_tables, draws_table


def write_parts(
    result: Imputation, folder: Path, *, save_draws: bool = False, tables: int = 0
) -> None:
    """Write what `Imputation.write` does into a folder that is there and empty."""
    parts = {"completed": result.completed, "spread": result.spread, "mask": result.mask}
    versions = completed_tables(result, tables) if tables else []
    width = len(str(tables))  # so that folders sort as numbers do
    parts |= {f"tables/{n:0{width}}": version for n, version in enumerate(versions, start=1)}
    for name, of_modality in parts.items():
        for modality, table in of_modality.items():
            write_table(table, folder / name, modality)
    result.report.to_csv(folder / "coherence.csv", index=False, float_format="%.4f")
    if save_draws:
        (folder / "draws").mkdir()
        for modality, generation in result.generations.items():
            drawn = draws_table(result.ensemble.spaces[modality], generation, result.seed)
            drawn.to_parquet(folder / "draws" / f"{modality}.parquet", compression="zstd")
    (folder / PROVENANCE).write_text(json.dumps(result.provenance, indent=1) + "\n")
