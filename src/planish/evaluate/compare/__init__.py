"""Comparison: two models answer the same prompts, and a judge picks the better answer of each pair."""
