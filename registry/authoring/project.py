"""A plugin's project: names, folder, ``pyproject.toml`` and model card, all from its manifest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from codenoise.core.base.errors import ArtifactError, one_line
from codenoise.registry.contract.artifacts import write_manifest
from codenoise.registry.contract.manifest import (
    EXPERT_FILE,
    SPACE_FILE,
    ExpertManifest,
    SpaceManifest,
)
from codenoise.registry.contract.plugin import Inventory
from codenoise.registry.contract.sources import Package
from codenoise.registry.installed.discovery import EXPERTS, SPACES
from codenoise.registry.installed.store import CARD_FILE

MANIFESTS = {"expert": EXPERT_FILE, "space": SPACE_FILE}
BY_BANK = (
    "Written by `codenoise train bank`; change the recipe and run it again rather than this file."
)
# Licences that the Hub knows by the SPDX name in lower case.
_HUB_LICENSES = {
    "apache-2.0", "bsd-2-clause", "bsd-3-clause", "cc-by-4.0", "cc-by-nc-4.0", "cc-by-nc-nd-4.0",
    "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "cc-by-sa-4.0", "cc0-1.0", "mit", "odc-by", "unlicense",
}  # fmt: skip
_HUB_FAMILIES = {"agpl-3.0", "gpl-2.0", "gpl-3.0", "lgpl-2.1", "lgpl-3.0"}


def distribution_name(kind: str, name: str) -> str:
    """Name under which pip knows a plugin."""
    return f"codenoise-{kind}-{name}"


def package_name(kind: str, name: str) -> str:
    """Import name of a plugin's package."""
    return distribution_name(kind, name).replace("-", "_")


def project_folder(root: Path, kind: str, name: str) -> Path:
    """Where a plugin's project stands: ``root/codenoise-expert-NAME``."""
    return root / distribution_name(kind, name)


def manifest_path(root: Path, kind: str, name: str) -> Path:
    """Where a plugin's manifest stands in its project."""
    return project_folder(root, kind, name) / package_name(kind, name) / MANIFESTS[kind]


def kind_of(manifest: ExpertManifest | SpaceManifest) -> str:
    """``expert`` or ``space``."""
    return "space" if isinstance(manifest, SpaceManifest) else "expert"


def write_project(
    folder: Path,
    manifest: ExpertManifest | SpaceManifest,
    requirements: Sequence[str],
    made_by: str = BY_BANK,
) -> None:
    """Write all of a project that its manifest gives; parameters as in `write_pyproject`."""
    inner = write_pyproject(folder, manifest, requirements, made_by)
    (inner / CARD_FILE).write_text(model_card(manifest))
    write_manifest(manifest, inner / MANIFESTS[kind_of(manifest)])


def write_pyproject(
    folder: Path,
    manifest: ExpertManifest | SpaceManifest,
    requirements: Sequence[str],
    made_by: str = BY_BANK,
) -> Path:
    """Write ``pyproject.toml``, ``LICENSE`` and the package's empty ``__init__.py``.

    Parameters
    ----------
    folder
        The project.
    manifest
        Of the expert or space.
    requirements
        Distributions that it needs.
    made_by
        First line of the file, a comment.

    Returns
    -------
    pathlib.Path
        The package's folder, for the manifest and the files it names.
    """
    kind = kind_of(manifest)
    package = package_name(kind, manifest.name)
    if isinstance(manifest, SpaceManifest):
        description = f"{manifest.modality} space for codenoise, {manifest.dim} dimensions"
    else:
        description = (
            f"codenoise expert: {manifest.target.modality} from {manifest.conditions} "
            f"(conditional diffusion)"
        )
    inner = folder / package
    inner.mkdir(exist_ok=True)
    (inner / "__init__.py").write_text("")
    values = {
        "made_by": made_by,
        "manifest": manifest,
        "manifest_file": MANIFESTS[kind],
        "package": package,
        "distribution": distribution_name(kind, manifest.name),
        "description": description,
        "requirements": requirements,
        "group": EXPERTS if kind == "expert" else SPACES,
    }
    (folder / "pyproject.toml").write_text(render("pyproject.toml.j2", values))
    (folder / "LICENSE").write_text(render("license.txt.j2", values))
    return inner


def space_requirements(manifest: ExpertManifest, inventory: Inventory) -> list[str]:
    """The distributions that bring an expert's spaces, each with its version.

    A space that is installed, but by other means than pip, is left out: no index is known to have
    it.
    """
    installed = {plugin.manifest.digest: plugin for plugin in inventory.spaces}
    requirements: dict[str, None] = {}
    for ref in (*manifest.condition, manifest.target):
        plugin = installed.get(ref.digest)
        if plugin is None:
            requirements[f"{distribution_name('space', ref.name)}=={ref.version}"] = None
            continue
        packages = [s for s in (plugin.source, *plugin.also) if isinstance(s, Package)]
        for package in packages[:1]:
            requirements[f"{package.distribution}=={package.version}"] = None
    return list(requirements)


def model_card(manifest: ExpertManifest | SpaceManifest) -> str:
    """The model card that a manifest gives, Markdown under front matter in YAML."""
    kind = kind_of(manifest)
    values = {
        "manifest": manifest,
        "distribution": distribution_name(kind, manifest.name),
        "hub_license": hub_license(manifest.license),
        "license_name": _slug(manifest.license),
        "cohort_name": _slug(manifest.training.cohort),
    }
    return render(f"{kind}_card.md.j2", values)


def complete_card(manifest: ExpertManifest | SpaceManifest, path: Path) -> str:
    """An author's own card, its front matter made complete by what the manifest says.

    Where there is none at ``path``, the one that `model_card` makes.

    Raises
    ------
    ArtifactError
        If its front matter is not that of a model card.
    """
    from huggingface_hub import ModelCard, ModelCardData

    made = model_card(manifest)
    if not path.is_file():
        return made
    try:
        text = path.read_text(encoding="utf-8")
        if not text.startswith("---"):
            return made[: made.index("\n---\n") + 5] + text
        own = ModelCard(text)
        said: dict[str, Any] = own.data.to_dict()  # type: ignore[no-untyped-call]
        known: dict[str, Any] = ModelCard(made).data.to_dict()  # type: ignore[no-untyped-call]
        tags = list(dict.fromkeys([*said.get("tags", ()), *known["tags"]]))
        complete = said | known | {"tags": tags}
        if complete == said:
            return text
        own.data = ModelCardData(**complete)
    except Exception as problem:  # noqa: BLE001 (whatever stands there in place of metadata)
        raise ArtifactError(
            f"{path} has front matter that cannot be read ({one_line(problem)}); mend it, or "
            f"remove the file to have one made"
        ) from None
    return str(own)


def hub_license(expression: str) -> str:
    """The Hub's name of a licence; it knows single licences only, all others are ``other``."""
    name = expression.lower()
    family = name.removesuffix("-only").removesuffix("-or-later")
    if name in _HUB_LICENSES:
        return name
    return family if family in _HUB_FAMILIES else "other"


def _slug(text: str) -> str:
    """Text as the Hub takes it for a name: lower case, words joined by hyphens."""
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")


def render(template: str, values: Mapping[str, object]) -> str:
    """Fill a template of this package.

    Raises
    ------
    jinja2.UndefinedError
        If the template wants a value that is not given.
    """
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("codenoise.registry.authoring", "templates"),
        autoescape=False,  # noqa: S701 (Markdown and TOML, not HTML)
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    return environment.get_template(template).render(**values)
