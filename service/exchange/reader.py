"""Reading the external FHIR server page by page: searches and histories, `next` followed, never to another server."""

from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

from fhir_mappings.records import Json
from service.exchange.client import Answered, FhirClient, Outcome, Permanent, Transient
from service.exchange.outcomes import Reason

_FORM = "application/x-www-form-urlencoded; charset=utf-8"
_LONGEST_HISTORY = 500


class Away(Exception):  # noqa: N818 - a state of the world
    """Something could not be read, or is being worked on, now; trying again may help."""

    def __init__(self, why: Transient | None = None) -> None:
        super().__init__(str(why.reason) if why else "locked")
        self.why = why
        """What the external server answered; None when it was not asked."""


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a search or a history."""

    resources: tuple[Json, ...]
    next: str | None
    """The server's own link, followed as it stands."""
    searched_at: str | None = None
    """`meta.lastUpdated` of the Bundle: the server's clock, where it tells."""


Paged = Page | Transient | Permanent


class Reader:
    """Reads what many pages hold. Every request says `Cache-Control: no-cache`, because servers reuse searches."""

    def __init__(self, client: FhirClient) -> None:
        self.client = client
        self.base_url = client.base_url
        parts = urlsplit(client.base_url)
        self._origin = (parts.scheme, parts.netloc)

    def search(self, resource_type: str, parameters: Sequence[tuple[str, str]]) -> Paged:
        """The first page, asked for by POST so that nothing of it stands in an address."""
        form = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in parameters)
        return _page(self.client.send("POST", f"/{resource_type}/_search", form.encode(), _FORM), resource_type)

    def follow(self, link: str, resource_type: str) -> Paged:
        """The page behind a `next` link; Transient with reason `address` when it leads to another server."""
        try:
            parts = urlsplit(link)
        except ValueError:
            return Transient(Reason.ADDRESS)
        if (parts.scheme, parts.netloc) != self._origin or not link.startswith(self.base_url):
            return Transient(Reason.ADDRESS)
        return _page(self.client.send("GET", link[len(self.base_url) :]), resource_type)

    def history(self, resource_type: str, resource_id: str, until: str | None) -> list[Json] | None:
        """The versions since `until`, oldest first, and before them that version itself; all of them for None. None
        where the server keeps no history, or not so far back. Raises Away.
        """
        found: list[Json] = []
        paged = _page(
            self.client.send("GET", f"/{resource_type}/{quote(resource_id, safe='')}/_history?_count=50"), resource_type
        )
        while isinstance(paged, Page):
            for version in paged.resources:
                found.append(version)
                if version.get("meta", {}).get("versionId") == until:
                    return found[::-1]
            if paged.next is None or len(found) > _LONGEST_HISTORY:
                return found[::-1] if until is None and paged.next is None else None
            paged = self.follow(paged.next, resource_type)
        if isinstance(paged, Transient) and paged.reason is not Reason.ADDRESS:
            raise Away(paged)
        return None

    def read(self, resource_type: str, resource_id: str) -> Outcome:
        """The current version."""
        return self.client.read(resource_type, resource_id)

    def certain(self, resource_type: str, resource_id: str) -> Answered | Permanent:
        """The current version, or why there is none. Raises Away when that cannot be told."""
        outcome = self.read(resource_type, resource_id)
        if isinstance(outcome, Transient):
            raise Away(outcome)
        return outcome

    def those(self, resource_type: str, ids: Sequence[str]) -> dict[str, Json]:
        """Those of these ids that are found, by id; a search may not find what is there. Raises Away."""
        found: dict[str, Json] = {}
        paged = self.search(resource_type, [("_id", ",".join(ids)), ("_count", str(len(ids)))])
        while isinstance(paged, Page):
            found |= {str(resource["id"]): resource for resource in paged.resources if resource.get("id") in ids}
            if paged.next is None:
                break
            paged = self.follow(paged.next, resource_type)
        if isinstance(paged, Transient):
            raise Away(paged)
        return found


def _page(outcome: Outcome, resource_type: str) -> Paged:
    if not isinstance(outcome, Answered):
        return outcome
    bundle = outcome.resource
    entries, links = bundle.get("entry", []), bundle.get("link", [])
    if bundle.get("resourceType") != "Bundle" or not isinstance(entries, list) or not isinstance(links, list):
        return Transient(Reason.UNREADABLE, 200)
    resources = [
        entry["resource"]
        for entry in entries
        if isinstance(entry, dict)
        and isinstance(entry.get("resource"), dict)
        and entry["resource"].get("resourceType") == resource_type
    ]
    following = [link.get("url") for link in links if isinstance(link, dict) and link.get("relation") == "next"]
    told = bundle.get("meta")
    at = told.get("lastUpdated") if isinstance(told, dict) else None
    return Page(
        tuple(resources),
        following[0] if following and isinstance(following[0], str) else None,
        at if isinstance(at, str) else None,
    )
