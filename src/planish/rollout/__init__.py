"""Completions: sampled from a model for prompts."""
