"""A look ahead without training: what is in the data, what a mixture would hold, what a run would do."""
