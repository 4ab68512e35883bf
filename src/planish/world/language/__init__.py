"""The language of a world: its words, facts, phrases, tasks, rules of form and harmful requests."""
