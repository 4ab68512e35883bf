"""Languages of texts, by py3langid: a naive Bayes model over bytes (Lui and Baldwin 2012), offline and deterministic."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from planish.base.errors import ConfigError

LEAST_BYTES = 20  # of letters: 20 in Latin script, 7 in Chinese; below that the guess is too often wrong
MOST_CHARACTERS = 5000  # the beginning of a book shows its language


class Languages:
    """Finds texts in other languages than those wanted (ISO 639-1)."""

    def __init__(self, wanted: Sequence[str]) -> None:
        self.wanted = tuple(wanted)
        self._langid = _langid()
        known = sorted(self._ranking(""))
        unknown = [code for code in wanted if code not in known]
        if unknown:
            raise ConfigError(
                f"languages: {', '.join(map(repr, unknown))} cannot be recognized; choose from {', '.join(known)}"
            )

    def other(self, text: str) -> str | None:
        """The language of the text if it is not wanted; else, or if the text has too few letters to be sure, None."""
        beginning = text[:MOST_CHARACTERS]
        if len("".join(filter(str.isalpha, beginning)).encode("utf-8", "surrogatepass")) < LEAST_BYTES:
            return None
        code = self._ranking(beginning)[0]
        return None if code in self.wanted else code

    def _ranking(self, text: str) -> list[str]:
        """Language codes, likeliest first, without those of three letters, which are easily mistaken for their kin."""
        return [code for code, _ in self._langid.rank(text) if len(code) == 2]


def _langid() -> ModuleType:
    try:
        import py3langid
    except ImportError:
        raise ConfigError(
            "languages: recognizing them needs py3langid, which is not installed: pip install py3langid"
        ) from None
    return py3langid
