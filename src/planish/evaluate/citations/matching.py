"""A reference compared with the bibliography: exact, with an error, fabricated, or not to be checked; and why.

The three outcomes are those of Walters and Wilder 2023 (doi:10.1038/s41598-023-41032-5), who checked what ChatGPT cites.
Matching is by fields, as where databases are joined: by identifiers first, then by title, then by authors and year.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from planish.evaluate.citations.bibliography import Bibliography, CitedWork, fold, spellings
from planish.evaluate.citations.references import Reference

Outcome = Literal["exact", "altered", "fabricated", "unchecked"]
OUTCOMES: tuple[Outcome, ...] = ("exact", "altered", "fabricated", "unchecked")
SIMILAR = 0.6  # share of the words of two titles that are in both, from which on they may be one
YEARS_APART = 1  # a preprint and its publication
IDENTIFIERS = {"doi": "DOI", "arxiv": "arXiv number", "key": "key", "number": "number"}


@dataclass(frozen=True, slots=True)
class MatchedReference:
    """A reference with its outcome, the works that it can be, and what is wrong with it."""

    reference: Reference
    outcome: Outcome
    works: tuple[CitedWork, ...] = ()
    reason: str = ""


def match(reference: Reference, bibliography: Bibliography, strict: bool = False) -> MatchedReference:
    """The outcome of a reference. With `strict`, one with an error is fabricated."""
    if not _can_be_checked(reference, bibliography):
        return MatchedReference(reference, "unchecked", (), _why_unchecked(reference))
    told = (
        reference if reference.said == {"number"} else replace(reference, number="")
    )  # else the number is that of a list
    wrong = {id(work): (work, list(differences(told, work))) for work in _candidates(told, bibliography)}
    exact = tuple(work for work, faults in wrong.values() if not faults)
    if exact:
        return MatchedReference(reference, "exact", exact)
    near = [(work, faults) for work, faults in wrong.values() if _recognizable(told, work)]
    if not near:
        return MatchedReference(reference, "fabricated", (), _why_fabricated(told, bibliography))
    work, faults = min(near, key=lambda found: len(found[1]))
    return MatchedReference(reference, "fabricated" if strict else "altered", (work,), "; ".join(faults))


def _can_be_checked(reference: Reference, bibliography: Bibliography) -> bool:
    """False where nothing is said, or a single thing that the bibliography has of no work."""
    alone = reference.said if len(reference.said) == 1 else set[str]()
    return bool(reference.said) and all(name in bibliography.by for name in alone & IDENTIFIERS.keys())


def _why_unchecked(reference: Reference) -> str:
    if not reference.said:
        return "it names no authors, title or number that could be looked up"
    if reference.said == {"number"}:
        return f"no list says what [{reference.number}] is"
    return f"the bibliography has no {' or '.join(IDENTIFIERS[name] for name in sorted(reference.said))} at all"


def _candidates(reference: Reference, bibliography: Bibliography) -> Iterator[CitedWork]:
    """The works that share something with a reference."""
    for name in IDENTIFIERS:
        yield from bibliography.find(name, getattr(reference, name))
    if reference.title:
        yield from bibliography.find("title", fold(reference.title))
        shared = Counter(
            at for word in set(fold(reference.title).split()) for at in map(id, bibliography.find("word", word))
        )
        likely = {at for at, _ in shared.most_common(20)}
        yield from (work for work in bibliography.works if id(work) in likely and _alike(reference.title, work.title))
    if reference.authors:
        for name in spellings(reference.authors[0]):
            yield from bibliography.find("author", name)


def differences(reference: Reference, work: CitedWork) -> Iterator[str]:
    """The errors of a reference, in words. A field that only one of the two has is no error."""
    for name, label in IDENTIFIERS.items():
        said, true = getattr(reference, name), getattr(work, name)
        if said and true and said != true:
            yield f"{label} {said} is {true} in the bibliography"
    if reference.title and work.title and not _same_title(reference.title, work):
        yield f"the title is {work.title!r}"
    if reference.authors and work.authors and not _same_authors(reference, work):
        yield f"the authors are {_listed(work.authors)}{' and others' if work.more else ''}"
    if reference.year and work.year and reference.year != work.year:
        yield f"the year is {work.year}, not {reference.year}"
    if reference.venue and work.venue and not _same_venue(reference.venue, work.venue):
        yield f"it is in {work.venue}, not in {reference.venue}"
    if work.whole and not reference.venue:
        yield f"it does not say that it is in {work.venue}"


def _recognizable(reference: Reference, work: CitedWork) -> bool:
    """True where an identifier or the title is that of the work, or the first author and, nearly, the year."""
    if any(getattr(reference, name) and getattr(reference, name) == getattr(work, name) for name in IDENTIFIERS):
        return True
    if reference.title and (_same_title(reference.title, work) or _alike(reference.title, work.title)):
        return True
    if (reference.title and work.title) or not reference.authors or not work.authors:
        return False  # it is another work of these authors
    apart = abs(reference.year - work.year) if reference.year and work.year else 0
    return _same_name(reference.authors[0], work.authors[0]) and apart <= YEARS_APART


def _same_title(said: str, work: CitedWork) -> bool:
    """True for the whole title, and for the part before a colon if that has three words."""
    words = fold(said)
    short = work.main_title if len(work.main_title.split()) > 2 else ""
    return words == fold(work.title) or (bool(short) and words == short)


def _alike(one: str, other: str) -> bool:
    words, others = set(fold(one).split()), set(fold(other).split())
    return bool(words & others) and len(words & others) >= SIMILAR * len(words | others)


def _same_authors(reference: Reference, work: CitedWork) -> bool:
    """All in order; with "et al." the first ones."""
    said, true = reference.authors, work.authors
    if reference.et_al:
        enough = work.more or len(true) > len(said)
    else:
        enough = len(said) == len(true) or (work.more and len(said) > len(true))
    return enough and all(map(_same_name, said, true))


def _same_name(said: str, true: str) -> bool:
    return bool(spellings(said) & spellings(true))


def _same_venue(said: str, true: str) -> bool:
    one, other = fold(said), fold(true)
    initials = "".join(word[0] for word in other.split() if word not in ("of", "the", "and", "on", "for", "in"))
    return one in other or other in one or one == initials


def _why_fabricated(reference: Reference, bibliography: Bibliography) -> str:
    told: dict[str, Callable[[], str]] = {
        "doi": lambda: f"no entry has the DOI {reference.doi}",
        "arxiv": lambda: f"no entry has the arXiv number {reference.arxiv}",
        "key": lambda: f"no entry has the key {reference.key}",
        "number": lambda: f"no entry has the number {reference.number}",
        "title": lambda: f"no entry has the title {reference.title!r}",
        "authors": lambda: _no_authors(reference, bibliography),
    }
    return "; ".join(why() for name, why in told.items() if name in reference.said)


def _no_authors(reference: Reference, bibliography: Bibliography) -> str:
    own = [work for name in spellings(reference.authors[0]) for work in bibliography.find("author", name)]
    if not own:
        return f"no entry has {reference.authors[0]} as its first author"
    years = sorted({str(work.year) for work in own if work.year})
    return (
        f"the entries of {reference.authors[0]} are others, of {_listed(years)}"
        if years
        else "it is none of the author's"
    )


def _listed(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
