"""Each interaction with the whole server that the CapabilityStatement declares works; each other one of R4 is answered
as undeclared. https://hl7.org/fhir/R4/http.html#transaction
"""

from collections.abc import Callable, Mapping

import pytest

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from tests.conformance.client import content, outcome
from tests.conformance.declared.here import FORM, Here
from tests.conformance.declared.makers import CHANGES, MAKERS, newly

SYSTEM = {
    "transaction": ("POST", ""),
    "batch": ("POST", ""),
    "search-system": ("GET", "?_type=Task"),
    "history-system": ("GET", "_history"),
}
"""https://hl7.org/fhir/R4/valueset-system-restful-interaction.html"""


@pytest.mark.parametrize("code", SYSTEM)
def test_an_interaction_of_the_whole_server_works_or_is_answered_as_undeclared(here: Here, code: str) -> None:
    declared = {interaction["code"] for interaction in here.rest["interaction"]}
    assert declared <= set(SYSTEM)
    if code in declared:
        SYSTEM_WORKS[code](here)
        return
    answer = here.ask(*SYSTEM[code])
    assert answer.status_code in (404, 405)
    assert outcome(answer, answer.status_code)[0]["code"] == "not-supported"


def test_search_of_the_whole_server_by_post_is_undeclared_too(here: Here) -> None:
    answer = here.ask("POST", "_search", body=b"_type=Task", headers={"Content-Type": FORM})
    assert outcome(answer, 404)[0]["code"] == "not-supported"


def _bundle(type_: str, entries: list[Json]) -> Json:
    return {"resourceType": "Bundle", "type": type_, "entry": entries}


def _one_of_each(here: Here, type_: str) -> tuple[str, Json]:
    """A caller, and a Bundle with an entry for each verb."""
    made, stored = newly(here, "Task")
    name, value = CHANGES["Task"]
    new = MAKERS["Communication"](here)
    entries = [
        {"request": {"method": "GET", "url": f"Task?_id={stored['id']}"}},
        {"request": {"method": "GET", "url": f"Task/{stored['id']}"}},
        {"resource": {**stored, name: value}, "request": {"method": "PUT", "url": f"Task/{stored['id']}"}},
        {"resource": new.resource, "request": {"method": "POST", "url": "Communication"}},
    ]
    return made.caller, _bundle(type_, entries)


def _whole(here: Here, type_: str) -> None:
    caller, bundle = _one_of_each(here, type_)
    bundle["entry"].pop()  # of another caller
    answer = here.ask("POST", "", body=bundle, caller=caller)
    told = content(answer)
    assert answer.status_code == 200, answer.text
    assert validate(told) == []
    assert told["type"] == f"{type_}-response"
    searched, read, updated = told["entry"]
    assert searched["resource"]["type"] == "searchset"
    assert searched["resource"]["entry"][0]["resource"]["meta"]["versionId"] == "2", "reads come last"
    assert read["resource"]["meta"]["versionId"] == "2"
    assert updated["response"]["status"].startswith("200")
    assert updated["response"]["etag"] == 'W/"2"'


def _transaction(here: Here) -> None:
    _whole(here, "transaction")
    caller, bundle = _one_of_each(here, "transaction")
    place = bundle["entry"][2]["request"]["url"]
    bundle["entry"][3] = {"request": {"method": "GET", "url": "Task/nobody"}}
    issues = outcome(here.ask("POST", "", body=bundle, caller=caller), 404)
    assert issues[0]["expression"] == ["Bundle.entry[3]"]
    assert content(here.ask("GET", place))["meta"]["versionId"] == "1", "nothing of it was stored"


def _batch(here: Here) -> None:
    _whole(here, "batch")
    caller, bundle = _one_of_each(here, "batch")
    bundle["entry"][3] = {"request": {"method": "GET", "url": "Task/nobody"}}
    told = content(here.ask("POST", "", body=bundle, caller=caller))
    assert [e["response"]["status"][:3] for e in told["entry"]] == ["200", "200", "200", "404"]
    assert told["entry"][3]["response"]["outcome"]["resourceType"] == "OperationOutcome"


SYSTEM_WORKS: Mapping[str, Callable[[Here], None]] = {"transaction": _transaction, "batch": _batch}
