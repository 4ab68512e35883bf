"""From anybody's file to packed rows: records, typed rows, chat templates, examples, mixtures."""
