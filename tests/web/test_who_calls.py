"""With authentication on: who is refused, for what a token is good, and who else counts as known."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from werkzeug.test import TestResponse

from fhir_mappings.records import Json
from service.access.caller import Caller, Role
from service.store.client_records import Credentials
from service.web.identity import identify
from service.web.proxies import client_address
from service.web.requests_in import caller
from tests.access.signing import claims, key_set, public_jwk, signed, unsigned
from tests.web.authenticated import WithToken, acting_with_token, register
from tests.web.caller import UNIT, Sluss, bundle, content, issues, plain, single
from tests.web.conftest import NOW

SECRET = "a-secret-of-at-least-32-characters"


@pytest.fixture
def sluss(another: Callable[..., Sluss]) -> Sluss:
    return another(auth="smart")


def addresses(sluss: Sluss) -> list[tuple[str, str]]:
    """Every method at every address that this application has, and some that it has not."""
    found = []
    for rule in sluss.app.url_map.iter_rules():
        if rule.endpoint == "static":
            continue
        path = rule.rule
        for name in rule.arguments:
            converter = f"<path:{name}>" if f"<path:{name}>" in path else f"<{name}>"
            path = path.replace(converter, {"type_": "Task", "service": "ikbt-order-sign"}.get(name, "1"))
        found += [(method, path) for method in sorted(rule.methods or ())]
    return [*found, ("GET", "/"), ("GET", "/nowhere"), ("POST", "/fhir/Nonsense"), ("OPTIONS", "/fhir")]


OPEN = {"/fhir/metadata", "/fhir/.well-known/smart-configuration", "/auth/token", "/health/live"}


def test_whoever_is_unknown_is_refused_everywhere_but_where_everybody_may_ask(another: Callable[..., Sluss]) -> None:
    sluss = another(auth="smart", requests_per_minute=0)  # as often as this test likes
    asked = addresses(sluss)
    assert len(asked) > 60
    for method, path in asked:
        answer = sluss.call(method, path)
        assert (answer.status_code == 401) == (path not in OPEN), (method, path, answer.status_code)


def test_a_refusal_says_how_to_do_better_and_nothing_else(sluss: Sluss) -> None:
    answer = sluss.get("/fhir/Task")
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"] == 'Bearer realm="sluss"'
    assert [issue["code"] for issue in issues(answer)] == ["login"]
    for path, body in (("/intake/referrals", plain()), ("/cds-services/ikbt-order-sign", {})):
        refused = sluss.post(path, body)
        assert refused.status_code == 401
        assert refused.headers["Content-Type"] == "application/problem+json"
        assert refused.headers["WWW-Authenticate"] == 'Bearer realm="sluss"'


@pytest.mark.parametrize("token", ["x" * 43, "a.b.c", unsigned(claims(NOW)), "=", "å"])
def test_a_token_that_is_not_good_is_told_as_such(sluss: Sluss, token: str) -> None:
    answer = sluss.get("/fhir/Task", {"Authorization": f"Bearer {token}".encode().decode("latin-1")})
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="sluss"')


@pytest.mark.parametrize("header", ["Basic ZWhyOmh1c2g=", "Bearer", "Bearer ", "Digest x", ""])
def test_other_credentials_than_a_bearer_token_are_none(sluss: Sluss, header: str) -> None:
    assert sluss.get("/fhir/Task", {"Authorization": header}).status_code == 401


def test_nobody_knows_the_body_of_whoever_is_unknown(sluss: Sluss) -> None:
    # neither is it read nor looked through, however wrong or large it is
    for body, media in ((b"{" * 900_000, "application/fhir+json"), (b"<x/>", "application/xml")):
        answer = sluss.post("/fhir", body, {"Content-Type": media})
        assert answer.status_code == 401
        assert len(issues(answer)) == 1


def test_the_word_bearer_is_read_in_any_case(sluss: Sluss) -> None:
    token = acting_with_token(sluss, "therapist").token
    assert sluss.get("/fhir/Task", {"Authorization": f"bEARER {token}"}).status_code == 200


def test_a_token_says_for_whom_a_request_acts(sluss: Sluss) -> None:
    referrer = acting_with_token(sluss, "referrer")
    stranger = acting_with_token(sluss, "referrer", organisations=("SE2321000198-EX77",))
    therapist = acting_with_token(sluss, "therapist")
    made = referrer.refer("R-1")
    assert made["task"]["status"] == "requested"
    assert stranger.get(f"/fhir/Task/{made['task']['id']}").status_code == 404
    assert stranger.post("/fhir/ServiceRequest", single("R-2")).status_code == 403
    assert [task["id"] for task in therapist.search("Task?status=requested")] == [made["task"]["id"]]


def test_the_header_that_counts_without_authentication_is_refused_with_it(sluss: Sluss) -> None:
    answer = acting_with_token(sluss, "referrer").get("/fhir/Task", {"Sluss-Caller": "administrator"})
    assert answer.status_code == 400
    assert "SLUSS_AUTH=off" in issues(answer)[0]["diagnostics"]
    assert sluss.get("/fhir/Task", {"Sluss-Caller": "administrator"}).status_code == 401


# ---------------------------------------------------------------- what is open


def test_how_to_get_a_token_is_told_to_everybody_and_always_in_json(sluss: Sluss) -> None:
    for accept in ("text/html", "application/xml", "application/fhir+json", "*/*"):
        answer = sluss.get("/fhir/.well-known/smart-configuration", {"Accept": accept})
        assert answer.status_code == 200
        assert answer.headers["Content-Type"] == "application/json"
        told = answer.get_json()
    assert told["token_endpoint"] == "http://localhost/auth/token"
    assert told["grant_types_supported"] == ["client_credentials"]
    assert told["token_endpoint_auth_methods_supported"] == ["private_key_jwt"]
    assert told["token_endpoint_auth_signing_alg_values_supported"] == ["RS384", "ES384"]
    assert told["code_challenge_methods_supported"] == ["S256"]
    assert "client-confidential-asymmetric" in told["capabilities"]
    assert "permission-v2" in told["capabilities"]
    assert "system/Task.rs" in told["scopes_supported"]
    assert not told.keys() & {"authorization_endpoint", "issuer", "jwks_uri"}


def test_the_capability_statement_says_that_it_is_smart_and_where_tokens_are(another: Callable[..., Sluss]) -> None:
    behind = another(auth="smart", public_url="https://remiss.example")
    security = content(behind.get("/fhir/metadata"))["rest"][0]["security"]
    assert security["service"][0]["coding"][0]["code"] == "SMART-on-FHIR"
    (legacy,) = security["extension"]
    assert legacy["url"] == "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris"
    assert legacy["extension"] == [{"url": "token", "valueUri": "https://remiss.example/auth/token"}]
    assert "security" not in content(another().get("/fhir/metadata"))["rest"][0], "where there is none"


def test_who_watches_over_the_service_has_a_secret_of_its_own(another: Callable[..., Sluss]) -> None:
    watched = another(auth="smart", metrics_token=SECRET)
    administrator, referrer = acting_with_token(watched, "administrator"), acting_with_token(watched, "referrer")
    for path in ("/metrics", "/health/ready"):
        assert WithToken(watched, SECRET).get(path).status_code == 200
        assert administrator.get(path).status_code == 200
        assert referrer.get(path).status_code == 403
        assert watched.get(path).status_code == 401
        assert WithToken(watched, SECRET[:-1]).get(path).status_code == 401
    assert WithToken(watched, SECRET).get("/fhir/Task").status_code == 401, "it is good for nothing else"


def test_the_external_server_wakes_us_with_its_own_secret(another: Callable[..., Sluss]) -> None:
    woken = another(auth="smart", wake_token=SECRET, fhir_server_url="http://127.0.0.1:1/fhir")
    assert woken.post("/exchange/wake", None, {"Authorization": f"Bearer {SECRET}"}).status_code == 204
    assert woken.post("/exchange/wake", None).status_code == 401
    assert WithToken(woken, SECRET).get("/fhir/Task").status_code == 401


# ---------------------------------------------------------------- scopes


def test_of_two_clients_only_one_may_have_a_subject(sluss: Sluss) -> None:
    register(sluss, "one", "platform", Credentials(subject="CN=ehr.example,O=Region,C=SE"))
    with pytest.raises(AssertionError):
        register(sluss, "two", "platform", Credentials(subject="CN=ehr.example,O=Region,C=SE"))


NEEDS: list[tuple[str, str, Any, str]] = [
    ("GET", "/fhir/Task/{task}", None, "Task.r"),
    ("HEAD", "/fhir/Task/{task}", None, "Task.r"),
    ("GET", "/fhir/Task/{task}/_history", None, "Task.r"),
    ("GET", "/fhir/Task/{task}/_history/1", None, "Task.r"),
    ("GET", "/fhir/Task", None, "Task.s"),
    ("GET", "/fhir/Task/_history", None, "Task.s"),
    ("POST", "/fhir/Task/_search", None, "Task.s"),
    ("POST", "/fhir/ServiceRequest", single("R-9"), "ServiceRequest.c"),
    ("POST", "/fhir/ServiceRequest/$assess", single("R-9"), "ServiceRequest.c"),
    ("POST", "/intake/referrals", plain(), "ServiceRequest.c"),
    ("POST", "/cds-services/ikbt-order-sign", {}, "ServiceRequest.c"),
    ("POST", "/cds-services/ikbt-order-sign/feedback", {}, "ServiceRequest.c"),
    ("PUT", "/fhir/Task/{task}", {}, "Task.u"),
    ("PATCH", "/fhir/Task/{task}", b"[]", "Task.u"),
    ("PUT", "/fhir/Patient?identifier=1", {}, "Patient.u"),
    ("POST", "/fhir/QuestionnaireResponse/$extract", {}, "QuestionnaireResponse.r"),
    ("GET", "/fhir/QuestionnaireResponse/1/$extract", None, "QuestionnaireResponse.r"),
    ("POST", "/fhir/QuestionnaireResponse/1/$extract", {}, "QuestionnaireResponse.r"),
    ("GET", "/fhir/Subscription/1/$status", None, "Subscription.r"),
    ("DELETE", "/fhir/Subscription/1", None, "Subscription.d"),
]


@pytest.mark.parametrize(("method", "path", "body", "scope"), NEEDS, ids=[f"{m} {p}" for m, p, _, _ in NEEDS])
def test_each_request_needs_its_scope(sluss: Sluss, method: str, path: str, body: Any, scope: str) -> None:
    """All others together are not enough, that one alone is."""
    task = acting_with_token(sluss, "referrer").refer("R-1")["task"]["id"]
    type_, letter = scope.split(".")
    others = "".join(one for one in "cruds" if one != letter)
    reach = {"organisations": (UNIT,)}
    without = acting_with_token(
        sluss, "referrer", scopes=(f"system/{type_}.{others}", "system/Practitioner.cruds"), **reach
    )
    media = {"Content-Type": "application/json-patch+json"} if method == "PATCH" else {}
    answer = without.call(method, path.format(task=task), body, media)
    assert answer.status_code == 403
    challenge = answer.headers["WWW-Authenticate"]
    assert challenge == f'Bearer realm="sluss", error="insufficient_scope", scope="system/{scope}"'
    if method != "HEAD":
        assert f"system/{scope}" in answer.text
    alone = acting_with_token(sluss, "referrer", scopes=(f"system/{scope}",), **reach)
    answer = alone.call(method, path.format(task=task), body, media)
    assert "WWW-Authenticate" not in answer.headers
    assert answer.status_code != 401


def test_what_describes_needs_no_scope(sluss: Sluss) -> None:
    narrow = acting_with_token(sluss, "platform", scopes=("system/Communication.r",), organisations=(UNIT,))
    for path in ("/cds-services", "/openapi.json"):
        assert narrow.get(path).status_code == 200


@pytest.mark.parametrize(
    ("path", "search"), [("AuditEvent", "action=C"), ("AuditEvent/1", "action=C"), ("Subscription", "status=active")]
)
def test_a_search_that_would_narrow_nothing_is_no_right(sluss: Sluss, path: str, search: str) -> None:
    """Neither the record nor Subscriptions are narrowed by a scope's search."""
    type_ = path.partition("/")[0]
    narrow = acting_with_token(sluss, "administrator", scope=f"system/{type_}.rs?{search}")
    assert narrow.get(f"/fhir/{path}").status_code == 403
    whole = acting_with_token(sluss, "administrator", scope=f"system/{type_}.rs?{search} system/{type_}.rs")
    assert whole.get(f"/fhir/{path}").status_code in (200, 404)


