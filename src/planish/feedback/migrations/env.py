"""Runs migrations on the connection that `store.open_store` gives. Alembic executes this file."""

from alembic import context

from planish.feedback.schema import Base

context.configure(
    connection=context.config.attributes["connection"], target_metadata=Base.metadata, render_as_batch=True
)
with context.begin_transaction():
    context.run_migrations()
