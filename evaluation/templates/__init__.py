"""Templates of the report, and of the notes beneath each experiment."""

from __future__ import annotations

import jinja2


def environment() -> jinja2.Environment:
    """What renders them; an unknown name in a template is an error."""
    return jinja2.Environment(
        loader=jinja2.PackageLoader("codenoise.evaluation", "templates"),
        autoescape=jinja2.select_autoescape(["html.j2"]),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
