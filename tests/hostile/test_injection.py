"""SQL where a client's words go into a query: each parameter, sort, include, id, page token, header and number is a
value and nothing else.
"""

import base64
import json
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import quote, urlencode

import pytest

from service.store.search_parameters import BY_TYPE
from tests.web.caller import Sluss, content, plain, single

Rows = Callable[[], dict[str, int]]

SLEEP = "x'; SELECT pg_sleep(5)--"
PAYLOADS = [
    "'",
    "x' OR '1'='1",
    SLEEP,
    "x'); DROP TABLE resource; --",
    "x' UNION SELECT version()--",
    "\\'; SELECT 1; --",
    "$$; SELECT pg_sleep(5); $$",
    "%(type)s",
    "{0}",
    "x\\",
    "%' OR '%'='",
    "_",
    "%",
    "1) OR (1=1",
    "x\u02bc OR 1=1",
    "/* */",
    'x" OR "1"="1',
]


def _ours(rows: dict[str, int]) -> dict[str, int]:
    return {name: count for name, count in rows.items() if "audit" not in name and name != "link_key"}


@pytest.fixture
def unharmed(sluss: Sluss, rows: Rows) -> Iterator[None]:
    """A referral is there before; afterwards it is as it was, and no time was slept away."""
    sluss.refer()
    before = _ours(rows())
    began = time.monotonic()
    yield
    assert _ours(rows()) == before
    assert time.monotonic() - began < 60
    assert len(sluss.search("Task?status=requested")) == 1


def _sound(answer: Any) -> None:
    """It is refused, or finds nothing; and nothing of a database shows."""
    assert answer.status_code in (200, 400, 404, 412, 422), answer.text
    assert "syntax error" not in answer.text
    assert "psycopg" not in answer.text
    assert "PostgreSQL" not in answer.text


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("type_", sorted(BY_TYPE))
def test_in_every_search_parameter_of_every_type(sluss: Sluss, type_: str) -> None:
    for name in BY_TYPE[type_]:
        for modifier in ("", ":not", ":exact", ":contains", ":identifier", ":missing"):
            payloads = PAYLOADS if modifier in ("", ":contains") else PAYLOADS[:3]
            asked = urlencode([(name + modifier, payload) for payload in payloads])
            _sound(sluss.get(f"/fhir/{type_}?{asked}"))
        for payload in PAYLOADS[:5]:
            answer = sluss.get(f"/fhir/{type_}?{name}={quote(payload)}")
            _sound(answer)
            if answer.status_code == 200:
                found = [e for e in content(answer).get("entry", []) if e["search"]["mode"] == "match"]
                assert found == [], (name, payload)


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("payload", PAYLOADS)
def test_in_everything_else_that_a_search_is_made_of(sluss: Sluss, payload: str) -> None:
    text = quote(payload, safe="")
    for asked in (
        f"_sort={text}", f"_sort=-status{text}", f"_id={text}", f"_lastUpdated={text}", f"_lastUpdated=gt{text}",
        f"_count={text}", f"_total={text}", f"_summary={text}", f"_elements={text}", f"_include={text}",
        f"_include=Task:focus:{text}", f"_revinclude={text}", f"_revinclude=Task:{text}", f"{text}=x",
        f"status{text}=x",
        f"status:{text}=x", f"patient.{text}=x", f"patient:{text}.name=x", f"patient.name={text}",
        f"patient._id={text}",
        f"owner:HealthcareService={text}", f"_page={text}", f"_format={text}", f"_pretty={text}",
    ):  # fmt: skip
        for answer in (
            sluss.get(f"/fhir/Task?{asked}"),
            sluss.post("/fhir/Task/_search", asked, {"Content-Type": "application/x-www-form-urlencoded"}),
            sluss.get(f"/fhir/Task/_history?{asked}"),
        ):
            assert answer.status_code in (200, 400, 406), (asked, answer.text)
            _sound(answer) if answer.status_code != 406 else None


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("payload", PAYLOADS)
def test_in_page_tokens(sluss: Sluss, payload: str) -> None:
    for values in (
        [payload],
        [payload, payload],
        ["2026-11-23T10:00:00Z", payload],
        [payload, "x", 1],
        payload,
        {"a": 1},
    ):
        token = base64.urlsafe_b64encode(json.dumps(values).encode()).decode().rstrip("=")
        for path in ("Task", "Task?_sort=status", "Patient?_sort=family", "Task/_history"):
            mark = "&" if "?" in path else "?"
            _sound(sluss.get(f"/fhir/{path}{mark}_page={token}"))


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("payload", PAYLOADS)
def test_in_addresses_and_heads(sluss: Sluss, payload: str) -> None:
    text = quote(payload, safe="")
    for path in (
        f"/fhir/Task/{text}", f"/fhir/Task/1/_history/{text}", f"/fhir/{text}", f"/fhir/Task/{text}/_history",
        f"/fhir/Subscription/{text}/$status", f"/fhir/AuditEvent?patient={text}", f"/fhir/Task?_id={text}",
    ):  # fmt: skip
        assert sluss.get(path).status_code in (200, 308, 400, 404, 405), path
    head = payload.encode().decode("latin-1")
    for name in (
        "Sluss-Caller",
        "X-Request-Id",
        "If-None-Match",
        "If-Modified-Since",
        "Accept",
        "Prefer",
        "Sluss-Reason",
    ):
        assert sluss.get("/fhir/Task", {name: head}).status_code in (200, 304, 400, 406), name
    for caller in (f"referrer {payload}", f"therapist {payload}"):
        assert sluss.acting(caller.encode().decode("latin-1")).get("/fhir/Task").status_code in (200, 400)
    task = sluss.search("Task?status=requested")[0]
    for name in ("If-Match", "If-None-Match"):
        answer = sluss.put(f"/fhir/Task/{task['id']}", {**task, "status": "nonsense"}, {name: head})
        assert answer.status_code in (400, 412), answer.text


