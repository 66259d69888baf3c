"""``codenoise experts``: what is installed, what it is, and what fits what."""

from __future__ import annotations

import sys
from dataclasses import asdict

import click

from codenoise.cli.output import json_option, print_json, print_table
from codenoise.core.errors import EnsembleError
from codenoise.registry.compatibility import findings
from codenoise.registry.discovery import BrokenPlugin, discover


@click.group()
def experts() -> None:
    """List, show and check installed experts."""


@experts.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List installed experts, with the broken ones and why.

    \b
    Example:
      codenoise experts list --json
    """
    inventory = discover()
    rows = [
        {
            "expert": plugin.reference,
            "condition": plugin.manifest.condition[0].modality,
            "target": plugin.manifest.target.modality,
            "patients": plugin.manifest.training.n,
            "validation R2": plugin.manifest.validation.r2_expectation,
            "license": plugin.manifest.license,
            "distribution": plugin.distribution,
        }
        for plugin in inventory.experts
    ]
    if as_json:
        print_json({"experts": rows, "broken": [asdict(broken) for broken in inventory.broken]})
        return
    if rows:
        print_table(rows, f"{len(rows)} experts (validation R2: of the expected latents, pooled)")
    else:
        click.echo("no expert is installed; pip install one, e.g. codenoise-expert-rna-to-rppa")
    warn_of_broken(inventory.broken)


def warn_of_broken(broken: tuple[BrokenPlugin, ...]) -> None:
    """Name on stderr each plugin that was skipped."""
    for plugin in broken:
        click.echo(
            f"skipped: {plugin.entry} of {plugin.distribution} {plugin.distribution_version}: "
            f"{plugin.reason}",
            err=True,
        )


@experts.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show everything the manifest of expert NAME says.

    \b
    Example:
      codenoise experts show rna-to-rppa
    """
    inventory = discover()
    matching = [p for p in inventory.experts if name in (p.manifest.name, p.reference)]
    if not matching:
        broken = [b.reason for b in inventory.broken if b.entry == name]
        have = ", ".join(p.manifest.name for p in inventory.experts) or "none"
        raise EnsembleError(
            f"expert {name!r} is broken: {broken[0]}" if broken
            else f"expert {name!r} is not installed; installed: {have}"
        )  # fmt: skip
    if as_json:
        print_json(
            [
                plugin.manifest.model_dump(mode="json") | {"distribution": plugin.distribution}
                for plugin in matching
            ]
        )
        return
    for plugin in matching:
        content = plugin.manifest.model_dump(mode="json")
        content.pop("condition_stats")  # a matrix; of no use to a reader
        rows = [{"field": key, "value": value} for key, value in _flat(content)]
        print_table(rows, f"{plugin.reference} ({plugin.distribution})")


def _flat(content: object, prefix: str = "") -> list[tuple[str, object]]:
    if isinstance(content, dict):
        return [pair for key, value in content.items() for pair in _flat(value, f"{prefix}{key}.")]
    if isinstance(content, list) and any(isinstance(item, dict) for item in content):
        return [pair for i, item in enumerate(content) for pair in _flat(item, f"{prefix}{i}.")]
    if isinstance(content, list):
        content = ", ".join(f"{v:.4g}" if isinstance(v, float) else str(v) for v in content)
    return [(prefix.rstrip("."), content)]


@experts.command()
@json_option
def check(as_json: bool) -> None:
    """Check files, checksums, engine version and spaces of everything installed.

    Exits with 1 if anything is unusable, and says what mends it.

    \b
    Example:
      codenoise experts check
    """
    results = list(findings(discover(checksums=True)))
    if as_json:
        print_json([asdict(finding) for finding in results])
    elif results:
        print_table(
            [
                {
                    "kind": finding.kind,
                    "name": finding.reference,
                    "distribution": finding.distribution,
                    "verdict": "ok" if finding.ok else finding.reason,
                    "mend": finding.remedy,
                }
                for finding in results
            ]
        )
    else:
        click.echo("nothing is installed to check")
    if not all(finding.ok for finding in results):
        sys.exit(1)
