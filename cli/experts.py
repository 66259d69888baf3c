"""``codenoise experts``: what is installed, what it is, and whether it is whole and fits."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import asdict

import click

from codenoise.cli.installing import add, export, remove
from codenoise.cli.options import json_option
from codenoise.cli.output import print_conditions, print_json, print_table, warn_of_broken
from codenoise.cli.publish import new, package, publish
from codenoise.registry.contract.compatibility import Finding, findings
from codenoise.registry.contract.manifest import ExpertManifest
from codenoise.registry.contract.plugin import Inventory, Plugin
from codenoise.registry.ensembles.conditions import carried
from codenoise.registry.installed.discovery import discover
from codenoise.registry.installed.searching import named_experts
from codenoise.registry.installed.searching import search as search_installed
from codenoise.registry.installed.searching import verify as verify_installed


@click.group()
def experts() -> None:
    """List, search, check, add and remove experts."""


@experts.command("list")
@json_option
def list_command(as_json: bool) -> None:
    """List installed experts, with the broken ones and why.

    \b
    Example:
      codenoise experts list --json
    """
    inventory = discover()
    _print_experts(
        inventory.experts,
        inventory,
        as_json,
        "no expert is installed; pip install one, e.g. codenoise-expert-rna-to-rppa, or "
        "'codenoise pull' one",
    )


@experts.command()
@click.argument("text", default="")
@click.option("--condition", metavar="MODALITY", help="Only experts that start from this one.")
@click.option("--target", metavar="MODALITY", help="Only experts that generate this one.")
@click.option("--hub", is_flag=True, help="Search the Hugging Face Hub, not what is installed.")
@click.option("--catalogues", is_flag=True, help="Search the catalogues that code plugins name.")
@json_option
def search(
    text: str, condition: str | None, target: str | None, hub: bool, catalogues: bool, as_json: bool
) -> None:
    """Search installed experts, or those on the Hub, for TEXT and modalities.

    TEXT may stand in a name, a cohort, a licence, an author, a source or a citation; on the Hub, in
    a repository's name.

    \b
    Example:
      codenoise experts search tcga --target rppa
    """
    if hub:
        from codenoise.registry.installed.hub import search_hub

        rows = search_hub(text, [tag for tag in (condition, target) if tag])
        if as_json:
            print_json(rows)
        elif rows:
            print_table(rows, "on the Hub; install one with 'codenoise pull REPOSITORY'")
        else:
            click.echo("nothing on the Hub matches")
        return
    if catalogues:
        _print_catalogues(text, as_json)
        return
    inventory = discover()
    found = search_installed(text, condition=condition, target=target, inventory=inventory)
    nothing = "nothing that is installed matches; --hub searches the Hugging Face Hub"
    _print_experts(found, inventory, as_json, nothing)


def _print_catalogues(text: str, as_json: bool) -> None:
    from codenoise.registry.installed.catalogues import listed
    from codenoise.registry.installed.code_plugins import load_code_plugins

    rows = [asdict(one) for one in listed(text)]
    if as_json:
        print_json(rows)
    elif rows:
        print_table(rows)
    else:
        click.echo("no catalogue lists such; code plugins bring them, see 'codenoise doctor'")
    warn_of_broken(load_code_plugins().broken)


def _print_experts(
    found: Sequence[Plugin[ExpertManifest]],
    inventory: Inventory,
    as_json: bool,
    nothing: str,
) -> None:
    rows = [
        {
            "expert": plugin.reference,
            "condition": plugin.manifest.conditions,
            "target": plugin.manifest.target.modality,
            "patients": plugin.manifest.training.n,
            "validation R2": plugin.manifest.validation.r2_expectation,
            "license": plugin.manifest.license,
            "conditions": ", ".join(carried([plugin], inventory.spaces)) or "none",
            "source": plugin.source.label,
        }
        for plugin in found
    ]
    conditions = carried(found, inventory.spaces)
    if as_json:
        print_json(
            {
                "experts": rows,
                "broken": [asdict(plugin) for plugin in inventory.broken],
                "conditions": conditions,
            }
        )
        return
    if rows:
        print_table(rows, f"{len(rows)} experts (validation R2: of the expected latents, pooled)")
        print_conditions(conditions)
    else:
        click.echo(nothing)
    warn_of_broken(inventory.broken)


@experts.command()
@click.argument("name")
@json_option
def show(name: str, as_json: bool) -> None:
    """Show everything the manifest of expert NAME says.

    \b
    Example:
      codenoise experts show rna-to-rppa
    """
    matching = named_experts(name)
    if as_json:
        print_json(
            [
                plugin.manifest.model_dump(mode="json") | {"source": plugin.source.model_dump()}
                for plugin in matching
            ]
        )
        return
    for plugin in matching:
        content = plugin.manifest.model_dump(mode="json")
        content.pop("condition_stats")  # a matrix; of no use to a reader
        rows = [{"field": key, "value": value} for key, value in _flat(content)]
        print_table(rows, f"{plugin.reference} ({plugin.source.label})")


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
    _print_findings(list(findings(discover(checksums=True))), as_json, "check")


@experts.command()
@click.argument("names", nargs=-1)
@json_option
def verify(names: tuple[str, ...], as_json: bool) -> None:
    """Reread every file of the experts and spaces NAMES, of all by default.

    Compares size and checksum with the manifest, and the manifest with what the weights were made
    for. Exits with 1 if anything differs, and says what mends it.

    \b
    Example:
      codenoise experts verify rna-to-rppa tcga-rppa
    """
    _print_findings(verify_installed(*names), as_json, "verify")


def _print_findings(results: Sequence[Finding], as_json: bool, verb: str) -> None:
    if as_json:
        print_json([asdict(finding) for finding in results])
    elif results:
        print_table(
            [
                {
                    "kind": finding.kind,
                    "name": finding.reference,
                    "source": finding.source,
                    "verdict": "ok" if finding.ok else finding.reason,
                    "mend": finding.remedy,
                }
                for finding in results
            ]
        )
    else:
        click.echo(f"nothing is installed to {verb}")
    if not all(finding.ok for finding in results):
        sys.exit(1)


for command in (add, export, new, package, publish, remove):
    experts.add_command(command)
