"""JSON in, JSON out: what a client may say of its body and of the answer it wants (contract 2)."""

import pytest

from tests.web.caller import Sluss, bundle, content, issues, plain, single

JSON_TYPES = [
    "application/fhir+json",
    "application/json",
    "application/fhir+json; charset=utf-8",
    "application/fhir+json;charset=UTF-8",
    'application/fhir+json; charset="utf-8"',
    "application/fhir+json; fhirVersion=4.0",
    "APPLICATION/FHIR+JSON",
]
OTHER_TYPES = [
    "application/fhir+xml",
    "application/xml",
    "text/plain",
    "text/json",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/json-patch+json",
    "application/fhir+json; charset=iso-8859-1",
    "application/fhir+json; charset=utf-16",
    "application/fhir+json; fhirVersion=3.0",
    "application/fhir+json; fhirVersion=5.0",
    "nonsense",
    "",
]


@pytest.mark.parametrize("media", JSON_TYPES)
def test_a_body_of_fhir_json_in_utf_8_is_taken(sluss: Sluss, media: str) -> None:
    assert sluss.post("/fhir/ServiceRequest", single(), {"Content-Type": media}).status_code == 201


@pytest.mark.parametrize("media", OTHER_TYPES)
@pytest.mark.parametrize("path", ["/fhir", "/fhir/ServiceRequest", "/intake/referrals"])
def test_any_other_body_is_415(sluss: Sluss, media: str, path: str) -> None:
    sent = plain() if path.startswith("/intake") else single()
    answer = sluss.post(path, sent, {"Content-Type": media})
    assert answer.status_code == 415


def test_a_body_without_a_media_type_is_415(sluss: Sluss) -> None:
    answer = sluss.app.test_client().post("/fhir", data=b'{"resourceType":"Bundle"}')
    assert answer.status_code == 415
    assert issues(answer)[0]["code"] == "not-supported"


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "",
        "*/*",
        "application/*",
        "application/json",
        "application/fhir+json",
        "application/fhir+json; fhirVersion=4.0",
        "application/fhir+json;charset=utf-8",
        "application/fhir+xml;q=1.0, application/fhir+json;q=0.9",
        "text/html, application/xhtml+xml, */*;q=0.8",
        "Application/FHIR+JSON",
    ],
)
def test_an_accept_that_allows_json_gets_fhir_json(sluss: Sluss, accept: str | None) -> None:
    answer = sluss.get("/fhir/metadata", {} if accept is None else {"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/fhir+json; charset=utf-8"


@pytest.mark.parametrize(
    "accept",
    [
        "application/fhir+xml",
        "text/html",
        "text/*",
        "application/fhir+json;q=0",
        "application/json; q=0.0, text/plain",
        "application/fhir+json; fhirVersion=3.0",
        "application/problem+json",
        "nonsense",
    ],
)
def test_an_accept_that_allows_no_json_is_406(sluss: Sluss, accept: str) -> None:
    answer = sluss.get("/fhir/metadata", {"Accept": accept})
    assert answer.status_code == 406
    assert issues(answer)[0]["code"] == "not-supported"


def test_a_refused_accept_means_that_nothing_is_done(sluss: Sluss) -> None:
    assert sluss.post("/fhir", bundle(), {"Accept": "application/fhir+xml"}).status_code == 406
    assert sluss.search("ServiceRequest") == []


@pytest.mark.parametrize(
    "wanted",
    [
        "json",
        "application/json",
        "application/fhir%2Bjson",
        "application/fhir+json",
        "text/json",
        "application/fhir%2Bjson;fhirVersion=4.0",
    ],
)
def test_format_goes_before_accept(sluss: Sluss, wanted: str) -> None:
    answer = sluss.get(f"/fhir/metadata?_format={wanted}", {"Accept": "application/fhir+xml"})
    assert answer.status_code == 200


@pytest.mark.parametrize("wanted", ["xml", "application/fhir%2Bxml", "ttl", "html", "", "%00"])
def test_a_format_that_is_not_json_is_406(sluss: Sluss, wanted: str) -> None:
    assert sluss.get(f"/fhir/metadata?_format={wanted}", {"Accept": "application/json"}).status_code == 406


def test_every_answer_under_fhir_says_that_it_is_fhir_json(sluss: Sluss) -> None:
    made = sluss.post("/fhir/ServiceRequest", single())
    answers = [
        made,
        sluss.post("/fhir", bundle("R-2")),
        sluss.get("/fhir/Task"),
        sluss.get("/fhir/Task/nobody"),
        sluss.post("/fhir", "{"),
        sluss.call("DELETE", "/fhir/Task/nobody"),
        sluss.post("/fhir/ServiceRequest/$assess", single("R-3")),
        sluss.post("/fhir/Task/_search", "status=requested", {"Content-Type": "application/x-www-form-urlencoded"}),
    ]
    assert {answer.headers["Content-Type"] for answer in answers} == {"application/fhir+json; charset=utf-8"}


def test_a_search_is_posted_as_a_form_and_finds_the_same_as_by_get(sluss: Sluss) -> None:
    sluss.refer()
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    posted = content(sluss.post("/fhir/Task/_search", "status=requested&_count=5", form))
    split = content(sluss.post("/fhir/Task/_search?_count=5", "status=requested", form))
    got = content(sluss.get("/fhir/Task?status=requested&_count=5"))
    assert posted["entry"] == got["entry"] == split["entry"]
    assert posted["link"] == got["link"]


def test_a_search_is_not_posted_as_json(sluss: Sluss) -> None:
    assert sluss.post("/fhir/Task/_search", {"status": "requested"}).status_code == 415


def test_a_posted_search_without_parameters_finds_everything(sluss: Sluss) -> None:
    task = sluss.refer()["task"]
    answer = sluss.call("POST", "/fhir/Task/_search")
    assert [e["resource"]["id"] for e in content(answer)["entry"]] == [task["id"]]


def test_the_plain_intake_answers_json_and_refuses_in_problem_json(sluss: Sluss) -> None:
    json_type = {"Content-Type": "application/json"}
    taken = sluss.post("/intake/referrals", plain(), json_type)
    refused = sluss.post("/intake/referrals", plain(programme="hypnosis"), json_type)
    assert (taken.status_code, taken.headers["Content-Type"]) == (201, "application/json")
    assert (refused.status_code, refused.headers["Content-Type"]) == (422, "application/problem+json")
    asked = {**json_type, "Accept": "application/problem+json, application/json"}
    assert sluss.post("/intake/referrals", plain(), asked).status_code == 200
