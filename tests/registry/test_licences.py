from __future__ import annotations

import pytest
from packaging.licenses._spdx import LICENSES

from codenoise.registry.contract.licences import (
    CONDITIONS,
    COPYLEFT,
    FREE,
    NO_DERIVATIVES,
    NON_COMMERCIAL,
    SHARE_ALIKE,
    UNCLEARED,
    UNKNOWN,
    terms_of,
)


def _said(expression: str) -> dict[str, list[str]]:
    return {name: sorted(licences) for name, licences in terms_of(expression).items()}


@pytest.mark.parametrize(
    ("licence", "conditions"),
    [
        ("MIT", []),
        ("Apache-2.0", []),
        ("BSD-3-Clause", []),
        ("CC0-1.0", []),
        ("CC-BY-4.0", []),
        ("CC-BY-SA-4.0", [SHARE_ALIKE]),
        ("CC-BY-ND-4.0", [NO_DERIVATIVES]),
        ("CC-BY-NC-4.0", [NON_COMMERCIAL]),
        ("CC-BY-NC-SA-4.0", [NON_COMMERCIAL, SHARE_ALIKE]),
        ("CC-BY-NC-ND-4.0", [NON_COMMERCIAL, NO_DERIVATIVES]),
        ("ODbL-1.0", [SHARE_ALIKE]),
        ("GPL-2.0-only", [COPYLEFT]),
        ("GPL-3.0-or-later", [COPYLEFT]),
        ("AGPL-3.0-only", [COPYLEFT]),
        ("LGPL-2.1-only", [COPYLEFT]),
        ("MPL-2.0", [COPYLEFT]),
        ("PolyForm-Noncommercial-1.0.0", [NON_COMMERCIAL]),
        ("LicenseRef-Commons-Clause", [NON_COMMERCIAL]),
        ("LicenseRef-Hospital", [UNKNOWN]),
        ("BUSL-1.1", [UNKNOWN]),
    ],
)
def test_what_a_licence_asks(licence: str, conditions: list[str]) -> None:
    assert _said(licence) == {name: [licence] for name in conditions}


@pytest.mark.parametrize(
    ("expression", "wanted"),
    [
        ("gpl-2.0-only and mit", {COPYLEFT: ["GPL-2.0-only"]}),
        (
            "GPL-2.0-only AND GPL-3.0-only AND CC-BY-NC-4.0",
            {NON_COMMERCIAL: ["CC-BY-NC-4.0"], COPYLEFT: ["GPL-2.0-only", "GPL-3.0-only"]},
        ),
        ("MIT OR CC-BY-NC-4.0", {}),
        ("CC-BY-NC-4.0 OR GPL-3.0-only", {COPYLEFT: ["GPL-3.0-only"]}),
        # AND binds before OR: the second choice is both licences.
        ("CC-BY-NC-4.0 OR MIT AND GPL-2.0-only", {COPYLEFT: ["GPL-2.0-only"]}),
        ("(CC-BY-NC-4.0 OR MIT) AND CC-BY-SA-4.0", {SHARE_ALIKE: ["CC-BY-SA-4.0"]}),
        # A licence that is known is the better choice, even one that forbids.
        ("LicenseRef-Lab OR CC-BY-NC-4.0", {NON_COMMERCIAL: ["CC-BY-NC-4.0"]}),
        ("LicenseRef-Lab AND MIT", {UNKNOWN: ["LicenseRef-Lab"]}),
        (
            "GPL-2.0-only WITH Classpath-exception-2.0",
            {COPYLEFT: ["GPL-2.0-only WITH Classpath-exception-2.0"]},
        ),
        (
            "Apache-2.0 AND LicenseRef-Commons-Clause",
            {NON_COMMERCIAL: ["LicenseRef-Commons-Clause"]},
        ),
    ],
)
def test_what_an_expression_asks(expression: str, wanted: dict[str, list[str]]) -> None:
    assert _said(expression) == wanted


@pytest.mark.parametrize(
    "text",
    ["see the README", "GPL", "MIT AND", "(MIT", "MIT GPL-2.0-only", "(" * 500 + "MIT" + ")" * 500],
)
def test_what_is_no_expression_is_unknown(text: str) -> None:
    assert _said(text) == {UNKNOWN: [text]}


def test_text_that_forbids_by_name_is_taken_at_its_word() -> None:
    text = "Apache 2.0 with the Commons Clause"
    assert _said(text) == {NON_COMMERCIAL: [text]}


def test_no_licence_is_both_free_and_bound() -> None:
    known = {entry["id"] for entry in LICENSES.values()}
    asked = {name: set(terms_of(name)) for name in known}
    assert all(
        list(terms_of(name)) == [c for c in CONDITIONS if c in asked[name]] for name in known
    )
    # Every licence that SPDX calls non-commercial by its name is so here.
    named = {name for name in known if "-NC-" in name or "Noncommercial" in name}
    assert len(named) > 20
    assert {name for name in known if NON_COMMERCIAL in asked[name]} == named
    assert {name for name in known if not asked[name]}.isdisjoint(named)
    assert not any("nc" in pattern or "gpl" in pattern for pattern in FREE)


def test_what_is_not_cleared_comes_first() -> None:
    assert tuple(CONDITIONS)[: len(UNCLEARED)] == UNCLEARED == (UNKNOWN, NON_COMMERCIAL)
