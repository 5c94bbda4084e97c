"""A database as an earlier version of the service has left it."""

from alembic import command
from alembic.config import Config

from service.store import migrate


def upgrade_to(url: str, revision: str) -> None:
    """Bring an older schema to a revision."""
    config = Config()
    config.set_main_option("script_location", str(migrate._MIGRATIONS))
    engine = migrate._engine(url)
    with engine.begin() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
    engine.dispose()
