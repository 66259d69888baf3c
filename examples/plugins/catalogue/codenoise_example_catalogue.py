"""Adds the catalogue of an institute: a shared folder of experts, and a repository on the Hub."""

import os

from codenoise import hookimpl


@hookimpl
def codenoise_sources():
    """Folders by their absolute paths, and repositories of the Hub."""
    shared = os.environ.get("INSTITUTE_EXPERTS", "/srv/institute/experts")
    return {"institute": [shared, "institute/rna-to-rppa"]}
