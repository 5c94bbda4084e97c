"""The links of a search set say nothing of a person, whoever writes down the addresses that are asked for."""

import json
import re
from collections.abc import Callable
from datetime import timedelta
from urllib.parse import parse_qsl, unquote_plus, urlencode, urlsplit

import psycopg
import pytest
from werkzeug.test import TestResponse

from fhir_mappings.records import Json
from service.referral.house import House
from service.store.database import Store
from service.web import links
from tests.web.caller import Sluss, content, plain
from tests.web.conftest import NOW

NUMBER, NAME, FAMILY = "199002222397", "Test Testsson", "Testsson"
PERSONNUMMER = f"http://electronichealth.se/identifier/personnummer|{NUMBER}"
FORM = {"Content-Type": "application/x-www-form-urlencoded"}


def posted(sluss: Sluss, type_: str, asked: dict[str, str]) -> Json:
    answer = sluss.post(f"/fhir/{type_}/_search", urlencode(asked), FORM)
    assert answer.status_code == 200, answer.text
    return content(answer)


def link(bundle: Json, relation: str = "self") -> str:
    return next((str(each["url"]) for each in bundle["link"] if each["relation"] == relation), "")


def readable(url: str) -> dict[str, str]:
    """What anybody can read of it."""
    return {name: value for name, value in parse_qsl(urlsplit(url).query) if name != links.SEALED}


def follow(sluss: Sluss, url: str) -> TestResponse:
    return sluss.get(url.removeprefix("http://localhost"))


def ids(bundle: Json) -> list[str]:
    return [entry["resource"]["id"] for entry in bundle.get("entry", ())]


PERSONAL = [
    ("Patient", {"identifier": PERSONNUMMER}),
    ("Patient", {"identifier": NUMBER}),
    ("Patient", {"name": FAMILY}),
    ("Patient", {"family:exact": FAMILY}),
    ("Patient", {"birthdate": "1990-02-22"}),
    ("Patient", {"phone": "070-1740605"}),
    ("Patient", {"telecom": "070-1740605"}),
    ("Patient", {"address": "Kanslivägen"}),
    ("Patient", {"address-postalcode": "98143"}),
    ("Patient", {"gender": "female"}),
    ("Task", {"patient.identifier": PERSONNUMMER}),
    ("Task", {"patient:Patient.name": FAMILY}),
    ("ServiceRequest", {"subject:identifier": PERSONNUMMER}),
    ("ServiceRequest", {"identifier": "https://ehr.example/referrals|R-1"}),
    ("Observation", {"value-quantity": "gt26"}),
    ("Task", {"patient": NUMBER}),
    ("Task", {"code": "19900222-2397"}),
]


@pytest.mark.parametrize(("type_", "asked"), PERSONAL)
def test_what_was_posted_of_a_person_stands_in_no_link_and_the_link_asks_the_same(
    sluss: Sluss, type_: str, asked: dict[str, str]
) -> None:
    sluss.refer()
    found = posted(sluss, type_, {**asked, "_count": "20"})
    here = link(found)
    assert readable(here) == {"_count": "20"}
    assert links.SEALED in here
    for value in asked.values():
        assert value not in unquote_plus(here)
    again = content(follow(sluss, here))
    assert ids(again) == ids(found)
    assert readable(link(again)) == {"_count": "20"}, "its own self keeps it sealed"


def test_everything_else_stays_readable(sluss: Sluss) -> None:
    asked = {
        "status": "requested",
        "owner": "HealthcareService/gavle",
        "_sort": "-_lastUpdated",
        "_include": "Task:focus",
    }
    assert link(posted(sluss, "Task", asked)) == f"http://localhost/fhir/Task?{urlencode(asked)}"


def test_a_search_by_get_repeats_in_self_what_the_client_wrote(sluss: Sluss) -> None:
    asked = urlencode({"identifier": PERSONNUMMER})
    assert link(content(sluss.get(f"/fhir/Patient?{asked}"))) == f"http://localhost/fhir/Patient?{asked}"


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_pages_lead_to_the_end_and_say_nothing_on_the_way(sluss: Sluss, method: str) -> None:
    for number in range(5):
        sluss.refer(f"R-{number}")
    asked = {"patient.identifier": PERSONNUMMER, "status": "requested", "_count": "2"}
    page = (
        content(sluss.get(f"/fhir/Task?{urlencode(asked)}"))
        if method == "GET"
        else content(sluss.post("/fhir/Task/_search", urlencode(asked), FORM))
    )
    seen = ids(page)
    while following := link(page, "next"):
        assert NUMBER not in following
        assert readable(following) == {"status": "requested", "_count": "2"}
        page = content(follow(sluss, following))
        seen += ids(page)
    assert len(seen) == len(set(seen)) == 5


