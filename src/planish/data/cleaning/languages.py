"""Which language a text is in, by py3langid: a naive Bayes model over bytes (Lui and Baldwin 2012), no network, no chance."""

from __future__ import annotations

from collections.abc import Sequence
from types import ModuleType

from planish.base.errors import ConfigError

LEAST_BYTES = 20  # of letters: twenty in Latin script, seven in Chinese; below that the guess is too often wrong
MOST_CHARACTERS = 5000  # the beginning of a book tells its language


class Languages:
    """Tells texts in the wanted languages (ISO 639-1) from others."""

    def __init__(self, wanted: Sequence[str]) -> None:
        self.wanted = tuple(wanted)
        self._langid = _langid()
        known = sorted(self._ranking(""))
        unknown = [code for code in wanted if code not in known]
        if unknown:
            raise ConfigError(
                f"languages: {', '.join(map(repr, unknown))} is not a language that can be told; "
                f"choose from {', '.join(known)}"
            )

    def other(self, text: str) -> str | None:
        """The language of the text if it is another one. A text with too few letters to tell counts as wanted."""
        beginning = text[:MOST_CHARACTERS]
        if len("".join(filter(str.isalpha, beginning)).encode("utf-8", "surrogatepass")) < LEAST_BYTES:
            return None
        code = self._ranking(beginning)[0]
        return None if code in self.wanted else code

    def _ranking(self, text: str) -> list[str]:
        """The likeliest first. Codes of three letters are near kin of those with two, and taken for them too easily."""
        return [code for code, _ in self._langid.rank(text) if len(code) == 2]


def _langid() -> ModuleType:
    try:
        import py3langid
    except ImportError:
        raise ConfigError(
            "languages: telling them needs py3langid, which is not installed: pip install py3langid"
        ) from None
    return py3langid
