"""What `import codenoise` gives."""

from __future__ import annotations

import subprocess
import sys

import pytest

import codenoise


def test_importing_loads_no_library_that_takes_long() -> None:
    code = (
        "import sys, codenoise; codenoise.discover; "
        "print([m for m in ('torch', 'pandas', 'sklearn') if m in sys.modules])"
    )
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ended.stdout == "[]\n"


def test_every_public_name_is_there_and_no_other() -> None:
    assert codenoise.__version__.count(".") == 2
    for name in set(codenoise.__all__) - {"__version__", "hookimpl"}:
        assert getattr(codenoise, name).__name__ == name
    with pytest.raises(AttributeError, match="nothing"):
        codenoise.nothing  # noqa: B018
