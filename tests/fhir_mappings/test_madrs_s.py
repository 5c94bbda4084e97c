"""MADRS-S as response and as Observation."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fhir_mappings.madrs_s import (
    from_fhir_observation,
    from_fhir_response,
    highest_item_9,
    is_madrs_s_observation,
    is_madrs_s_response,
    newest,
    to_fhir_observation,
    to_fhir_response,
)
from fhir_mappings.records import Json, MadrsS, Reference
from tests.fhir_mappings.examples import CANONICAL, S, any_json, damaged, where, with_type

PLACE = "Bundle.entry[3].resource"
ITEMS = (2, 3, 3, 1, 3, 3, 2, 3, 1)
SYSTEM = f"{S}/CodeSystem/madrs-s"
PATIENT = Reference("Patient/p1")


def answer(number: int, value: object, name: str = "valueInteger") -> Json:
    return {"linkId": f"item-{number}", "answer": [{name: value}]}


def response(*changed: Json, without: int = 0, status: str = "completed") -> Json:
    """A whole response; a changed item takes the place of the one with its linkId, or comes last."""
    items = {f"item-{n}": answer(n, score) for n, score in enumerate(ITEMS, 1) if n != without}
    extra = []
    for item in changed:
        if item["linkId"] in items:
            items[item["linkId"]] = item
        else:
            extra.append(item)
    return {
        "resourceType": "QuestionnaireResponse",
        "questionnaire": f"{S}/Questionnaire/madrs-s",
        "status": status,
        "authored": "2026-11-18",
        "item": [*items.values(), *extra],
    }


def component(code: str, **value: object) -> Json:
    return {"code": {"coding": [{"system": SYSTEM, "code": code}]}, **value}


COMPONENTS = [component(f"item-{n}", valueInteger=score) for n, score in enumerate(ITEMS, 1)]


def observation(**elements: object) -> Json:
    resource: Json = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"coding": [{"system": "http://snomed.info/sct", "code": "1"}, {"system": SYSTEM, "code": "total"}]},
        "valueQuantity": {"value": 21, "system": "http://unitsofmeasure.org", "code": "{score}"},
        "effectiveDateTime": "2026-11-18",
    }
    return {name: value for name, value in (resource | elements).items() if value is not None}


def refused_response(resource: Json) -> list[tuple[str, str]]:
    rating, issues = from_fhir_response(resource, PLACE, CANONICAL)
    assert rating is None
    return [(code, str(place).removeprefix(f"{PLACE}.")) for code, place in where(issues)]


def refused_observation(resource: Json) -> list[tuple[str, str]]:
    rating, issues = from_fhir_observation(resource, PLACE, CANONICAL)
    assert rating is None
    return [(code, str(place).removeprefix(f"{PLACE}.")) for code, place in where(issues)]


def test_nine_answers_are_a_rating_with_their_sum() -> None:
    assert from_fhir_response(response(), PLACE, CANONICAL, "urn:uuid:q") == (
        MadrsS(21, ITEMS, "2026-11-18", "urn:uuid:q", from_response=True),
        [],
    )


def test_an_undated_response_is_a_rating_without_a_date() -> None:
    undated = {name: value for name, value in response().items() if name != "authored"}
    rating, _ = from_fhir_response(undated, PLACE, CANONICAL)

    assert rating is not None
    assert rating.answered is None


def test_the_kinds_of_rating_are_known() -> None:
    versioned = response() | {"questionnaire": f"{S}/Questionnaire/madrs-s|2"}

    assert is_madrs_s_response(versioned, CANONICAL)
    assert not is_madrs_s_response(observation(), CANONICAL)
    assert not is_madrs_s_response(response() | {"questionnaire": f"{S}/Questionnaire/madrs"}, CANONICAL)
    assert is_madrs_s_observation(observation(), CANONICAL)
    assert not is_madrs_s_observation(observation(code={"coding": [{"system": SYSTEM, "code": "item-1"}]}), CANONICAL)
    assert not is_madrs_s_observation(observation(code={"coding": [{"code": "total"}]}), CANONICAL)


@pytest.mark.parametrize("status", ["in-progress", "stopped", "entered-in-error"])
def test_an_unfinished_or_withdrawn_response_does_not_count_and_that_is_said(status: str) -> None:
    rating, issues = from_fhir_response(response(without=3, status=status), PLACE, CANONICAL)

    assert rating is None
    assert [(issue.severity, issue.expression) for issue in issues] == [("information", f"{PLACE}.status")]


@pytest.mark.parametrize(
    ("resource", "issues"),
    [
        (response(without=3), [("required", "item")]),
        ({"resourceType": "QuestionnaireResponse", "status": "completed"}, [("required", "item")] * 9),
        (response(answer(9, 7)), [("value", "item[8].answer[0].value")]),
        (response(answer(1, -1)), [("value", "item[0].answer[0].value")]),
        (response(answer(1, Decimal("2.0"), "valueDecimal")), [("value", "item[0].answer[0].value")]),
        (response(answer(1, "2", "valueString")), [("value", "item[0].answer[0].value")]),
        (response({"linkId": "item-2"}), [("required", "item[1].answer")]),
        (
            response({"linkId": "item-2", "answer": [{"valueInteger": 1}, {"valueInteger": 2}]}),
            [("value", "item[1].answer")],
        ),
        (response(answer(10, 3)), [("value", "item[9].linkId")]),
        (response() | {"item": [*response()["item"], answer(9, 1)]}, [("value", "item[9]")]),
        (
            response(answer(1, 9), answer(4, 8), without=7),
            [("value", "item[0].answer[0].value"), ("value", "item[3].answer[0].value"), ("required", "item")],
        ),
    ],
)
def test_a_response_without_exactly_nine_scores_is_refused_with_everything_that_is_wrong(
    resource: Json, issues: list[tuple[str, str]]
) -> None:
    assert refused_response(resource) == issues


def test_a_response_in_groups_is_read() -> None:
    grouped = response() | {"item": [{"linkId": "page", "item": response()["item"]}]}

    assert from_fhir_response(grouped, PLACE, CANONICAL)[1] == []
    assert refused_response(grouped | {"item": [{"linkId": "page", "item": response(answer(9, 7))["item"]}]}) == [
        ("value", "item[0].item[8].answer[0].value")
    ]


@pytest.mark.parametrize("total", [{"value": 21}, {"value": Decimal("21.00")}, {"value": Decimal("2.1e1")}])
def test_a_total_alone_is_a_rating_without_items(total: Json) -> None:
    assert from_fhir_observation(observation(valueQuantity=total), PLACE, CANONICAL, "Observation/o1") == (
        MadrsS(21, None, "2026-11-18", "Observation/o1", from_response=False),
        [],
    )


def test_a_total_may_be_an_integer_and_components_are_the_items() -> None:
    sent = observation(valueQuantity=None, valueInteger=21, component=COMPONENTS)

    assert from_fhir_observation(sent, PLACE, CANONICAL)[0] == MadrsS(
        21, ITEMS, "2026-11-18", None, from_response=False
    )


def test_components_without_a_total_are_summed_even_when_the_total_is_said_to_be_absent() -> None:
    for absent in ({}, {"dataAbsentReason": {"text": "not computed"}}):
        rating, _ = from_fhir_observation(
            observation(valueQuantity=None, component=COMPONENTS, **absent), PLACE, CANONICAL
        )

        assert rating is not None
        assert (rating.total, rating.items) == (21, ITEMS)


def test_components_of_other_systems_are_not_items() -> None:
    others = [{"code": {"coding": [{"system": "urn:x", "code": "item-1"}]}, "valueInteger": 99}]

    assert from_fhir_observation(observation(component=others), PLACE, CANONICAL)[1] == []


@pytest.mark.parametrize(
    ("effective", "answered"),
    [
        ({"effectiveInstant": "2026-11-18T08:00:00Z"}, "2026-11-18T08:00:00Z"),
        ({"effectivePeriod": {"start": "2026-11-17", "end": "2026-11-18"}}, "2026-11-18"),
        ({"effectivePeriod": {"start": "2026-11-17"}}, "2026-11-17"),
        ({"effectiveTiming": {"event": ["2026-11-17"]}}, None),
        ({"issued": "2026-11-18T08:00:00Z"}, None),
    ],
)
def test_when_it_was_answered_is_read_from_any_kind_of_time(effective: Json, answered: str | None) -> None:
    rating, _ = from_fhir_observation(observation(effectiveDateTime=None, **effective), PLACE, CANONICAL)

    assert rating is not None
    assert rating.answered == answered


@pytest.mark.parametrize("status", ["final", "amended", "corrected"])
def test_a_final_observation_counts(status: str) -> None:
    assert from_fhir_observation(observation(status=status), PLACE, CANONICAL)[0] is not None


@pytest.mark.parametrize(
    ("elements", "place"),
    [
        *(({"status": s}, "status") for s in ("registered", "preliminary", "cancelled", "entered-in-error", "unknown")),
        ({"valueQuantity": None, "dataAbsentReason": {"text": "refused"}}, "dataAbsentReason"),
    ],
)
def test_an_observation_without_a_result_does_not_count_and_that_is_said(elements: Json, place: str) -> None:
    rating, issues = from_fhir_observation(observation(**elements), PLACE, CANONICAL)

    assert rating is None
    assert [(issue.severity, issue.expression) for issue in issues] == [("information", f"{PLACE}.{place}")]


@pytest.mark.parametrize(
    ("elements", "issues"),
    [
        ({"valueQuantity": {"value": 55}}, [("value", "value")]),
        ({"valueQuantity": {"value": -1}}, [("value", "value")]),
        ({"valueQuantity": {"value": Decimal("20.5")}}, [("value", "value")]),
        ({"valueQuantity": {"value": 20, "comparator": ">"}}, [("value", "value")]),
        ({"valueQuantity": {"unit": "poäng"}}, [("value", "value")]),
        ({"valueQuantity": None, "valueString": "21"}, [("value", "value")]),
        ({"valueQuantity": None}, [("required", "value")]),
        ({"valueQuantity": {"value": 22}, "component": COMPONENTS}, [("value", "value")]),
        ({"component": COMPONENTS[:8]}, [("required", "component")]),
        ({"component": [*COMPONENTS, COMPONENTS[0]]}, [("value", "component[9]")]),
        ({"component": [*COMPONENTS, component("item-10", valueInteger=1)]}, [("code-invalid", "component[9].code")]),
        ({"component": [component("item-1", valueInteger=7), *COMPONENTS[1:]]}, [("value", "component[0].value")]),
        ({"component": [component("item-1"), *COMPONENTS[1:]]}, [("value", "component[0].value")]),
        (
            {"valueQuantity": {"value": 99}, "component": [component("item-1", valueInteger=7), *COMPONENTS[1:8]]},
            [("value", "value"), ("value", "component[0].value"), ("required", "component")],
        ),
    ],
)
def test_an_observation_that_contradicts_itself_is_refused(elements: Json, issues: list[tuple[str, str]]) -> None:
    assert refused_observation(observation(**elements)) == issues


def test_the_observation_is_written_as_the_contract_says() -> None:
    written = to_fhir_observation(
        MadrsS(21, ITEMS, "2026-11-18"),
        CANONICAL,
        PATIENT,
        Reference("ServiceRequest/s1"),
        Reference("QuestionnaireResponse/q1"),
    )

    assert written == {
        "resourceType": "Observation",
        "status": "final",
        "basedOn": [{"reference": "ServiceRequest/s1"}],
        "category": [
            {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "survey"}]}
        ],
        "code": {"coding": [{"system": SYSTEM, "code": "total"}], "text": "MADRS-S, totalpoäng"},
        "subject": {"reference": "Patient/p1"},
        "effectiveDateTime": "2026-11-18",
        "valueQuantity": {"value": 21, "unit": "poäng", "system": "http://unitsofmeasure.org", "code": "{score}"},
        "derivedFrom": [{"reference": "QuestionnaireResponse/q1"}],
        "component": COMPONENTS,
    }


def test_without_authored_the_observation_has_no_effective_time() -> None:
    written = to_fhir_observation(MadrsS(21, ITEMS), CANONICAL, PATIENT)

    assert not [name for name in written if name.startswith("effective")]


def test_a_total_without_items_cannot_become_a_response() -> None:
    with pytest.raises(ValueError, match="without items"):
        to_fhir_response(MadrsS(21), CANONICAL, PATIENT)


def test_the_newest_rating_decides_and_an_undated_one_is_oldest() -> None:
    old, new, undated = MadrsS(30, None, "2026-10"), MadrsS(12, None, "2026-11-18T08:00:00Z"), MadrsS(40)

    assert newest([new, undated, old]) is new
    assert newest([undated]) is undated
    assert newest([]) is None


def test_of_two_ratings_from_the_same_day_items_go_before_a_total_and_the_graver_before_the_milder() -> None:
    total, milder, graver = (
        MadrsS(30, None, "2026-11-18"),
        MadrsS(21, ITEMS, "2026-11-18"),
        MadrsS(22, (3, *ITEMS[1:]), "2026-11-18"),
    )

    assert newest([total, graver, milder]) is graver


def test_the_highest_item_9_counts_however_old() -> None:
    grave, mild = MadrsS(25, (*ITEMS[:8], 5), "2020-01-01"), MadrsS(21, ITEMS, "2026-11-18")

    assert highest_item_9([mild, grave, MadrsS(40)]) == 5
    assert highest_item_9([MadrsS(40)]) is None


_items = st.lists(st.integers(0, 6), min_size=9, max_size=9).map(tuple)
_times = st.none() | st.dates().map(str)


@given(_items, _times)
def test_a_response_that_is_written_reads_the_same(items: tuple[int, ...], answered: str | None) -> None:
    original = MadrsS(sum(items), items, answered, "x", from_response=True)

    assert from_fhir_response(to_fhir_response(original, CANONICAL, PATIENT), PLACE, CANONICAL, "x") == (original, [])


@given(_items | st.integers(0, 54), _times)
def test_an_observation_that_is_written_reads_the_same(points: tuple[int, ...] | int, answered: str | None) -> None:
    items = points if isinstance(points, tuple) else None
    total = points if isinstance(points, int) else sum(points)
    original = MadrsS(total, items, answered, "x", from_response=False)
    written = to_fhir_observation(original, CANONICAL, PATIENT)

    assert is_madrs_s_observation(written, CANONICAL)
    assert from_fhir_observation(written, PLACE, CANONICAL, "x") == (original, [])


@given(_items, st.integers(-100, 100))
def test_a_total_that_is_not_the_sum_is_always_refused(items: tuple[int, ...], total: int) -> None:
    written = to_fhir_observation(MadrsS(sum(items), items), CANONICAL, PATIENT)
    rating, issues = from_fhir_observation(written | {"valueQuantity": {"value": total}}, PLACE, CANONICAL)

    assert (rating is None) == bool(issues) == (total != sum(items))


@given(any_json, damaged(response()), damaged(observation(component=COMPONENTS)))
def test_reading_a_rating_never_raises_and_gives_only_scores_that_exist(one: Json, other: Json, third: Json) -> None:
    for each in (one, other, third):
        is_madrs_s_observation(each, CANONICAL)
        for rating, issues in (
            from_fhir_response(with_type(each, "QuestionnaireResponse"), PLACE, CANONICAL),
            from_fhir_observation(with_type(each, "Observation"), PLACE, CANONICAL),
        ):
            assert (rating is None) == bool(issues)
            assert rating is None or rating.total in range(55)
            assert rating is None or rating.items is None or sum(rating.items) == rating.total
