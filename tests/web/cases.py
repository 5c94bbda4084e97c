"""The cases of `fixtures/` as they are sent to a running service."""

import tomllib
from dataclasses import dataclass
from pathlib import Path

from fhir_mappings import strict_json
from fhir_mappings.records import Json

FOLDER = Path(__file__).parents[2] / "fixtures"
PATHS = {"bundle": "/fhir", "single": "/fhir/ServiceRequest", "plain": "/intake/referrals"}


@dataclass(frozen=True, slots=True)
class Case:
    """One folder."""

    name: str
    pack: str
    today: str
    way: str
    body: bytes
    expected: Json

    @property
    def path(self) -> str:
        """Where it is sent."""
        return PATHS[self.way]

    @property
    def content(self) -> Json:
        """What is sent, as JSON. Only for cases that can be read."""
        read = strict_json.parse(self.body)
        assert isinstance(read, dict), self.name
        return read


def cases(way: str | None = None, pack: str | None = None) -> list[Case]:
    """Those of one way in, by name."""
    found = [_case(about.parent) for about in sorted(FOLDER.glob("*/case.toml"))]
    return [case for case in found if way in (None, case.way) and pack in (None, case.pack)]


def _case(folder: Path) -> Case:
    about = tomllib.loads((folder / "case.toml").read_text())
    expected = strict_json.parse((folder / "expected.json").read_bytes())
    assert isinstance(expected, dict), folder
    body = (folder / "in.json").read_bytes()
    return Case(folder.name, about["pack"], about["today"], about["way"], body, expected)
