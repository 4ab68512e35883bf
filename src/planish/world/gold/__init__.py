"""Gold judgements: the exact utility of an answer, term by term, for single answers and files."""
