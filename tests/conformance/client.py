"""A FHIR client that says exactly what is written in the test, over a socket."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Any

import requests
import simplejson

from fhir_mappings.r4 import validate
from fhir_mappings.records import Json
from tests.web.caller import UNIT, bundle, single

GAVLE = "therapist gavle"
REFERRER = f"referrer {UNIT}"
STRANGER = "referrer SE2321000198-EX02"
PLACER = "https://ehr.example/referral"
JSON_PATCH = "application/json-patch+json"

_numbers = count(1)


@dataclass(frozen=True)
class Client:
    """Speaks for one caller with one running service."""

    root: str
    caller: str = "administrator"

    @property
    def base(self) -> str:
        return f"{self.root}/fhir"

    def acting(self, caller: str) -> "Client":
        return replace(self, caller=caller)

    def call(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> requests.Response:
        """`path` below the base; `body` JSON, text or bytes."""
        data = simplejson.dumps(body, use_decimal=True).encode() if isinstance(body, dict | list) else body
        media = "application/fhir+json" if method != "PATCH" else JSON_PATCH
        given = {"Content-Type": media} if data is not None else {}
        sent = {"Sluss-Caller": self.caller, **given, **(headers or {})}
        return requests.request(
            method, f"{self.base}/{path}".rstrip("/"), data=data, headers=sent, timeout=20, allow_redirects=False
        )

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> requests.Response:
        return self.call("GET", path, None, headers)

    def post(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> requests.Response:
        return self.call("POST", path, body, headers)

    def put(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> requests.Response:
        return self.call("PUT", path, body, headers)

    def patch(self, path: str, body: Any, headers: Mapping[str, str] | None = None) -> requests.Response:
        return self.call("PATCH", path, body, headers)

    def read(self, reference: str) -> Json:
        answer = self.get(reference)
        assert answer.status_code == 200, answer.text
        return content(answer)

    def found(self, query: str) -> list[Json]:
        """The matches of the first page."""
        answer = self.get(query)
        assert answer.status_code == 200, answer.text
        entries = content(answer).get("entry", [])
        return [e["resource"] for e in entries if e["search"]["mode"] == "match"]


@dataclass(frozen=True)
class Referral:
    """One that was taken in."""

    order: Json
    task: Json

    @property
    def order_place(self) -> str:
        return f"ServiceRequest/{self.order['id']}"

    @property
    def task_place(self) -> str:
        return f"Task/{self.task['id']}"


def new_number() -> str:
    """A placer number that nobody has used."""
    return f"C-{next(_numbers)}"


def refer(client: Client) -> Referral:
    """The sample referral under a new number."""
    answer = client.acting(REFERRER).post("", bundle(new_number()))
    assert answer.status_code == 200, answer.text
    places = [e["response"]["location"].split("/_history")[0] for e in content(answer)["entry"]]
    order = next(place for place in places if place.startswith("ServiceRequest/"))
    (task,) = client.found(f"Task?focus={order}")
    return Referral(client.read(order), task)


def another_order(**changes: Any) -> Json:
    """A ServiceRequest by itself under a new number."""
    return single(new_number(), **changes)


def message(order_place: str, text: str = "Patienten har flyttat.") -> Json:
    """What a referrer adds to its referral."""
    return {
        "resourceType": "Communication",
        "status": "completed",
        "basedOn": [{"reference": order_place}],
        "payload": [{"contentString": text}],
    }


def entry(method: str, url: str, resource: Json | None = None, full_url: str | None = None, **more: str) -> Json:
    """An entry of a batch or transaction."""
    named = {"fullUrl": full_url} if full_url else {}
    given = {"resource": resource} if resource else {}
    return {**named, **given, "request": {"method": method, "url": url, **more}}


def of(type_: str, *entries: Json) -> Json:
    """A Bundle."""
    return {"resourceType": "Bundle", "type": type_, **({"entry": list(entries)} if entries else {})}


def content(answer: requests.Response) -> Json:
    """The JSON object in the body, decimals as they are."""
    assert answer.headers["Content-Type"] == "application/fhir+json; charset=utf-8", answer.headers
    read: Json = simplejson.loads(answer.content.decode(), use_decimal=True)
    return read


def outcome(answer: requests.Response, status: int) -> list[Json]:
    """The issues of an error, after a look that it is one as R4 and contract 3 want it."""
    assert answer.status_code == status, answer.text
    told = content(answer)
    assert told["resourceType"] == "OperationOutcome"
    assert validate(told) == []
    for issue in told["issue"]:
        assert issue["severity"] in ("error", "fatal")
        assert issue["code"]
        assert issue["details"]["text"]
        assert issue["diagnostics"]
    issues: list[Json] = told["issue"]
    return issues


def places(issues: list[Json]) -> list[str]:
    return [place for issue in issues for place in issue.get("expression", [])]


def statuses(answer: requests.Response) -> list[str]:
    """The status line of every entry of an answering Bundle."""
    assert answer.status_code == 200, answer.text
    told = content(answer)
    assert validate(told) == []
    return [e["response"]["status"] for e in told.get("entry", [])]
