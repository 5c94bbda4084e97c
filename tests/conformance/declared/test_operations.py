"""Each operation that the CapabilityStatement declares works, and its definition can be fetched where it is ours; any
other is answered as undeclared. https://hl7.org/fhir/R4/operations.html
"""

from collections.abc import Callable, Mapping
from itertools import count

import pytest

from fhir_mappings.r4 import SUPPORTED_TYPES, validate
from tests.conformance.client import content, outcome
from tests.conformance.declared.filled import SUBSCRIBERS
from tests.conformance.declared.here import Here
from tests.journeys.referrals import UNIT, alone, logical_patient, madrs_s, referral

_numbers = count(1)
OF_R4 = (
    "validate",
    "everything",
    "meta",
    "meta-add",
    "graphql",
    "diff",
    "match",
    "expand",
    "lookup",
    "apply",
    "convert",
)


def _assess(here: Here, path: str) -> None:
    before = here.rows("SELECT count(*) FROM resource")
    for body in (alone(f"O-{next(_numbers)}"), referral(f"O-{next(_numbers)}")):
        named = {"resourceType": "Parameters", "parameter": [{"name": "referral", "resource": body}]}
        for sent in (body, named):
            told = content(here.ask("POST", path, body=sent, caller=f"referrer {UNIT}"))
            assert validate(told) == []
            assert {parameter["name"] for parameter in told["parameter"]} >= {"verdict", "route"}
    assert here.rows("SELECT count(*) FROM resource") == before


def _extract(here: Here, path: str) -> None:
    answers = madrs_s(subject=logical_patient())
    told = content(here.ask("POST", path, body=answers, caller=f"referrer {UNIT}"))
    assert validate(told) == []
    assert told["resourceType"] == "Bundle"
    assert [e["resource"]["resourceType"] for e in told["entry"]] == ["Observation"]
    for id_, stored in here.stored("QuestionnaireResponse").items():
        as_sent = here.ask("POST", path, body=stored)
        for method in ("GET", "POST"):
            answer = here.ask(method, path.replace("/", f"/{id_}/"))
            assert answer.status_code == as_sent.status_code
            assert validate(answer.json()) == []
            assert answer.json()["resourceType"] == as_sent.json()["resourceType"]


def _status(here: Here, path: str) -> None:
    for caller in SUBSCRIBERS:
        (mine,) = content(here.ask("GET", "Subscription", caller=caller))["entry"]
        for address in (path, path.replace("/", f"/{mine['resource']['id']}/")):
            for method in ("GET", "POST"):
                told = content(here.ask(method, address, caller=caller))
                assert told["type"] == "searchset"
                assert len(told["entry"]) == 1


def _events(here: Here, path: str) -> None:
    (mine,) = content(here.ask("GET", "Subscription", caller=SUBSCRIBERS[0]))["entry"]
    for method in ("GET", "POST"):
        told = content(here.ask(method, path.replace("/", f"/{mine['resource']['id']}/"), caller=SUBSCRIBERS[0]))
        assert told["type"] == "history"


WORKS: Mapping[str, Callable[[Here, str], None]] = {
    "assess": _assess,
    "extract": _extract,
    "status": _status,
    "events": _events,
}
OF_ONE = ("extract",)
"""Of our own operations those that are also one resource's."""
TYPES = sorted(SUPPORTED_TYPES | {"Subscription"})


def test_a_declared_operation_works_and_its_definition_is_there(here: Here) -> None:
    declared = [(type_, o) for type_, resource in here.declared.items() for o in resource.get("operation", ())]
    for type_, operation in declared:
        name, definition = operation["name"], operation["definition"]
        assert name in WORKS, f"${name} is declared, and nothing here asks for it"
        WORKS[name](here, f"{type_}/${name}")
        if definition.startswith("https://sluss.example"):
            (found,) = here.search("OperationDefinition", [("url", definition)])
            defined = content(here.ask("GET", found))
            assert (defined["code"], defined["instance"]) == (name, name in OF_ONE)
    assert "operation" not in here.rest, "of the whole server there is none"


@pytest.mark.parametrize("type_", TYPES)
def test_an_operation_that_is_not_declared_is_not_supported_on_type_and_resource(here: Here, type_: str) -> None:
    some = next(iter(here.stored(type_)))
    declared = {operation["name"] for operation in here.declared[type_].get("operation", ())}
    for name in {*OF_R4, *WORKS} - declared:
        for path in (f"{type_}/${name}", f"{type_}/{some}/${name}"):
            for method, body in (("GET", None), ("POST", {"resourceType": "Parameters"})):
                issues = outcome(here.ask(method, path, body=body), 404)
                assert issues[0]["code"] == "not-supported", (method, path)


def test_an_operation_of_the_whole_server_is_not_supported(here: Here) -> None:
    for name in (*OF_R4, *WORKS, "process-message", "convert", "export"):
        for method, body in (("GET", None), ("POST", {"resourceType": "Parameters"})):
            assert outcome(here.ask(method, f"${name}", body=body), 404)[0]["code"] == "not-supported"


def test_a_declared_operation_by_another_method_is_405_and_at_another_level_404(here: Here) -> None:
    for type_, resource in here.declared.items():
        for operation in resource.get("operation", ()):
            if type_ == "Subscription":
                continue
            answer = here.ask("GET", f"{type_}/${operation['name']}")
            assert outcome(answer, 405)[0]["code"] == "not-supported"
            assert answer.headers["Allow"] == "POST"
            if operation["name"] in OF_ONE:
                continue
            some = next(iter(here.stored(type_)))
            outcome(here.ask("POST", f"{type_}/{some}/${operation['name']}", body={"resourceType": "Parameters"}), 404)
