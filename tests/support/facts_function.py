"""A function that lists the facts of an answer, as a user would write one: every name in it."""


def list_facts(prompt: str, answer: str) -> list[tuple[str, str]]:
    return [(prompt, word) for word in answer.split() if word.istitle()]
