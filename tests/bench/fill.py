# ruff: noqa: S608 - the texts are put together from constants of this file; every value is a parameter
"""Stores with few and with many referrals and the same open ones: real intakes, and copies of them that have ended.

Some referrals are taken in by the service itself. Part of them (the templates) have ids that begin with MARK, and are
copied by SQL under other ids, patients, numbers and dates, with Task completed and its first version in the history, in
every table that a completed referral has rows in (its jobs and time limits are gone by then).
"""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice

import psycopg

from fhir_mappings.datetimes import SWEDEN
from fhir_mappings.terminology import Canonical
from service.app import create_app
from service.packs.loading import load
from service.referral.house import House
from service.settings import Settings
from service.store.database import Store
from tests.bench import referrals

MARK = "00000000-"

TEAMS = {
    "gavle": "SE2321000198-EX01",
    "vastra-gastrikland": "SE2321000198-EX03",
    "norra-halsingland": "SE2321000198-EX04",
    "sodra-halsingland": "SE2321000198-EX05",
}
"""A unit on the platform for each team."""

TEMPLATES = 40
OPEN = 160
"""Open referrals in each store, templates among them: 40 for each team."""


@dataclass
class _Ids:
    """Ids as the service makes them; those of templates begin with MARK."""

    marked: bool = False

    def __call__(self) -> str:
        made = str(uuid.uuid4())
        return MARK + made[len(MARK) :] if self.marked else made


@dataclass
class _Clock:
    """Goes on by a minute with each referral, so that each has times of its own."""

    now: datetime = field(default_factory=lambda: datetime.now(SWEDEN) - timedelta(minutes=OPEN + 60))

    def __call__(self) -> datetime:
        return self.now


def take_in_open_ones(url: str) -> None:
    """OPEN referrals through the service's own intake, the last TEMPLATES of them to be copied from.

    Raises ValueError when one is not found eligible.
    """
    ids, clock = _Ids(), _Clock()
    store = Store(url)
    house = House(store, load("gavleborg"), Canonical("https://sluss.example/fhir"), clock, ids)
    client = create_app(Settings(database_url=url, log_level="error"), house).test_client()
    people = list(islice(referrals.identities(1990, 1999), OPEN))
    filled = [referrals.template(unit, clock.now.date(), books=team == "gavle") for team, unit in TEAMS.items()]
    for number in range(OPEN):
        ids.marked = number >= OPEN - TEMPLATES
        clock.now += timedelta(minutes=1)
        placer = f"B-{MARK}{number}" if ids.marked else f"B-{number}"
        # The role's number decides its unit too: a role belongs to one.
        body = referrals.body(filled[number % len(TEAMS)], placer, people[number], number % referrals.ROLES)
        answer = client.post("/fhir", data=body, content_type="application/fhir+json")
        if answer.status_code != 200 or answer.headers["Sluss-Verdict"] != "eligible":
            raise ValueError(f"{answer.status_code}: {answer.text}")
    store.close()


def copy(url: str, total: int) -> None:
    """Fills the store up to `total` referrals with completed copies of the templates, and has it analysed."""
    copies = (total - OPEN) // TEMPLATES
    with psycopg.connect(url, autocommit=True) as connection:
        _settings(connection)
        templates = _templates(connection)
        indexes = _drop_indexes(connection)
        _plan_copies(connection, templates, copies)
        for statement in _COPY:
            connection.execute(statement.encode())
        for definition in indexes:
            connection.execute(definition.encode())
        connection.execute("DROP TABLE copy, template")
        connection.execute("VACUUM ANALYZE")


def _settings(connection: psycopg.Connection) -> None:
    """For filling only: what is lost in a power failure is filled again."""
    for setting in ("synchronous_commit = off", "maintenance_work_mem = '512MB'", "work_mem = '128MB'"):
        connection.execute(f"SET {setting}".encode())


def _templates(connection: psycopg.Connection) -> list[tuple[str, str, str, datetime]]:
    """(referral id, patient's number, organisation, stamp) of each template."""
    return connection.execute(
        "SELECT f.id, split_part(f.patient_key, '|', 2), f.organisation, r.last_updated FROM referral f"
        " JOIN resource r ON r.type = 'ServiceRequest' AND r.id = f.service_request WHERE starts_with(f.id, %s)"
        " ORDER BY f.id",
        (MARK,),
    ).fetchall()


def _drop_indexes(connection: psycopg.Connection) -> list[str]:
    """Takes away the indexes of the large tables but for primary keys; gives how to make them again."""
    found = connection.execute(
        "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public' AND NOT indexdef LIKE 'CREATE UNIQUE%%'"
        " AND tablename = ANY(%s)",
        (["resource", "resource_history", "search_value", "measured", "journal", "referral"],),
    ).fetchall()
    for name, _ in found:
        connection.execute(f'DROP INDEX "{name}"'.encode())
    return [definition for _, definition in found]


