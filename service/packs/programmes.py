"""The parts of `pack.toml` about treatment: programmes, activities, teams, limits and the documents behind them."""

import re
from datetime import timedelta

from fhir_mappings.records import Activity, HsaId, Programme, Team
from fhir_mappings.terminology import PROGRAMMES
from service.packs.model import TIME_LIMITS, Limit, SetBy, SourceDocument, TimeLimit
from service.packs.reading import Section, unknown
from service.packs.vocabulary import FACTS, QUESTION_SAMPLES

_FHIR_ID = re.compile(r"[A-Za-z0-9\-.]{1,64}", re.ASCII)
"""https://hl7.org/fhir/R4/datatypes.html#id"""


def read_sources(main: Section) -> tuple[SourceDocument, ...]:
    """The documents that the pack follows."""
    sources = []
    for section in main.sections("source"):
        sources.append(SourceDocument(section.text("title"), section.text("file"), section.text("publisher")))
        section.close()
    return tuple(sources)


def read_programmes(main: Section) -> dict[str, Programme]:
    """The programmes by code. Activities are listed once for all programmes (`[[activity]]`); a programme that lists
    its own takes those instead.
    """
    shared = _activities(main)
    programmes: dict[str, Programme] = {}
    for code, section in main.named_sections("programme"):
        own = _activities(section) if "activity" in section.table else shared
        weeks = (section.integer("shortest_weeks", least=1), section.integer("longest_weeks", least=1))
        if weeks[0] > weeks[1]:
            section.problem("longest_weeks", "is less than shortest_weeks")
        programmes[code] = Programme(
            code=code,
            title=section.text("title"),
            weeks=weeks,
            description=section.text("description", default=""),
            diagnoses=section.texts("diagnoses", default=()),
            activities=own,
        )
        if code not in PROGRAMMES:
            section.problem("", f"{code!r} is not a code of ikbt-programme ({', '.join(PROGRAMMES)})")
        if not own:
            section.problem("activity", "the programme has no activities")
        if section.optional_text("diagnoses_because") is None and programmes[code].diagnoses:
            section.problem("diagnoses_because", "is missing; the list of diagnoses needs its reason")
        section.close()
    if not programmes:
        main.problem("programme", "at least one programme is needed")
    return programmes


def _activities(section: Section) -> tuple[Activity, ...]:
    activities: list[Activity] = []
    for item in section.sections("activity", needed=False):
        activity = Activity(
            code=item.text("code"),
            title=item.text("title"),
            count=item.integer("count", default=1),
            most=item.integer("most", default=1, least=1),
            before_start=item.flag("before_start"),
            before_reply=item.flag("before_reply"),
            closes_with_reply=item.flag("closes_with_reply"),
            description=item.text("description", default=""),
        )
        if activity.count > activity.most:
            item.problem("count", f"is more than most ({activity.most})")
        if any(other.code == activity.code for other in activities):
            item.problem("code", f"is listed twice: {activity.code}")
        item.close()
        activities.append(activity)
    return tuple(activities)


def read_teams(main: Section) -> dict[str, Team]:
    """The teams by id, which becomes the id of their HealthcareService."""
    teams: dict[str, Team] = {}
    for id_, section in main.named_sections("team"):
        teams[id_] = Team(
            id=id_,
            name=section.text("name"),
            seat=section.text("seat"),
            hsa_id=HsaId(section.text("hsa_id")),
            phone=section.text("phone"),
            phone_menu=section.optional_text("phone_menu"),
            internal_post=section.optional_text("internal_post"),
            role_code=section.text("role_code"),
            roles=section.texts("roles"),
        )
        for id_text in (id_, *teams[id_].roles):
            if not _FHIR_ID.fullmatch(id_text):
                section.problem("roles", f"{id_text!r} is not a FHIR id")
        section.close()
    if not teams:
        main.problem("team", "at least one team is needed")
    return teams


def read_limits(main: Section) -> dict[str, Limit]:
    """The numbers that rules compare with, by id."""
    limits: dict[str, Limit] = {}
    for name, section in main.named_sections("limit"):
        limits[name] = Limit(section.integer("value"), section.choice("set_by", SetBy), section.text("why"))
        if name in FACTS or name in QUESTION_SAMPLES:
            section.problem("", f"{name!r} is the name of a variable already")
        section.close()
    return limits


def read_time_limits(main: Section) -> dict[str, TimeLimit]:
    """How long each thing may wait; every one of `TIME_LIMITS` must be there, in hours or days."""
    below = main.section("time_limit")
    for name in unknown(below.table, TIME_LIMITS):
        below.problem(name, f"nothing of that name waits ({', '.join(TIME_LIMITS)})")
    limits: dict[str, TimeLimit] = {}
    for name in TIME_LIMITS:
        section = below.section(name)
        limits[name] = TimeLimit(
            timedelta(hours=section.integer("remind_after_hours", least=1)),
            timedelta(hours=section.integer("escalate_after_hours", least=1)),
        )
        if limits[name].escalate_after < limits[name].remind_after:
            section.problem("escalate_after_hours", "comes before the reminder")
        section.close()
    return limits
