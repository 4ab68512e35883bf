"""Cleaning: finds copies, near copies, evaluation leaks, other languages and odd lengths among the rows."""
