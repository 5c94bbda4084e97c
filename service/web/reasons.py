"""An administrator gives a reason for clinical content (contract 7), whatever it does with it and whether or not it is
there; the record of who did what keeps the reason.
"""

from flask import request

from service.access.seeing import SHARED, lacks_reason
from service.referral.refusal import needs_reason
from service.web.requests_in import CALLER, caller
from service.web.rest import TYPES


def check_reason() -> None:
    """Refuse an administrator without a reason at every address of clinical content. What is told of a draft that it
    brings along itself needs none.
    """
    if CALLER in request.environ and lacks_reason(caller()) and _is_clinical(request.path):
        raise needs_reason()


def _is_clinical(path: str) -> bool:
    match path.strip("/").split("/"):
        case ["intake", *_]:
            return True
        case ["fhir", type_, *rest]:
            return type_ in TYPES - SHARED and rest not in (["$assess"], ["$extract"])
    return False
