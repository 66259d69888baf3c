from __future__ import annotations

import re
from pathlib import Path

import pytest

from codenoise.cli.options import check_free
from codenoise.core.base.errors import CodenoiseError

CLI = Path(__file__).parents[2] / "cli"
SHARED = ("--json", "--output", "--overwrite", "--dry-run", "--split", "--seed", "--draws")


@pytest.mark.parametrize("name", SHARED)
def test_an_option_of_several_commands_is_written_once(name: str) -> None:
    written = [
        path.name
        for path in CLI.glob("*.py")
        for _ in re.finditer(rf'option\(\s*"{name}"', path.read_text())
    ]
    assert written == ["options.py"]


def test_what_is_there_is_kept_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    check_free(path, False)
    check_free(None, False)
    path.touch()
    check_free(path, True)
    with pytest.raises(CodenoiseError) as caught:
        check_free(path, False, "--best")
    assert str(caught.value) == f"{path} is already there; give another --best, or --overwrite"
