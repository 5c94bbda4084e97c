"""A client of Sluss for the tests: says who it is, sends JSON, reads JSON."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import simplejson
from flask import Flask
from werkzeug.test import TestResponse

from fhir_mappings.records import Json
from tests.fhir_mappings.r4 import samples

S = samples.S
UNIT = "SE2321000198-EX01"
FHIR = "application/fhir+json"


class Sluss:
    """Calls one application."""

    def __init__(self, app: Flask, caller: str | None = None) -> None:
        self.app = app
        self.caller = caller

    def acting(self, caller: str) -> "Sluss":
        """The same application, acting for `referrer …`, `therapist …`."""
        return Sluss(self.app, caller)

    def call(
        self,
        method: str,
        path: str,
        body: Json | bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> TestResponse:
        given = {"Content-Type": FHIR} if body is not None else {}
        if self.caller:
            given["Sluss-Caller"] = self.caller
        data = simplejson.dumps(body, use_decimal=True) if isinstance(body, dict) else body
        return self.app.test_client().open(path, method=method, data=data, headers={**given, **(headers or {})}, **more)

    def get(self, path: str, headers: Mapping[str, str] | None = None, **more: Any) -> TestResponse:
        return self.call("GET", path, None, headers, **more)

    def post(
        self, path: str, body: Json | bytes | str | None, headers: Mapping[str, str] | None = None, **more: Any
    ) -> TestResponse:
        return self.call("POST", path, body, headers, **more)

    def put(
        self, path: str, body: Json | bytes | str | None, headers: Mapping[str, str] | None = None, **more: Any
    ) -> TestResponse:
        return self.call("PUT", path, body, headers, **more)

    def read(self, reference: str) -> Json:
        """The current version of `Type/id`."""
        answer = self.get(f"/fhir/{reference}")
        assert answer.status_code == 200, answer.text
        return content(answer)

    def search(self, query: str) -> list[Json]:
        """The resources of the first page."""
        answer = self.get(f"/fhir/{query}")
        assert answer.status_code == 200, answer.text
        return [entry["resource"] for entry in content(answer).get("entry", [])]

    def refer(self, number: str = "R-1", **changes: Any) -> Json:
        """Sends the sample referral under this number; gives `{"order": …, "task": …}` as they are stored."""
        answer = self.post("/fhir", bundle(number, **changes))
        assert answer.status_code == 200, answer.text
        order = next(
            entry["response"]["location"]
            for entry in content(answer)["entry"]
            if entry["response"].get("location", "").startswith("ServiceRequest/")
        ).split("/_history")[0]
        (task,) = self.search(f"Task?focus={order}")
        return {"order": self.read(order), "task": task}


def content(answer: TestResponse) -> Json:
    """The JSON object in the body, decimals as they are."""
    read: Json = simplejson.loads(answer.get_data(as_text=True), use_decimal=True)
    return read


def bundle(number: str = "R-1", change: Callable[[Json], None] | None = None) -> Json:
    """The sample referral under a number of its own; `change` may edit the ServiceRequest."""
    sent = samples.referral_bundle()
    order = order_in(sent)
    order["identifier"][0]["value"] = number
    if change:
        change(order)
    return sent


def order_in(sent: Json) -> Json:
    """The ServiceRequest of a Bundle, free to be changed."""
    found: Json = next(e["resource"] for e in sent["entry"] if e["resource"]["resourceType"] == "ServiceRequest")
    return found


def single(number: str = "R-1", **changes: Any) -> Json:
    """A ServiceRequest by itself: patient and unit named by their identifiers."""
    order = samples.resource_of("ServiceRequest")
    order["identifier"][0]["value"] = number
    for name in ("supportingInfo", "reasonReference"):
        del order[name]
    personnummer = "http://electronichealth.se/identifier/personnummer"
    return {
        **order,
        "subject": {"identifier": {"system": personnummer, "value": "199002222397"}, "display": "Test Testsson"},
        "requester": {"type": "Organization", "identifier": {"system": "urn:oid:1.2.752.29.4.19", "value": UNIT}},
        **changes,
    }


def plain(**changes: Any) -> Json:
    """A record message typed in, as contract 3 shows it."""
    return {
        "channel": "record-message",
        "received": "2026-11-20",
        "referrer": {"unit": UNIT, "name": "Psykosocialt team", "reference": "PMO-2026-000123"},
        "patient": {
            "identifier": "199002222397",
            "name": "Test Testsson",
            "phone": "070-1740605",
            "municipality": "2180",
        },
        "programme": "depression",
        "diagnoses": ["F32.1"],
        "madrs_s": {"date": "2026-11-18", "items": [2, 3, 3, 1, 3, 3, 2, 3, 1]},
        "answers": {"suicide-risk": "low", "internet-access": True},
        "parallel_treatment": "Samtal var tredje vecka, inga hemuppgifter",
        "other": "Nås bäst efter 15",
        **changes,
    }


def issues(answer: TestResponse) -> list[Json]:
    """The issues of an OperationOutcome, after a look that each says what contract 3 wants of it."""
    assert answer.headers["Content-Type"] == "application/fhir+json; charset=utf-8", answer.headers
    outcome = content(answer)
    assert outcome["resourceType"] == "OperationOutcome"
    for issue in outcome["issue"]:
        assert issue["severity"]
        assert issue["code"]
        assert issue["details"]["text"]
        assert issue["diagnostics"]
    told: list[Json] = outcome["issue"]
    return told


def places(answer: TestResponse) -> list[str]:
    """The expressions of the issues that have one."""
    return [place for issue in issues(answer) for place in issue.get("expression", [])]


def text_of(value: object) -> str:
    """JSON text, to look for words in."""
    return json.dumps(value, ensure_ascii=False)
