"""Who owns the database and who works in it are two: the role that the service runs as can add to the record of who did
what, and read it, but not change it or take anything out.
"""

from typing import Final

import psycopg
from psycopg import sql

from service.store.records import StoreUnavailable

SERVICE: Final = "sluss_service"
"""The role that the service runs as in the embedded database."""

_LOCK = 5_701_177_005
"""Advisory lock of who grants."""

_RECORD: Final = ("audit_event", "audit_seal")
_READ_ONLY: Final = ("audit_archive", "alembic_version")

_GRANTS: Final = (
    "GRANT USAGE ON SCHEMA public TO {role}",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {role}",
    "GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO {role}",
    *(f"REVOKE UPDATE, DELETE, TRUNCATE ON {table} FROM {{role}}" for table in _RECORD),
    *(f"REVOKE INSERT, UPDATE, DELETE, TRUNCATE ON {table} FROM {{role}}" for table in _READ_ONLY),
)

_GRANTED = """
SELECT coalesce(bool_and(has_table_privilege(%(role)s, c.oid, 'SELECT')), false) FROM pg_class c
WHERE c.relkind IN ('r', 'S') AND c.relnamespace = 'public'::regnamespace
  AND EXISTS (SELECT FROM pg_roles WHERE rolname = %(role)s)
"""


def grant(url: str, role: str, *, create: bool = False) -> None:
    """Gives a role what the service needs in the database of the owner's `url`, and no more. To be done again after
    each upgrade. `create`: the role is made where there is none. Raises ValueError for a role that does not exist, or
    that may do all anyway, and StoreUnavailable.
    """
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            connection.execute("SELECT pg_advisory_xact_lock(%s)", (_LOCK,))
            found = connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", (role,)).fetchone()
            if found is None and create:
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(role)))
            elif found is None:
                raise ValueError(f"there is no role {role}; create it first: CREATE ROLE {role} LOGIN PASSWORD …")
            elif found[0]:
                raise ValueError(f"{role} is a superuser, whom nothing can be kept from")
            if create and connection.execute(_GRANTED, {"role": role}).fetchone() == (True,):
                return
            for statement in _GRANTS:
                connection.execute(sql.SQL(statement).format(role=sql.Identifier(role)))
    except psycopg.OperationalError as problem:
        raise StoreUnavailable(type(problem).__name__) from problem
