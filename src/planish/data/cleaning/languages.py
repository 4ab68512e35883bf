"""Languages of rows, by py3langid: a naive Bayes model over bytes (Lui and Baldwin 2012), offline and deterministic."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from planish.base.errors import ConfigError
from planish.data.cleaning.filters import Filter
from planish.data.cleaning.fingerprints import Cleanable, texts

LEAST_BYTES = 20  # of letters: 20 in Latin script, 7 in Chinese; below that the guess is too often wrong
MOST_CHARACTERS = 5000  # the beginning of a book shows its language


class LanguageFilter(Filter):
    """Removes rows in other languages than those wanted (ISO 639-1), unless they have too few letters to be sure."""

    name = "language"

    def __init__(self, wanted: Sequence[str]) -> None:
        self._wanted, self._langid = wanted, _langid()
        known = sorted(self._ranking(""))
        if unknown := [code for code in wanted if code not in known]:
            raise ConfigError(f"languages: unknown {', '.join(map(repr, unknown))}; choose from {', '.join(known)}")

    def reason(self, number: int, row: Cleanable) -> str | None:
        beginning = "\n".join(texts(row))[:MOST_CHARACTERS]
        if len("".join(filter(str.isalpha, beginning)).encode("utf-8", "surrogatepass")) < LEAST_BYTES:
            return None
        code = self._ranking(beginning)[0]
        return None if code in self._wanted else f"language {code}, not {' or '.join(self._wanted)}"

    def _ranking(self, text: str) -> list[str]:
        """Language codes, likeliest first, without those of three letters, which are easily mistaken for their kin."""
        return [code for code, _ in self._langid.rank(text) if len(code) == 2]


def _langid() -> ModuleType:
    try:
        import py3langid
    except ImportError:
        raise ConfigError("languages: py3langid is needed, but not installed: pip install py3langid") from None
    return py3langid
