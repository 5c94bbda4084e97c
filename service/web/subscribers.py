"""Whose a Subscription is, and how it is shown: in full to its maker, without what its headers say to an administrator,
and to nobody else.
"""

from flask import Response
from werkzeug.exceptions import Gone

from fhir_mappings.elements import child, texts
from fhir_mappings.records import Json
from fhir_mappings.strict_json import dump
from service.access.caller import Role
from service.referral.refusal import not_found
from service.store.moments import instant
from service.store.records import Stored
from service.store.subscription_records import Owner, SubscriptionRow
from service.web import replies
from service.web.requests_in import base_url, caller, house

MASK = "*****"
"""Stands for the value of a header where others than its maker read it."""


def owner() -> Owner:
    """Who calls, as a Subscription is kept."""
    calling = caller()
    return Owner(
        str(calling.role),
        ",".join(sorted(calling.organisations)) or None,
        ",".join(sorted(calling.teams)) or None,
        calling.client,
    )


def mine() -> list[SubscriptionRow]:
    """The caller's Subscriptions; an administrator's are everybody's."""
    return house().store.subscriptions.of(None if caller().role is Role.ADMINISTRATOR else owner())


def own(id_: str, *, gone: bool = False) -> SubscriptionRow:
    """The caller's Subscription; an administrator may have anybody's. Raises Refusal (not found), and Gone for one
    that was deleted, unless that is wanted too.
    """
    row = house().store.subscriptions.get(id_)
    if row is None or (row.owner != owner() and caller().role is not Role.ADMINISTRATOR):
        raise not_found("Subscription", id_)
    if row.deleted_at is not None and not gone:
        raise Gone
    return row


def answer(row: SubscriptionRow, status: int = 200) -> Response:
    """It, as the caller may see it and `Prefer` wants it."""
    told = replies.resource(Stored("Subscription", row.id, row.version, row.last_updated, shown(row)), status)
    if status == 201:  # there is no history to point into
        told.headers["Location"] = f"{base_url()}/Subscription/{row.id}"
    return told


def shown(row: SubscriptionRow) -> str:
    """The Subscription as its maker sees it; others do not see what its headers say."""
    sent = row.sent
    meta = {**sent.pop("meta"), "versionId": str(row.version), "lastUpdated": instant(row.last_updated)}
    resource: Json = {"resourceType": "Subscription", "id": row.id, "meta": meta, "status": row.status, **sent}
    if row.reason:
        resource["error"] = row.reason
    channel = child(sent, "channel")
    if row.owner != owner() and "header" in channel:
        masked = [f"{line.partition(':')[0]}: {MASK}" for line in texts(channel, "header")]
        resource["channel"] = {**channel, "header": masked}
    return dump(resource)
