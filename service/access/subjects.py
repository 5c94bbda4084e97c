"""The subject of a client's certificate, as a proxy passes it on. Pure. https://www.rfc-editor.org/rfc/rfc4514"""

import re

from cryptography import x509
from cryptography.x509.oid import NameOID

_NAMES = {
    "serialNumber": NameOID.SERIAL_NUMBER,
    "SERIALNUMBER": NameOID.SERIAL_NUMBER,
    "emailAddress": NameOID.EMAIL_ADDRESS,
    "E": NameOID.EMAIL_ADDRESS,
    "organizationIdentifier": NameOID.ORGANIZATION_IDENTIFIER,
    "SN": NameOID.SURNAME,
    "GN": NameOID.GIVEN_NAME,
    "title": NameOID.TITLE,
    "S": NameOID.STATE_OR_PROVINCE_NAME,
    "ST": NameOID.STATE_OR_PROVINCE_NAME,
}
"""What proxies write besides the names of RFC 4514."""
_BLANKS = re.compile(r"(?<!\\)([,+]) +")
"""Behind a separator, where some proxies write one."""
_LONGEST = 1000


def read_subject(text: str) -> str | None:
    """A distinguished name in the one way in which equal names are equal texts: attributes by OID, blanks and escapes
    as RFC 4514 has them, the parts of one relative name in order. None for what is none.
    """
    if not 0 < len(text) <= _LONGEST:
        return None
    try:
        name = x509.Name.from_rfc4514_string(_BLANKS.sub(r"\1", text.strip()), _NAMES)
    except (ValueError, TypeError):
        return None
    if not list(name) or not all(str(part.value).isprintable() for part in name):
        return None
    ordered = [
        x509.RelativeDistinguishedName(sorted(rdn, key=lambda part: (part.oid.dotted_string, part.value)))
        for rdn in name.rdns
    ]
    return x509.Name(ordered).rfc4514_string()