@pytest.mark.parametrize("scope", ["ServiceRequest.rus?status=completed", "ServiceRequest.us?status=completed"])
def test_a_search_that_narrows_what_may_be_changed_is_no_right_to_make(sluss: Sluss, scope: str) -> None:
    """A conditional update that finds nothing makes something, which no search of a scope could narrow."""
    narrow = acting_with_token(sluss, "referrer", scopes=(f"system/{scope}",), organisations=(UNIT,))
    order, url = single("R-1"), "ServiceRequest?identifier=R-1"
    entry = {"resource": order, "request": {"method": "PUT", "url": url}}
    sent = {"resourceType": "Bundle", "type": "transaction", "entry": [entry]}
    for answer in (narrow.put(f"/fhir/{url}", order), narrow.post("/fhir", sent)):
        assert answer.status_code == 403, answer.text
        assert 'scope="system/ServiceRequest.c"' in answer.headers["WWW-Authenticate"]
    assert acting_with_token(sluss, "referrer").search("ServiceRequest") == []
    for more in ("system/ServiceRequest.c", "system/ServiceRequest.u"):
        scopes = (f"system/{scope}", more)
        enough = acting_with_token(sluss, "referrer", scopes=scopes, organisations=(UNIT,))
        assert enough.put("/fhir/ServiceRequest?identifier=" + more[-1], single(more[-1])).status_code == 201


