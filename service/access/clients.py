"""A registered client as a caller, and what a registration must say. A person registers the clients that the region has
agreed with; nobody registers itself.
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from urllib.parse import urlsplit

from fhir_mappings.records import HsaId
from service.access.caller import Caller, Role
from service.access.keys import read_key_set
from service.access.scopes import LETTERS, Scopes, problems_of, read_scopes
from service.access.subjects import read_subject
from service.store.client_records import ClientRow, Credentials
from service.store.query import parse_query

ROLES = (Role.REFERRER, Role.THERAPIST, Role.PLATFORM, Role.ADMINISTRATOR)
EVERYTHING = f"system/*.{LETTERS}"
"""What a client is registered for unless it is said: all that its role may do."""

ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
ISSUER = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[!-~]{1,500}")
"""A URI, and so never an id."""
_HSA_ID = re.compile(r"[A-Z0-9]{2,20}-[A-Z0-9]{1,30}")


@dataclass(frozen=True, slots=True)
class Registration:
    """What somebody wants to register."""

    id: str
    name: str
    role: str
    organisations: tuple[str, ...] = ()
    teams: tuple[str, ...] = ()
    scopes: tuple[str, ...] = ()
    credentials: Credentials = field(default_factory=Credentials)


def caller_of(client: ClientRow, scopes: Scopes, token: str | None = None) -> Caller:
    """Who calls when a client does. Where it acts for one unit, that is its care unit."""
    only = client.organisations[0] if len(client.organisations) == 1 else None
    return Caller(
        Role(client.role),
        organisations=frozenset(map(HsaId, client.organisations)),
        teams=frozenset(client.teams),
        client=client.id,
        unit=HsaId(only) if only else None,
        scopes=scopes,
        token=token,
    )


def hsa_id(value: object) -> HsaId | None:
    """An HSA-id in capitals; None for what is none."""
    written = value.strip().upper() if isinstance(value, str) else ""
    return HsaId(written) if _HSA_ID.fullmatch(written) else None


def registered(wanted: Registration, teams: Collection[str], now: datetime) -> ClientRow | list[str]:
    """The client, or in English everything that is wrong with it. `teams` are those of the pack."""
    units = [hsa_id(one) or one for one in wanted.organisations]
    known_by, problems = read_credentials(wanted.credentials)
    problems = [
        *_against_names(wanted),
        *_against_reach(wanted, teams),
        *problems_of(wanted.scopes),
        *_against_searches(wanted.scopes),
        *problems,
    ]
    if problems:
        return problems
    scopes = str(read_scopes(" ".join(wanted.scopes or (EVERYTHING,))))
    reach = (tuple(sorted(set(units))), tuple(sorted(set(wanted.teams))))
    return ClientRow(wanted.id, wanted.name.strip(), wanted.role, *reach, scopes, known_by, now)


def read_credentials(given: Credentials) -> tuple[Credentials, list[str]]:
    """By what a client is to be known, and in English what is wrong with it."""
    problems = []
    if given.jwks is not None and isinstance(keys := read_key_set(given.jwks), list):
        problems += [f"--jwks: {problem}" for problem in keys]
    if given.jwks_url is not None and not _is_https(given.jwks_url):
        problems.append("--jwks-url takes an https URL without user, password or fragment")
    if given.jwks is not None and given.jwks_url is not None:
        problems.append("--jwks and --jwks-url: give one of them, so that it is known which keys count")
    subject = read_subject(given.subject) if given.subject is not None else None
    if given.subject is not None and subject is None:
        problems.append("--subject takes a distinguished name as RFC 4514 writes it: CN=ehr.example,O=Region,C=SE")
    assignment = hsa_id(given.assignment) if given.assignment is not None else None
    if given.assignment is not None and assignment is None:
        problems.append(f"--assignment takes the HSA-id of a care unit; this is none: {given.assignment!r}")
    if given.issuer is not None and not ISSUER.fullmatch(given.issuer):
        problems.append("--issuer takes the URI that its calls of CDS Hooks say as iss: https://ehr.example/")
    if given.issuer is not None and given.jwks is None and given.jwks_url is None:
        problems.append("--issuer goes with --jwks or --jwks-url: the keys that it signs its calls with")
    if given == Credentials():
        problems.append("say by what it is known: --jwks, --jwks-url, --subject or --assignment")
    return Credentials(given.jwks, given.jwks_url, subject, assignment, given.issuer), problems


def _against_names(wanted: Registration) -> Iterable[str]:
    if not ID.fullmatch(wanted.id):
        yield "the id takes 1 to 64 letters, digits and . _ -"
    if not 0 < len(wanted.name.strip()) <= 200 or not wanted.name.isprintable():
        yield "--name takes 1 to 200 characters"
    if wanted.role not in ROLES:
        yield f"--role takes: {', '.join(ROLES)}"


def _against_reach(wanted: Registration, teams: Collection[str]) -> Iterable[str]:
    """Whom it acts for."""
    bad = [one for one in wanted.organisations if hsa_id(one) is None]
    if bad:
        yield f"--organisation takes HSA-ids; these are none: {', '.join(bad)}"
    unknown = [team for team in wanted.teams if team not in teams]
    if unknown:
        yield f"--team: the pack has no {', '.join(unknown)}; it has {', '.join(sorted(teams))}"
    acts_for_units = wanted.role in (Role.REFERRER, Role.PLATFORM)
    if acts_for_units and not wanted.organisations:
        yield f"a {wanted.role} acts for units: give --organisation HSA-ID, once for each"
    if not acts_for_units and wanted.organisations:
        yield f"--organisation is for referrers and platforms, not for a {wanted.role}"
    if wanted.role == Role.THERAPIST and not wanted.teams:
        yield "a therapist acts for teams: give --team, once for each"
    if wanted.role != Role.THERAPIST and wanted.teams:
        yield f"--team is for therapists, not for a {wanted.role}"


def _against_searches(words: Iterable[str]) -> Iterable[str]:
    """A search that this server does not know would let nothing through."""
    for scope in read_scopes(" ".join(words)).scopes:
        if scope.query and isinstance(parse_query(scope.type, scope.query, strict=True), list):
            yield f"{scope}: {scope.type} cannot be searched so"


def _is_https(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    sound = url.isascii() and url.isprintable() and " " not in url and len(url) <= 1000
    return sound and parts.scheme == "https" and bool(parts.hostname) and "@" not in parts.netloc and not parts.fragment