@pytest.mark.parametrize(("sort", "value"), [("name", FAMILY.lower()), ("birthdate", "1990-02-22"), ("phone", "070")])
def test_where_a_page_starts_is_sealed_as_it_may_be_a_name(sluss: Sluss, sort: str, value: str) -> None:
    for unit in range(1, 4):
        sent = plain(referrer={"unit": f"SE2321000198-EX0{unit}", "reference": "R-1"})
        assert sluss.post("/intake/referrals", sent).status_code == 201
    page = content(sluss.get(f"/fhir/Patient?_sort={sort}&_count=1"))
    following = link(page, "next")
    assert readable(following) == {"_sort": sort, "_count": "1"}
    assert ids(content(follow(sluss, following))) not in ([], ids(page))


def test_an_entry_of_a_batch_is_a_search_that_no_address_has_shown(sluss: Sluss) -> None:
    sluss.refer()
    entry = {"request": {"method": "GET", "url": f"Patient?{urlencode({'identifier': PERSONNUMMER})}"}}
    answer = content(sluss.post("/fhir", {"resourceType": "Bundle", "type": "batch", "entry": [entry]}))
    inner = answer["entry"][0]["resource"]
    assert NUMBER not in link(inner)
    assert len(ids(inner)) == len(ids(content(follow(sluss, link(inner))))) == 1


def test_every_process_reads_what_another_has_sealed(
    sluss: Sluss, another: Callable[..., Sluss], monkeypatch: pytest.MonkeyPatch
) -> None:
    sluss.refer()
    monkeypatch.setattr(links, "_keys", {})
    here = link(posted(sluss, "Patient", {"identifier": PERSONNUMMER}))
    links._keys.clear()  # as in a process that has just started
    assert len(ids(content(follow(another(), here)))) == 1


def tampered(sealed: str) -> list[str]:
    swapped = sealed[:40] + ("A" if sealed[40] != "A" else "B") + sealed[41:]
    return [swapped, sealed[:-4], sealed + "AAAA", "", "x", "å", "\ud7ff", "gAAAAA", sealed[::-1]]


def test_what_was_not_sealed_here_is_refused(sluss: Sluss) -> None:
    here = link(posted(sluss, "Patient", {"identifier": PERSONNUMMER}))
    sealed = dict(parse_qsl(urlsplit(here).query))[links.SEALED]
    for wrong in tampered(sealed):
        answer = sluss.get(f"/fhir/Patient?{urlencode({links.SEALED: wrong})}")
        assert answer.status_code == 400, wrong
        assert json.loads(answer.text)["issue"][0]["code"] == "value"
        assert NUMBER not in answer.text


def test_a_link_can_be_followed_for_a_day(
    sluss: Sluss, house: House, another: Callable[..., Sluss], monkeypatch: pytest.MonkeyPatch
) -> None:
    here = link(posted(sluss, "Patient", {"identifier": PERSONNUMMER}))
    for later, status in ((timedelta(hours=24), 200), (timedelta(hours=24, seconds=1), 400)):
        monkeypatch.setitem(house.__dict__, "clock", lambda later=later: NOW + later)
        assert follow(sluss, here).status_code == status


def test_two_searches_for_the_same_person_have_links_that_do_not_show_it(sluss: Sluss) -> None:
    first, second = (link(posted(sluss, "Patient", {"identifier": PERSONNUMMER})) for _ in range(2))
    assert first != second
    assert re.search(r"_sealed=[A-Za-z0-9_-]{100,}$", first)


def test_the_record_says_what_a_sealed_link_has_asked_for(sluss: Sluss, store: Store) -> None:
    follow(sluss, link(posted(sluss, "Patient", {"identifier": PERSONNUMMER})))
    with psycopg.connect(store.url) as connection:
        recorded = connection.execute("SELECT query FROM audit_event ORDER BY id DESC LIMIT 1").fetchone()
    assert recorded is not None
    assert PERSONNUMMER in unquote_plus(recorded[0])


@pytest.mark.parametrize("path", ["/fhir/Task", "/fhir/Task/_history"])
def test_the_form_that_was_asked_for_holds_for_every_page(sluss: Sluss, path: str) -> None:
    for number in range(2):
        sluss.refer(f"R-{number}")
    browser = {"Accept": "text/html"}
    first = sluss.get(f"{path}?_count=1&_format=json&_pretty=true", browser)
    second = sluss.get(link(content(first), "next").removeprefix("http://localhost"), browser)
    assert second.status_code == 200, second.text
    assert second.text.count("\n") > 10
    assert readable(link(content(second))) == {"_count": "1", "_format": "json", "_pretty": "true"}