def test_a_transaction_needs_what_each_of_its_entries_needs_and_tells_all_that_is_lacking(sluss: Sluss) -> None:
    reach = {"organisations": (UNIT,)}
    sent = bundle("R-1")
    types = sorted({entry["resource"]["resourceType"] for entry in sent["entry"]})
    assert len(types) > 3
    enough = tuple(f"system/{type_}.c" for type_ in types)
    assert acting_with_token(sluss, "referrer", scopes=enough, **reach).post("/fhir", sent).status_code == 200
    little = acting_with_token(sluss, "referrer", scopes=("system/ServiceRequest.cruds",), **reach)
    answer = little.post("/fhir", bundle("R-2"))
    assert answer.status_code == 403
    assert len(issues(answer)) == sum(entry["resource"]["resourceType"] != "ServiceRequest" for entry in sent["entry"])
    assert "Bundle.entry[0].request" in answer.text or "Bundle.entry[1].request" in answer.text
    nothing = acting_with_token(sluss, "referrer", scopes=("system/Task.rs",), **reach)
    assert nothing.post("/fhir", bundle("R-3")).status_code == 403


def test_a_change_of_a_transaction_needs_its_scope_too(sluss: Sluss) -> None:
    task = acting_with_token(sluss, "referrer").refer("R-1")["task"]
    reader = acting_with_token(sluss, "therapist", scopes=("system/*.rs",), teams=("gavle",))
    entry = {"resource": {**task, "status": "received"}, "request": {"method": "PUT", "url": f"Task/{task['id']}"}}
    answer = reader.post("/fhir", {"resourceType": "Bundle", "type": "transaction", "entry": [entry]})
    assert answer.status_code == 403
    assert 'scope="system/Task.u"' in answer.headers["WWW-Authenticate"]
    assert reader.read(f"Task/{task['id']}")["status"] == "requested"


