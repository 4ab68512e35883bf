"""Judges of two systems' answers: the rules of the wind tunnel, a reward model, and an LLM that is asked."""
