"""The published packages on a real server: both load side by side, and the examples are valid by our own profiles."""

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlencode
from zipfile import ZipFile

import pytest
import requests
from click.testing import CliRunner

from fhir_mappings.records import Json
from service.cli import main
from service.packs.loading import shipped
from tests.hapi import hl7se
from tests.hapi.server import Running, build

pytestmark = pytest.mark.hapi

S = "https://region.example/fhir"
"""A canonical base of its own, so that other tests on the same server do not meet these definitions."""

JSON = {"Content-Type": "application/fhir+json"}

HARMLESS = (
    "Best Practice Recommendation",  # we write no narrative, and a computed score has no performer
    "UCUM Codes that contain human readable annotations",  # {score} is the code
    "If text exists, it must match the questionnaire",  # the EHR's wording; its linkId decides
    "CodeSystem is unknown and can't be validated: https://ehr.example/",  # an EHR's own
    "CodeSystem is unknown and can't be validated: https://www.icd10.se/",  # the national one, which HAPI lacks
    "Unable to find the base Search Parameter http://hl7.org/fhir/SearchParameter/",  # HAPI has none of HL7's to read
    # HAPI looks for R4's package on the net before it judges the definition of an extension; what is extended by it is
    # judged all the same, with the examples
    "Unable to resolve package id hl7.fhir.r4.core",
)
"""What is no fault of a definition or an example."""


class Server:
    """A HAPI with HL7 Sweden's profiles and both of our packages on it."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.session.trust_env = False  # loopback needs no proxy

    def put(self, resource: Json) -> None:
        """By URL and version, as different packs use the same ids."""
        known: dict[str, str] = {name: resource[name] for name in ("url", "version") if name in resource}
        answer = self.session.put(
            f"{self.url}/{resource['resourceType']}?{urlencode(known)}",
            json={name: value for name, value in resource.items() if name != "id"},
            headers=JSON,
            timeout=120,
        )
        assert answer.status_code in (200, 201), (resource["url"], answer.text)

    def find(self, type_: str, **parameters: str) -> list[Json]:
        answer = self.session.get(
            f"{self.url}/{type_}", params=parameters, headers={"Cache-Control": "no-cache"}, timeout=120
        )
        return [entry["resource"] for entry in answer.json().get("entry", [])]

    def problems(self, resource: Json, *, errors_only: bool = False) -> list[tuple[str, str]]:
        """(severity, words) of all that `$validate` has against it, by the profiles that it claims."""
        answer = self.session.post(
            f"{self.url}/{resource['resourceType']}/$validate", json=resource, headers=JSON, timeout=120
        )
        passed_over = ("information", "warning") if errors_only else ("information",)
        return [
            (issue["severity"], f"{(issue.get('location') or [''])[0]}: {issue['diagnostics']}")
            for issue in answer.json()["issue"]
            if issue["severity"] not in passed_over and not any(words in issue["diagnostics"] for words in HARMLESS)
        ]


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """What `sluss publish` writes for each pack."""
    out = tmp_path_factory.mktemp("packages")
    for name in shipped():
        settings = {"SLUSS_PACK": name, "SLUSS_CANONICAL_BASE": S}
        ended = CliRunner().invoke(main, ["publish", str(out / name)], env=settings)
        assert ended.exit_code == 0, ended.output
    return {name: out / name / "package" for name in shipped()}


def read(folder: Path) -> list[Json]:
    """The resources of a folder of the package, in the order of its index."""
    index = json.loads((folder / ".index.json").read_text(encoding="utf-8"))
    return [json.loads((folder / entry["filename"]).read_text(encoding="utf-8")) for entry in index["files"]]


@pytest.fixture(scope="module")
def alone(hapi: Running, packages: dict[str, Path]) -> Iterator[Server]:
    """The server with one pack, as a region has it."""
    server = Server(hapi.url)
    for definition in (*hl7se.DEFINITIONS, *read(packages["gavleborg"])):
        server.put(definition)
    yield server
    server.session.close()


@pytest.fixture(scope="module")
def both(alone: Server, packages: dict[str, Path]) -> Server:
    """The same server with the other pack besides."""
    for definition in read(packages["praktikertjanst"]):
        alone.put(definition)
    return alone


def test_every_definition_is_valid(alone: Server, packages: dict[str, Path]) -> None:
    assert {one["url"]: found for one in read(packages["gavleborg"]) if (found := alone.problems(one))} == {}


def test_the_examples_are_valid_by_the_profiles_that_they_claim(alone: Server, packages: dict[str, Path]) -> None:
    examples = read(packages["gavleborg"] / "example")
    assert len(examples) > 10
    assert {f"{one['resourceType']}/{one['id']}": found for one in examples if (found := alone.problems(one))} == {}


def test_both_packs_are_there_side_by_side(both: Server, packages: dict[str, Path]) -> None:
    forms = both.find("Questionnaire", url=f"{S}/Questionnaire/ikbt-referral")
    assert {form["version"] for form in forms} == {"1.0.0-gavleborg", "1.0.0-praktikertjanst"}
    assert len(both.find("Questionnaire", url=f"{S}/Questionnaire/madrs-s")) == 1
    for folder in packages.values():
        for definition in read(folder):
            found = both.find(definition["resourceType"], url=definition["url"], version=definition["version"])
            assert len(found) == 1, definition["url"]


@pytest.mark.parametrize("name", shipped())
def test_nothing_of_either_pack_is_in_error_where_both_are(both: Server, packages: dict[str, Path], name: str) -> None:
    """Codes without a version are looked for in one pack's fragment only, hence warnings."""
    everything = [*read(packages[name]), *read(packages[name] / "example")]
    assert {one["id"]: found for one in everything if (found := both.problems(one, errors_only=True))} == {}