def test_each_entry_of_a_batch_needs_its_scope_for_itself(sluss: Sluss) -> None:
    task = acting_with_token(sluss, "referrer").refer("R-1")["task"]
    reader = acting_with_token(sluss, "therapist", scopes=("system/Task.r",), teams=("gavle",))
    asked = [{"request": {"method": "GET", "url": url}} for url in (f"Task/{task['id']}", "Task?status=requested")]
    answer = reader.post("/fhir", {"resourceType": "Bundle", "type": "batch", "entry": asked})
    assert answer.status_code == 200
    read, searched = content(answer)["entry"]
    assert read["response"]["status"] == "200 OK"
    assert searched["response"]["status"] == "403 Forbidden"
    assert "system/Task.s" in json.dumps(searched["response"]["outcome"])


def test_a_scope_with_a_search_shows_what_it_finds_and_hides_the_rest(sluss: Sluss) -> None:
    referrer = acting_with_token(sluss, "referrer")
    tasks = [referrer.refer(f"R-{number}")["task"] for number in (1, 2)]
    therapist = acting_with_token(sluss, "therapist")
    received = therapist.put(f"/fhir/Task/{tasks[0]['id']}", {**tasks[0], "status": "received"})
    assert received.status_code == 200, received.text
    narrow = acting_with_token(sluss, "therapist", scopes=("system/Task.rs?status=received",), teams=("gavle",))
    assert [task["id"] for task in narrow.search("Task")] == [tasks[0]["id"]]
    assert narrow.get(f"/fhir/Task/{tasks[0]['id']}").status_code == 200
    hidden = narrow.get(f"/fhir/Task/{tasks[1]['id']}")
    assert hidden.status_code == 404
    assert content(hidden)["resourceType"] == "OperationOutcome"


