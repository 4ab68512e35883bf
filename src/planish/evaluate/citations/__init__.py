"""Citations: references found in answers, compared with a bibliography in which every real one is."""