def without(*names: str) -> Callable[[Json], None]:
    def change(resource: Json) -> None:
        for name in names:
            del resource[name]

    return change


def with_code(name: str, code: str) -> Callable[[Json], None]:
    def change(resource: Json) -> None:
        concept = resource[name][0] if isinstance(resource[name], list) else resource[name]
        concept["coding"][0]["code"] = code

    return change


def with_item_of_seven(resource: Json) -> None:
    resource["component"][0]["valueInteger"] = 7


def with_two_names(resource: Json) -> None:
    resource["name"] = [{"text": "Test"}, {"text": "Testsson"}]


@pytest.mark.parametrize(
    ("type_", "spoil"),
    [
        ("ServiceRequest", without("identifier")),
        ("ServiceRequest", with_code("code", "yoga")),
        ("Task", without("owner")),
        ("Task", with_code("code", "abort")),
        ("Communication", with_code("category", "gossip")),
        ("Observation", with_item_of_seven),
        ("Observation", with_code("code", "item-1")),
        ("CarePlan", without("instantiatesCanonical")),
        ("Patient", without("identifier")),
        ("Patient", with_two_names),
        ("Organization", without("identifier")),
        ("HealthcareService", without("telecom")),
    ],
)
def test_a_spoilt_example_is_found_out(
    alone: Server, packages: dict[str, Path], type_: str, spoil: Callable[[Json], None]
) -> None:
    """The proof that the profiles constrain, HL7 Sweden's among them."""
    example = next(
        copy.deepcopy(one)
        for one in read(packages["gavleborg"] / "example")
        if one["resourceType"] == type_ and any(p.startswith(S) for p in one["meta"]["profile"])
    )
    spoil(example)
    assert "error" in {severity for severity, _ in alone.problems(example)}


def test_every_search_parameter_is_hl7s_own_and_of_the_kind_that_we_say(packages: dict[str, Path]) -> None:
    """HAPI brings R4's definitions along, in one of the jars that it is built with."""
    (jar,) = (build().parent / "lib").glob("hapi-fhir-validation-resources-r4-*.jar")
    with ZipFile(jar) as archive:
        bundle = json.loads(archive.read("org/hl7/fhir/r4/model/sp/search-parameters.json"))
    known = {entry["resource"]["url"]: entry["resource"] for entry in bundle["entry"]}
    statement = json.loads((packages["gavleborg"] / "CapabilityStatement-sluss.json").read_text(encoding="utf-8"))
    for resource in statement["rest"][0]["resource"]:
        for parameter in resource["searchParam"]:
            definition = known[parameter["definition"]]
            assert (definition["code"], definition["type"]) == (parameter["name"], parameter["type"])
            assert {resource["type"], "Resource"} & set(definition["base"]), parameter
