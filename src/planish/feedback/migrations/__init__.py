"""The versions of the database's tables, which Alembic applies in order."""
