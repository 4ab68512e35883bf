"""The guidelines that annotators follow: a Markdown file, known by its digest. planish's own is after the criteria of Ouyang et
al. (2022), helpful, honest and harmless, and their order of precedence."""

from __future__ import annotations

import hashlib
from pathlib import Path

from planish.base.errors import ConfigError, first_line

OWN = Path(__file__).parent / "guidelines.md"
LONGEST = 200_000  # characters


def read_guidelines(file: str | None) -> str:
    path = OWN if file is None else Path(file)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        why = getattr(error, "strerror", None) or first_line(error)
        raise ConfigError(f"guidelines={path}: cannot be read: {why}. Give a Markdown file in UTF-8") from None
    if not text.strip() or len(text) > LONGEST:
        raise ConfigError(f"guidelines={path}: found {len(text):,} characters, expected some text, up to {LONGEST:,}")
    return text


def digest_of(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
