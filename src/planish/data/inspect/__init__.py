"""Inspection: shows what a file or a run's sources hold, and converts files to the common formats."""
