"""Opening the database of the settings. Apart from the application, so that what only holds it open starts fast."""

import structlog

from service.settings import Settings
from service.store.database import Store
from service.store.records import StoreUnavailable
from service.store.roles import SERVICE, grant

log = structlog.get_logger("sluss")


class OldSchema(Exception):  # noqa: N818  a state of the database, told to who starts the service
    """The database has not the schema of this version."""


def open_store(settings: Settings) -> Store:
    """The database of the settings, ready to use. Raises OldSchema."""
    if settings.database_url is None:
        owners = owners_url(settings)
        Store(owners).migrate()
        grant(owners, SERVICE, create=True)
        return Store(owners.replace("//postgres:@", f"//{SERVICE}:@", 1))
    store = Store(settings.database_url)
    try:
        current = store.is_current()
    except StoreUnavailable:
        log.warning("database_unavailable_at_start")
        return store
    if not current:
        raise OldSchema("the database has not this version's schema; run: sluss db upgrade")
    return store


def owners_url(settings: Settings) -> str:
    """The database of the settings as its owner sees it. The embedded one is started; one's own is reached by whatever
    role the settings name.
    """
    if settings.database_url is not None:
        return settings.database_url.replace("postgresql+psycopg://", "postgresql://", 1)
    from service.store import embedded  # noqa: PLC0415  costly, and not needed with a database of one's own

    return embedded.start(settings.data_dir / "postgres").url
