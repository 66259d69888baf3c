"""``codenoise pull``: experts and spaces from the Hugging Face Hub, or as a lock says."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from codenoise.cli.installed import print_installed, warn_of_new
from codenoise.cli.options import PATH, dry_run_option, json_option
from codenoise.cli.output import print_json, print_table
from codenoise.registry.contract.sources import Package
from codenoise.registry.installed.pull import Pulled, missing, restore
from codenoise.registry.installed.pull import pull as pull_one


@click.command()
@click.argument("references", nargs=-1, metavar="ORG/NAME[@REVISION]...")
@click.option(
    "--from",
    "lock_path",
    type=PATH,
    help="Bring what this lock or export pins, from where it came.",
)
@dry_run_option("Show what would be fetched, and fetch no weights.")
@json_option
def pull(references: tuple[str, ...], lock_path: Path | None, dry_run: bool, as_json: bool) -> None:
    """Fetch experts from the Hugging Face Hub into the local store, pinned to their commit.

    The spaces that an expert brings come with it. Sizes and checksums are checked; nothing that is
    fetched is imported or executed. Private and gated repositories use the login of 'hf auth
    login'; HF_HUB_OFFLINE=1 keeps to what the store holds.

    \b
    Example:
      codenoise pull some-lab/rna-to-rppa@v1.0
      codenoise pull --from ensemble.lock
    """
    if bool(references) == (lock_path is not None):
        raise click.UsageError("give ORG/NAME of one or more repositories, or --from FILE")
    if lock_path is not None:
        _pull_from(lock_path, dry_run, as_json)
        return
    pulled = []
    for reference in references:
        pulled.append(pull_one(reference, dry_run=dry_run))
        if not as_json:
            _print_pulled(pulled[-1], dry_run)
    if as_json:
        print_json(
            [
                {
                    "repository": one.source.repo,
                    "commit": one.source.commit,
                    "files": one.files,
                    "installed": [asdict(item) for item in one.installed],
                }
                for one in pulled
            ]
        )
    warn_of_new([item for one in pulled for item in one.installed])


def _print_pulled(pulled: Pulled, dry_run: bool) -> None:
    where = f"{pulled.source.repo} at commit {pulled.source.commit}"
    if dry_run and pulled.files:
        rows = [{"file": path, "bytes": size} for path, size in pulled.files.items()]
        print_table(rows, f"would fetch {sum(pulled.files.values())} bytes from {where}")
        return
    click.echo(where)
    print_installed(pulled.installed)


def _pull_from(path: Path, dry_run: bool, as_json: bool) -> None:
    """Bring what a lock pins; exits with 1 if packages are left to pip."""
    if dry_run:
        rows = [
            {"name": f"{pin.name}@{pin.version}", "from": pin.source.label} for pin in missing(path)
        ]
        if as_json:
            print_json(rows)
        elif rows:
            print_table(rows, f"would be brought as {path} says")
        else:
            click.echo(f"everything that {path} pins is installed")
        return
    installed, packages = restore(path)
    if as_json:
        print_json(
            {
                "installed": [asdict(item) for item in installed],
                "left to pip": [package.model_dump() for package in packages],
            }
        )
    elif installed:
        print_installed(installed)
    elif not packages:
        click.echo(f"everything that {path} pins is installed")
    warn_of_new(installed)
    if packages:
        click.echo(f"left to pip; run: {Package.command_of(packages)}", err=True)
        sys.exit(1)
