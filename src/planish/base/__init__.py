"""The ground floor: configuration, chance, ranks, tallies and the few types everyone shares."""
