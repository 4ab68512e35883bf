"""Probe: few-shot questions that show what a model knows, and how sure it is of it."""