# ---------------------------------------------------------------- an identity provider's sign-ins

ISSUER = "https://idp.example"


@pytest.fixture
def with_idp(another: Callable[..., Sluss], tmp_path: Path) -> Sluss:
    keys = tmp_path / "idp.json"
    keys.write_text(key_set(public_jwk("RS256", "idp"), public_jwk("ES256", "idp-ec"), public_jwk("RS384", "idp-384")))
    made = another(auth="smart", idp_issuer=ISSUER, idp_jwks=str(keys), idp_audience="sluss")
    register(made, "gavle", "therapist", Credentials(assignment="SE2321000198-TEAM1"))
    return made


def sign_in(kind: str = "RS256", kid: str = "idp", number: int = 1, **changes: Any) -> str:
    said = {
        "iss": ISSUER,
        "sub": "somebody",
        "aud": ["sluss", "other"],
        "exp": int((NOW + timedelta(hours=8)).timestamp()),
        "employeeHsaId": "SE2321000198-P001",
        "healthCareUnitHsaId": "SE2321000198-TEAM1",
        **changes,
    }
    return signed({name: value for name, value in said.items() if value is not None}, kind, kid, number)


def test_a_therapists_own_sign_in_says_person_and_care_unit(with_idp: Sluss) -> None:
    caller = _caller_of(with_idp, {"Authorization": f"Bearer {sign_in(jti='token-1')}"})
    assert caller.role is Role.THERAPIST
    assert caller.teams == {"gavle"}
    assert (caller.user, caller.unit, caller.client) == ("SE2321000198-P001", "SE2321000198-TEAM1", "gavle")
    assert caller.token == "token-1"


def test_a_sign_in_works_as_the_teams_token_does(with_idp: Sluss) -> None:
    task = acting_with_token(with_idp, "referrer").refer("R-1")["task"]
    for kind, kid in (("RS256", "idp"), ("ES256", "idp-ec"), ("RS384", "idp-384")):
        found = WithToken(with_idp, sign_in(kind, kid)).search("Task?status=requested")
        assert [one["id"] for one in found] == [task["id"]]


