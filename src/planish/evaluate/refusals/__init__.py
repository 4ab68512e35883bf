"""Refusals: which answers refuse, and how often a model refuses what it should and what it should not."""
