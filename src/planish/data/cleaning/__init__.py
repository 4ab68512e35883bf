"""Which rows to leave out: copies, near copies, leaks from evaluation sets, other languages, lengths."""