@pytest.mark.parametrize(
    "changes",
    [
        {"iss": "https://other.example"},
        {"iss": None},
        {"aud": "other"},
        {"aud": None},
        {"exp": int(NOW.timestamp()) - 11},
        {"exp": None},
        {"nbf": int(NOW.timestamp()) + 60},
        {"employeeHsaId": None},
        {"employeeHsaId": "199002222397"},
        {"employeeHsaId": ["SE2321000198-P001", "SE2321000198-P002"]},
        {"healthCareUnitHsaId": None},
        {"healthCareUnitHsaId": "SE2321000198-NOONE"},
        {"number": 2},
        {"kid": "unknown"},
    ],
    ids=str,
)
def test_a_sign_in_that_is_not_right_is_refused(with_idp: Sluss, changes: dict[str, Any]) -> None:
    assert WithToken(with_idp, sign_in()).get("/fhir/Task").status_code == 200
    answer = WithToken(with_idp, sign_in(**changes)).get("/fhir/Task")
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["WWW-Authenticate"]


def test_a_sign_in_must_be_as_strong_as_the_region_asks(another: Callable[..., Sluss], tmp_path: Path) -> None:
    keys = tmp_path / "idp.json"
    keys.write_text(key_set(public_jwk("RS256", "idp")))
    provider = {"idp_issuer": ISSUER, "idp_jwks": str(keys), "idp_audience": "sluss"}
    strict = another(auth="smart", **provider, idp_levels=("loa3", "loa4"))
    register(strict, "gavle", "therapist", Credentials(assignment="SE2321000198-TEAM1"))
    said = {level: WithToken(strict, sign_in(acr=level)).get("/fhir/Task").status_code for level in ("loa3", "loa4")}
    assert said == {"loa3": 200, "loa4": 200}
    for level in ("loa2", None, ["loa3"], "loa3 "):
        assert WithToken(strict, sign_in(acr=level)).get("/fhir/Task").status_code == 401


def test_a_sign_in_without_a_signature_or_by_an_unknown_issuer_is_refused(with_idp: Sluss, sluss: Sluss) -> None:
    said = {"iss": ISSUER, "aud": "sluss", "exp": int(NOW.timestamp()) + 60}
    assert WithToken(with_idp, unsigned(said)).get("/fhir/Task").status_code == 401
    assert WithToken(sluss, sign_in()).get("/fhir/Task").status_code == 401, "no identity provider is set"


def test_a_client_cannot_sign_itself_in(with_idp: Sluss) -> None:
    register(with_idp, "ehr", "referrer")
    assert WithToken(with_idp, signed(claims(NOW))).get("/fhir/Task").status_code == 401


# ---------------------------------------------------------------- certificates, as a proxy passes them on

SUBJECT = "serialNumber=SE2321000198-F01,CN=ehr.region.example,O=Region,C=SE"
PROXY = {"REMOTE_ADDR": "10.1.2.3"}


@pytest.fixture
def behind_proxy(another: Callable[..., Sluss]) -> Sluss:
    made = another(auth="smart", trusted_proxies=("10.1.2.0/24",), client_subject_header="X-Client-Subject")
    register(made, "ehr", "referrer", Credentials(subject=SUBJECT))
    return made


def _with_subject(sluss: Sluss, subject: str, peer: dict[str, str] | None = None, **headers: str) -> TestResponse:
    return sluss.get("/fhir/Task", {"X-Client-Subject": subject, **headers}, environ_base=peer or PROXY)


