"""``codenoise experts new``, ``package`` and ``publish``: from an idea to what others install."""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path

import click

from codenoise.cli.options import (
    PATH,
    dry_run_option,
    json_option,
    output_option,
    overwrite_option,
    pair_options,
)
from codenoise.cli.output import print_json, print_table

folder_argument = click.argument("folder", type=PATH)


@click.command()
@click.argument("name")
@pair_options
@click.option(
    "--condition-space",
    metavar="[SOURCE:]NAME[@VERSION]",
    help="Which installed space of the condition, where there are several.",
)
@click.option(
    "--target-space",
    metavar="[SOURCE:]NAME[@VERSION]",
    help="Which installed space of the target, where there are several.",
)
@output_option("Folder to put the project in.", ".")
@json_option
def new(
    name: str,
    condition: str,
    target: str,
    condition_space: str | None,
    target_space: str | None,
    output: Path,
    as_json: bool,
) -> None:
    """Write the project of a new expert NAME, to be installed as it stands and trained later.

    It lives in installed spaces, so that it works together with all other experts of these. Its
    weights know nothing until its train.py was run.

    \b
    Example:
      codenoise experts new my-rna-to-rppa --condition rna --target rppa
    """
    from codenoise.registry.authoring.scaffold import new_expert
    from codenoise.registry.installed.discovery import discover

    folder = new_expert(
        name,
        condition,
        target,
        discover(),
        output,
        condition_space=condition_space,
        target_space=target_space,
    )
    files = sorted(path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    if as_json:
        print_json({"folder": str(folder), "files": [file.as_posix() for file in files]})
        return
    print_table([{"file": file.as_posix()} for file in files], f"written to {folder}")
    # pip takes a bare name for one of the index, so the folder is given in full.
    click.echo(f"next: pip install {folder.absolute()}, then see {folder / 'README.md'}")


@click.command()
@folder_argument
@output_option("Folder of the wheel.", "dist")
@overwrite_option("Replace the wheel if it is there.")
@json_option
def package(folder: Path, output: Path, overwrite: bool, as_json: bool) -> None:
    """Build a wheel of the expert or space in FOLDER, checked before and after.

    FOLDER holds expert.json or space.json and the files that it names, or is the project of a
    plugin. The same files give the same wheel, byte for byte.

    \b
    Example:
      codenoise experts package codenoise-expert-my-rna-to-rppa
    """
    from codenoise.registry.authoring.wheel import package as build
    from codenoise.registry.installed.discovery import discover

    wheel = build(folder, output, discover(), overwrite=overwrite)
    if as_json:
        print_json(asdict(wheel) | {"path": str(wheel.path)})
        return
    row = {
        "wheel": wheel.path.name,
        "holds": wheel.reference,
        "needs": ", ".join(wheel.requires) or "nothing",
        "bytes": wheel.bytes,
        "checksum": wheel.sha256[:19],
    }
    print_table([row], f"written to {output}")
    click.echo(f"next: pip install {wheel.path}")


@click.command()
@folder_argument
@click.argument("repository", metavar="ORG/NAME")
@click.option("--private", is_flag=True, help="If the repository is made, make it private.")
@click.option("--message", "-m", help="Of the commit. [default: name and version]")
@dry_run_option("Show what would be uploaded, and stop.")
@json_option
def publish(
    folder: Path, repository: str, private: bool, message: str | None, dry_run: bool, as_json: bool
) -> None:
    """Publish the expert or space in FOLDER as repository ORG/NAME of the Hugging Face Hub.

    FOLDER holds expert.json or space.json and the files that it names, or is the project of a
    plugin. The spaces of an expert go with it. The repository is made if it is not there; needs a
    login with 'hf auth login'.

    \b
    Example:
      codenoise experts publish codenoise-expert-my-rna-to-rppa my-lab/my-rna-to-rppa --dry-run
    """
    from huggingface_hub.utils import disable_progress_bars  # type: ignore[attr-defined]

    from codenoise.registry.authoring.publish import prepare
    from codenoise.registry.authoring.publish import publish as upload
    from codenoise.registry.installed.discovery import discover
    from codenoise.registry.installed.hub import split_reference

    split_reference(repository)  # a wrong name is told of before anything is read
    release = prepare(folder, discover())
    rows = [{"file": path, "bytes": size} for path, size in release.sizes.items()]
    if dry_run:
        if as_json:
            print_json({"repository": repository, "files": rows, "card": release.card})
            return
        print_table(rows, f"{release.manifest.reference} would be uploaded to {repository}:")
        click.echo(f"README.md:\n\n{release.card}")
        return
    if not sys.stderr.isatty():
        disable_progress_bars()
    published = upload(release, repository, private=private, message=message)
    if as_json:
        print_json(asdict(published) | {"files": rows})
        return
    print_table(rows, f"{release.manifest.reference}: {published.outcome} at {published.url}")
    click.echo(f"others get it with: codenoise pull {published.repo}@{published.commit}")
