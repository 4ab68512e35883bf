"""Verifiers: programs that say whether a completion is right, from the row of its prompt or from its form alone."""