@pytest.mark.parametrize("payload", PAYLOADS)
def test_a_number_of_the_referrers_is_kept_as_it_is(sluss: Sluss, payload: str) -> None:
    assert sluss.post("/fhir/ServiceRequest", single(payload)).status_code == 201
    assert sluss.post("/fhir/ServiceRequest", single(payload)).status_code == 200, "it is the same one"
    (order,) = sluss.search("ServiceRequest")
    assert order["identifier"][0]["value"] == payload
    escaped = quote(payload.replace("\\", "\\\\").replace("|", "\\|").replace(",", "\\,").replace("$", "\\$"), safe="")
    assert len(sluss.search(f"ServiceRequest?identifier={escaped}")) == 1
    typed = plain(referrer={"unit": "SE2321000198-EX01", "reference": payload}, patient={
        "identifier": "199002222397", "name": payload})  # fmt: skip
    answer = sluss.post("/intake/referrals", typed, {"Content-Type": "application/json"})
    assert answer.status_code in (201, 409), answer.text


@pytest.mark.usefixtures("unharmed")
@pytest.mark.parametrize("payload", PAYLOADS)
def test_in_conditions(sluss: Sluss, payload: str) -> None:
    text = quote(payload, safe="")
    head = {"If-None-Exist": f"identifier={text}"}
    bad = single("R-2", status="draft")
    assert sluss.post("/fhir/ServiceRequest", bad, head).status_code in (400, 412, 422)
    asked = sluss.put(
        f"/fhir/Task?identifier={text}", {"resourceType": "Task", "status": "requested", "intent": "order"}
    )
    assert asked.status_code in (400, 404, 405, 412, 422), asked.text
    referring = single("R-2", subject={"reference": f"Patient?identifier={payload}"})
    entry = {"resource": referring, "request": {"method": "POST", "url": "ServiceRequest"}}
    answer = sluss.post("/fhir", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    assert answer.status_code in (400, 412, 422), answer.text
