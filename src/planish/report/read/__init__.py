"""Readers: the files of a run, comparison or pipeline as typed values, ready for a page."""
