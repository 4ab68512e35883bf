"""Pages: one HTML page for each kind of run, filled from a template."""
