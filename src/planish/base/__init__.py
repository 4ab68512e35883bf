"""The ground floor: configuration, errors, files, randomness, ranks, metrics and the types that all floors share."""
