"""Files of runs, comparisons and pipelines, as plain values."""
