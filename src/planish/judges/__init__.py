"""Judges of answers: a world's gold utility, a reward model or an LLM behind an API."""