def _plan_copies(
    connection: psycopg.Connection, templates: Sequence[tuple[str, str, str, datetime]], copies: int
) -> None:
    """The tables `template` and `copy`: what is to be replaced by what. Copies lie a quarter of an hour apart, back in
    time from the templates; a unit's copies are of different patients.
    """
    connection.execute(
        "CREATE TEMPORARY TABLE template (k int, referral text, identity text, stamp timestamptz, said text, at text)"
    )
    connection.execute(
        "CREATE TEMPORARY TABLE copy (k int, mark text, identity text, stamp timestamptz, said text,"
        " before timestamptz, said_before text, at text)"
    )
    people = list(referrals.identities())
    per_unit: dict[str, int] = {}
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY template (k, referral, identity, stamp) FROM STDIN") as rows,
    ):
        for k, (referral, identity, _, stamp) in enumerate(templates):
            rows.write_row((k, referral, identity, stamp))
    with connection.cursor() as cursor, cursor.copy("COPY copy (k, mark, identity, stamp) FROM STDIN") as rows:
        oldest = min(stamp for *_, stamp in templates)
        for n in range(1, copies + 1):
            for k, (_, _, unit, _) in enumerate(templates):
                person = per_unit[unit] = per_unit.get(unit, -1) + 1
                stamp = oldest - timedelta(minutes=15 * (n * TEMPLATES + k))
                rows.write_row((k, f"{n:08x}-", people[person % len(people)], stamp))
    connection.execute(_SAID.encode())
    connection.execute("ANALYZE template; ANALYZE copy")


_INSTANT = "to_char({0} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"

_SAID = f"""
UPDATE template t SET said = {_INSTANT.format("t.stamp")},
    at = (SELECT body::jsonb ->> 'authoredOn' FROM resource r JOIN referral f ON r.type = 'Task' AND r.id = f.task
          WHERE f.id = t.referral);
UPDATE copy SET said = {_INSTANT.format("stamp")}, before = stamp - interval '56 days',
    said_before = {_INSTANT.format("(stamp - interval '56 days')")},
    at = to_char((stamp - interval '56 days') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"+00:00"')
"""


def _renamed(column: str) -> str:
    return f"replace({column}, '{MARK}', c.mark)"


def _rewritten(column: str, said: str) -> str:
    inner = f"replace({_renamed(column)}, t.identity, c.identity)"
    return f"replace(replace({inner}, t.said, c.{said}), t.at, c.at)"


_REFERRAL = (
    "id, organisation, placer_system, placer_value, placer_key, fingerprint, patient_key, created_at, programme,"
    " service_request, patient, task, state, verdict, team, alerted, unit_reach"
)
_DIGEST = (
    "encode(sha256(convert_to(length(f.organisation) || ':' || f.organisation || length(f.placer_system) || ':'"
    f" || f.placer_system || length(f.placer_value) || ':' || {_renamed('f.placer_value')}, 'UTF8')), 'hex')"
)
_FROM_STAMPED = "JOIN template t ON {0} = t.stamp JOIN copy c ON c.k = t.k"

_COPY = (
    f"""
    INSERT INTO resource (type, id, version, last_updated, referral_id, dated_from, dated_until, body)
    SELECT r.type, {_renamed("r.id")}, CASE WHEN r.type = 'Task' THEN 2 ELSE 1 END, c.stamp,
           {_renamed("r.referral_id")}, r.dated_from + (c.stamp - t.stamp), r.dated_until + (c.stamp - t.stamp),
           CASE WHEN r.type = 'Task' THEN
               replace(replace({_rewritten("r.body", "said")}, '"status":"requested"', '"status":"completed"'),
                       '"versionId":"1"', '"versionId":"2"')
           ELSE {_rewritten("r.body", "said")} END
    FROM resource r {_FROM_STAMPED.format("r.last_updated")}
    """,
    f"""
    INSERT INTO resource_history (type, id, version, last_updated, referral_id, body)
    SELECT r.type, {_renamed("r.id")}, 1, c.before, {_renamed("r.referral_id")}, {_rewritten("r.body", "said_before")}
    FROM resource r {_FROM_STAMPED.format("r.last_updated")} WHERE r.type = 'Task'
    """,
    f"""
    INSERT INTO search_value (type, param, value, status, last_updated, id)
    SELECT s.type, s.param, replace({_renamed("s.value")}, t.identity, c.identity),
           CASE WHEN s.type = 'Task' THEN 'completed' ELSE s.status END, c.stamp, {_renamed("s.id")}
    FROM search_value s {_FROM_STAMPED.format("s.last_updated")}
    """,
    f"""
    INSERT INTO measured (type, param, value, id)
    SELECT m.type, m.param, m.value, {_renamed("m.id")}
    FROM measured m JOIN resource r ON r.type = m.type AND r.id = m.id {_FROM_STAMPED.format("r.last_updated")}
    """,
    f"""
    INSERT INTO referral ({_REFERRAL})
    SELECT {_renamed("f.id")}, f.organisation, f.placer_system, {_renamed("f.placer_value")}, {_DIGEST}, f.fingerprint,
           replace(f.patient_key, t.identity, c.identity), c.before, f.programme, {_renamed("f.service_request")},
           {_renamed("f.patient")}, {_renamed("f.task")}, 'completed', f.verdict, f.team, f.alerted, f.unit_reach
    FROM referral f JOIN template t ON t.referral = f.id JOIN copy c ON c.k = t.k
    """,
    f"""
    INSERT INTO natural_key (kind, key, reference)
    SELECT n.kind, replace(n.key, t.identity, c.identity), {_renamed("n.reference")}
    FROM natural_key n JOIN template t ON n.key LIKE '%|' || t.identity || '@%' JOIN copy c ON c.k = t.k
    WHERE n.kind = 'Patient' ON CONFLICT DO NOTHING
    """,
    f"""
    INSERT INTO journal (referral_id, at, actor, event, detail)
    SELECT {_renamed("j.referral_id")}, c.stamp, j.actor, j.event, {_renamed("j.detail::text")}::jsonb
    FROM journal j JOIN template t ON t.referral = j.referral_id JOIN copy c ON c.k = t.k
    """,
)
