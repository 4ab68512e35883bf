"""Pipelines: several commands as stages of one recipe, with references between them and a history."""
