"""Columns of text on their way to PostgreSQL.

psycopg writes lists of anything, one element at a time; most of what the store sends is text, which is known, and
written in one go: a tenth of an intake's own work.
"""

from collections.abc import Iterable
from struct import Struct

from psycopg import Connection
from psycopg.adapt import Dumper
from psycopg.pq import Format

_HEAD = Struct("!iiiii")
_LENGTH = Struct("!i")
_TEXT_OID, _TEXT_ARRAY_OID = 25, 1009
"""https://www.postgresql.org/docs/current/catalog-pg-type.html: fixed for the built-in types."""
_NULL = b"\xff\xff\xff\xff"


class Texts(list[str | None]):
    """A list of text, for a parameter `%(name)b::text[]`."""


class _TextsDumper(Dumper):
    """An array in PostgreSQL's binary form: dimensions, whether nulls may come, element type, length, lower bound;
    then each element after its length.
    """

    format = Format.BINARY
    oid = _TEXT_ARRAY_OID

    def dump(self, obj: Iterable[str | None]) -> bytes:
        """The bytes of the parameter. Raises UnicodeEncodeError for half a character."""
        elements = [None if text is None else text.encode() for text in obj]
        parts = [_HEAD.pack(1, 1, _TEXT_OID, len(elements), 1)]
        for element in elements:
            if element is None:
                parts.append(_NULL)
            else:
                parts.append(_LENGTH.pack(len(element)))
                parts.append(element)
        return b"".join(parts)


def register(connection: Connection) -> None:
    """Lets a connection take `Texts`."""
    connection.adapters.register_dumper(Texts, _TextsDumper)