@pytest.mark.parametrize(
    "written",
    [
        SUBJECT,
        SUBJECT.replace(",", ", "),
        "2.5.4.5=SE2321000198-F01,CN=ehr.region.example,O=Region,C=SE",
        "serialNumber=SE2321000198-F01,CN=ehr\\2Eregion.example,O=Region,C=SE",
    ],
)
def test_a_certificate_that_a_trusted_proxy_has_checked_says_who_calls(behind_proxy: Sluss, written: str) -> None:
    assert _with_subject(behind_proxy, written).status_code == 200


@pytest.mark.parametrize(
    "written",
    [
        "",
        "CN=ehr.region.example,O=Region,C=SE",
        SUBJECT + ",O=More",
        SUBJECT.replace("CN=ehr.region.example,", "CN=ehr.region.example\\,O=Region,"),
        "C=SE,O=Region,CN=ehr.region.example,serialNumber=SE2321000198-F01",
        SUBJECT.replace("Region", "Other"),
        f"{SUBJECT},{SUBJECT}",
        "no name",
        "CN=" + "x" * 2000,
    ],
)
def test_another_subject_is_another_client(behind_proxy: Sluss, written: str) -> None:
    assert _with_subject(behind_proxy, written).status_code == 401


@pytest.mark.parametrize("peer", ["10.1.3.3", "127.0.0.1", "192.0.2.1", "::1", ""])
def test_the_header_from_anybody_else_counts_for_nothing(behind_proxy: Sluss, peer: str) -> None:
    told = {"X-Forwarded-For": "10.1.2.3", "Forwarded": "for=10.1.2.3"}
    assert _with_subject(behind_proxy, SUBJECT, {"REMOTE_ADDR": peer}, **told).status_code == 401


def test_a_token_that_is_not_good_is_not_made_up_for_by_a_certificate(behind_proxy: Sluss) -> None:
    assert _with_subject(behind_proxy, SUBJECT, Authorization="Bearer x").status_code == 401


def test_without_the_setting_no_header_says_who_calls(another: Callable[..., Sluss]) -> None:
    made = another(auth="smart", trusted_proxies=("10.1.2.0/24",))
    register(made, "ehr", "referrer", Credentials(subject=SUBJECT))
    assert _with_subject(made, SUBJECT).status_code == 401


@pytest.mark.parametrize(
    ("peer", "forwarded", "address"),
    [
        ("192.0.2.7", None, "192.0.2.7"),
        ("", "198.51.100.1", None),
        ("192.0.2.7", "198.51.100.1", "192.0.2.7"),
        ("10.1.2.3", "198.51.100.1", "198.51.100.1"),
        ("10.1.2.3", "203.0.113.9, 198.51.100.1", "198.51.100.1"),
        ("10.1.2.3", "203.0.113.9, 198.51.100.1, 10.1.2.4", "198.51.100.1"),
        ("10.1.2.3", "198.51.100.1, not-an-address", "10.1.2.3"),
        ("::ffff:10.1.2.3", "2001:db8::1", "2001:db8::1"),
    ],
)
def test_the_address_is_that_of_who_called_the_trusted_proxies(
    behind_proxy: Sluss, peer: str, forwarded: str | None, address: str | None
) -> None:
    headers = {"X-Forwarded-For": forwarded} if forwarded else {}
    with behind_proxy.app.test_request_context("/", headers=headers, environ_base={"REMOTE_ADDR": peer}):
        assert client_address() == address


def _caller_of(sluss: Sluss, headers: Json) -> Caller:
    with sluss.app.test_request_context("/fhir/Task", headers=headers):
        identify()
        return caller()


def test_an_administrators_reason_goes_with_the_request(sluss: Sluss) -> None:
    administrator = acting_with_token(sluss, "administrator")
    headers = {"Authorization": f"Bearer {administrator.token}"}
    assert _caller_of(sluss, headers).reason is None
    assert _caller_of(sluss, {**headers, "Sluss-Reason": "fel i leverans"}).reason == "fel i leverans"
    referrer = acting_with_token(sluss, "referrer")
    asked = {"Authorization": f"Bearer {referrer.token}", "Sluss-Reason": "x"}
    assert _caller_of(sluss, asked).reason is None
