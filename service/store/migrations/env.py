"""Alembic's entry: the caller (service.store.migrate) brings the connection, so there is nothing to configure."""

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, transaction_per_migration=True)
with context.begin_transaction():
    context.run_migrations()
