"""References in a text: author and year, numbers with their list, DOIs, arXiv numbers, keys, and titles in quotes.

Found by form alone, so that invented ones are found too. Parts that follow each other, such as a title, its authors and its
DOI, are one reference. The form of a DOI is Crossref's (https://www.crossref.org/blog/dois-and-matching-regular-expressions/).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

Form = Literal["author-year", "numbered", "listed", "doi", "arxiv", "key", "title"]

CAPITAL = r"[A-Z\u00c0-\u00de\u0100-\u017f]"
SURNAME = rf"(?<![^\W_]){CAPITAL}(?:[^\W\d_]|['’-](?=[^\W\d_]))+"
INITIALS = r"(?:[A-Z]\.[ -]?)*[A-Z]\."
PARTICLES = r"(?:(?<![^\W_])(?:van|von|vom|der|den|de|del|della|di|da|dos|du|la|le|ten|ter|zu|al|el|bin|ibn)[ -])*"
NAME = rf"(?:{INITIALS}\s?)?{PARTICLES}{SURNAME}(?:,\s{INITIALS})?"
AND = r"(?:,?\s+(?:and|und|y|et(?!\s+al\b))\s+|,?\s*&\s*)"
NAMES = rf"{NAME}(?:,\s+{NAME}){{0,30}}(?:{AND}{NAME})?"
ET_AL = r",?\s+(?:et\s+al\b|and\s+(?:others|colleagues)\b|u\.\s?a\.)\.?"
YEAR = r"(?:1[4-9]|20)\d\d"
AUTHOR_YEAR = re.compile(
    rf"(?P<names>{NAMES})(?P<et_al>{ET_AL})?(?:['’]s)?(?P<open>,?\s*[(\[]\s*|,\s*|\s+)"
    rf"(?P<year>{YEAR})(?P<letter>[a-z]?)(?P<more>(?:\s*,\s*{YEAR}[a-z]?)*)(?![\w-])"
)
VENUE = re.compile(
    rf"\s*\),\s+[*_]?(?P<venue>{CAPITAL}[\w-]*(?: (?:{CAPITAL}[\w-]*|of|the|and|on|for|in|&))*)[*_]?(?=[.;)\]\n]|$)"
)
APA_TITLE = re.compile(r"\)\.\s+[*_]?(?P<title>[A-Z][^.?!\n]{8,250})(?=[.?!])")  # "Smith, J. (2020). A title. Journal."
WORDS = (
    "January February March April May June July August September October November December Spring Summer Autumn Fall Winter "
    "In On At By Of The From Since Until Till Before After During Between Around About Circa Year Table Figure Fig Section "
    "Chapter Equation Version Day Week Early Mid Late Im Seit Bis Jahr"
)
NO_AUTHORS = frozenset(WORDS.split())  # before a year
OPENINGS = frozenset(
    ("However", "Moreover", "Furthermore", "Later", "First", "Also", "Thus", "Then", "Today", "Indeed")
)
DOI = re.compile(r"(?:https?://(?:dx\.)?doi\.org/|\bdoi:?\s*)?(?<![\w.])(10\.\d{4,9}/[^\s\"“”<>{}|\\^`]+)", re.I)
ARXIV = re.compile(
    r"(?:https?://arxiv\.org/(?:abs|pdf)/|\barxiv[:\s]\s*(?:preprint\s+)?(?:arxiv[:\s]\s*)?)"
    r"(\d{4}\.\d{4,5}|[a-z-]+(?:\.[a-z]{2})?/\d{7})(?:v\d+)?(?:\.pdf)?",
    re.I,
)
TITLE = re.compile(rf"[\"“„«]([^\"“”„«»\n]{{8,300}})[\"”“»](?:\s*\((?P<year>{YEAR})\))?")
WORKS = r"(?:paper|article|book|study|report|thesis|dissertation|chapter|essay|monograph|preprint|survey|publication|novel)s?"
CUE = re.compile(rf"(?:\b{WORKS}|\btitled|\bentitled|\bcalled|\bsee|\bcites?)[,:]?\s*[*_(]*$", re.I)
CUE_AFTER = re.compile(rf"[*_)]*,?\s+(?:by\s+{CAPITAL}|published\b|in\s+[*_])")
NUMBER = re.compile(r"(?<![\d_\]])(?:(?<=[^\W\d_]{3})|(?<!\w))\[(\d{1,3}(?:\s*[,–-]\s*\d{1,3})*)\](?!\()")
CITE = re.compile(
    r"\\(?:\w*cite\w*)\*?(?:\[[^\]]*\])*\{([^}]+)\}|\[((?:see )?@[\w:.+/-]+(?:\s*;\s*@[\w:.+/-]+)*)[^\]]*\]"
)
CODE = re.compile(r"```.*?(?:```|$)|`[^`\n]+`", re.S)
HEADING = re.compile(
    r"^[\W_]*(?:references|bibliography|works cited|literature(?: cited)?|sources|citations|literatur|quellen)[\W_]*$",
    re.I,
)
ITEM = re.compile(r"^\s*(?:[-*•]\s+)?(?:\[(?P<bracket>\d{1,3})\]:?|(?P<plain>\d{1,3})[.)])\s+(?P<body>\S.*)$")
BETWEEN = re.compile(r"[\s,.:()\[\]*_\"“”]{0,6}(?:(?:by|in|from|doi|url|available at)\b[\s:]*)?[\s(\[*_\"“]{0,4}", re.I)
SENTENCE = re.compile(r"(?<!\b[A-Z])[.?!]\s+")  # the end of one; not behind an initial
SAID = ("authors", "title", "doi", "arxiv", "number", "key")
LETTERS_BEFORE = 300  # where an open parenthesis is looked for


@dataclass(frozen=True, slots=True)
class Reference:
    """A reference as it is written: where it is, and what it says. `authors` are surnames."""

    form: Form
    text: str
    start: int
    end: int
    authors: tuple[str, ...] = ()
    et_al: bool = False
    year: int | None = None
    title: str = ""
    venue: str = ""
    doi: str = ""
    arxiv: str = ""
    number: str = ""
    key: str = ""

    @property
    def said(self) -> set[str]:
        return {name for name in SAID if getattr(self, name)}


def doi_in(text: str) -> str:
    """The first DOI of a text in small letters, without the punctuation behind it."""
    match = DOI.search(text)
    return "" if match is None else _trimmed(match[1]).lower()


def arxiv_in(text: str) -> str:
    """The first arXiv number of a text, without its version; of DOIs too that arXiv has given."""
    match = ARXIV.search(text) or re.search(r"10\.48550/arxiv\.(\d{4}\.\d{4,5})", text, re.I)
    return "" if match is None else match[1].lower()


def _trimmed(doi: str) -> str:
    """Without a closing mark that belongs to the sentence: parentheses may be part of a DOI."""
    while doi and (doi[-1] in ".,;:!?'’*_]" or (doi[-1] == ")" and doi.count(")") > doi.count("("))):
        doi = doi[:-1]
    return doi


def find_references(text: str, is_title: Callable[[str], bool] = lambda title: False) -> list[Reference]:
    """The references of a text in their order. A phrase in quotes is one if words around it say so, if it stands beside an
    author, year or DOI, or if `is_title` knows it. Numbers point to their list, and count only where there is none."""
    text = CODE.sub(lambda match: " " * len(match[0]), text)
    entries = list(_listed(text))
    rest = list(text)
    for entry in entries:
        rest[entry.start : entry.end] = " " * (entry.end - entry.start)
    body = "".join(rest)
    numbered = {entry.number for entry in entries}
    parts = [*_author_years(body), *_identified(body), *_titles(body), *_keys(body)]
    parts += [part for part in _numbers(body) if part.number not in numbered]
    joined = _joined(sorted(parts, key=lambda part: (part.start, -part.end)), body)
    kept = [
        part for part in joined if part.form != "title" or part.said != {"title"} or _is_cited(part, body, is_title)
    ]
    return sorted([*kept, *entries], key=lambda part: part.start)


def first_reference(text: str) -> Reference | None:
    """The work that a citation names, such as a line of a list."""
    entry = _entry(text, 0, len(text), "")
    return entry if entry.title or entry.doi or entry.arxiv else next(iter(find_references(text)), None)


# Lists of references


def _listed(text: str) -> Iterator[Reference]:
    """The lines of a list: numbers in brackets with a work behind them, and all lines below a heading."""
    below, at = False, 0
    for line in text.split("\n"):
        start, at = at, at + len(line) + 1
        item = ITEM.match(line)
        if HEADING.match(line):
            below = True
        elif below and line.lstrip().startswith("#"):
            below = False  # the next section
        elif item is not None and (below or item["bracket"]):
            number = item["bracket"] or item["plain"]
            yield _entry(item["body"], start, start + len(line), number)
        elif below and len(line.split()) > 2:
            yield _entry(line.strip(" -*•\t"), start, start + len(line), "")


def _entry(body: str, start: int, end: int, number: str) -> Reference:
    """A line such as "Smith, J., & Jones, K. (2020). A title. Journal." or "J. Smith, "A title," Journal, 2020."."""
    quoted = TITLE.search(body)
    before = body[: quoted.start()] if quoted else SENTENCE.split(body)[0]
    sentences = [part.strip(" *_") for part in SENTENCE.split(body)[1:]]
    title = quoted[1].rstrip(",.") if quoted else next(iter(sentences), "")
    authors, et_al = _authors_of_line(before)
    years = re.findall(rf"\(({YEAR})[a-z]?\)", body) or re.findall(
        rf"(?<![\d./:-])({YEAR})(?![\d/-])", DOI.sub("", ARXIV.sub("", body))
    )
    said_title = title if len(title.split()) > 2 and not DOI.search(title) else ""
    year = int(years[0 if "(" in body else -1]) if years else None
    form: Form = "numbered" if number else "listed"
    return Reference(
        form, body, start, end, authors, et_al, year, said_title.strip(" .*_"), "", doi_in(body), arxiv_in(body), number
    )


def _authors_of_line(before: str) -> tuple[tuple[str, ...], bool]:
    names = re.sub(rf"[(\[]?{YEAR}[a-z]?.*$", "", DOI.sub("", ARXIV.sub("", before))).strip(" .,*_:;")
    bare = re.sub(rf"(?:{ET_AL})$", "", names)
    if re.fullmatch(rf"{NAMES}\.?", f"{bare}."[: len(bare) + 1]) or re.fullmatch(NAMES, bare):
        return _surnames(bare), bare != names
    chunks = [part for part in re.split(rf",\s+|{AND}", bare) if part]
    if 0 < len(chunks) < 60 and all(re.fullmatch(rf"(?:{CAPITAL}[\w.'’-]*\s*|{PARTICLES})+", part) for part in chunks):
        return tuple(part.split()[-1] for part in chunks), bare != names
    return (), False


# Parts of references in running text


def _author_years(text: str) -> Iterator[Reference]:
    matches = list(AUTHOR_YEAR.finditer(text))
    starts = [match.start() for match in matches]
    for match in matches:
        names, start = _trim_names(match, text)
        et_al = bool(match["et_al"])
        single = len(_surnames(names)) == 1 and not et_al
        if single and names.strip(" .") in NO_AUTHORS:
            continue
        if not (et_al or "&" in names or re.search(r"[(\[]", match["open"]) or _in_parentheses(text, start)):
            continue
        venue = VENUE.match(text, match.end())
        if venue is not None and any(match.end() < other < venue.end() for other in starts):
            venue = None
        line = APA_TITLE.match(text, match.end()) if re.search(INITIALS, names) else None
        closed = match.end() + (
            re.search(r"[(\[]", match["open"]) is not None and text[match.end() :][:1] in (")", "]")
        )
        end = venue.end("venue") if venue is not None else line.end("title") if line is not None else closed
        title, name = line["title"] if line else "", venue["venue"] if venue else ""
        for year in [match["year"], *re.findall(YEAR, match["more"])]:
            yield Reference("author-year", text[start:end], start, end, _surnames(names), et_al, int(year), title, name)


def _trim_names(match: re.Match[str], text: str) -> tuple[str, int]:
    """The names without words of the sentence before them: "However, Smith" and "In Europe, Smith" are one author."""
    names, start = match["names"], match.start()
    parts = re.split(r",\s+", names)
    if len(parts) == 1 or re.search(rf"{SURNAME},\s{INITIALS}", names):
        return names, start
    several = match["et_al"] or re.search(AND, names)
    opening = parts[0] in OPENINGS or parts[0].endswith("ly")
    first = 1 if several and opening and _begins_sentence(text, start) else 0
    kept = ", ".join(parts[first:]) if several else parts[-1]
    return kept, match.start() + len(names) - len(kept)


def _begins_sentence(text: str, start: int) -> bool:
    return not text[:start].strip() or text[:start].rstrip()[-1] in ".!?:\n"


def _surnames(names: str) -> tuple[str, ...]:
    bare = re.sub(rf",\s{INITIALS}|{INITIALS}\s?", "", names)
    parts = re.split(rf"{AND}|,\s+(?:and\s+|&\s*)?", bare)
    return tuple(re.sub(r"['’]s$", "", part.strip(" .,")) for part in parts if part.strip(" .,"))


def _in_parentheses(text: str, at: int) -> bool:
    before = text[max(0, at - LETTERS_BEFORE) : at]
    return any(before.count(opening) > before.count(closing) for opening, closing in ("()", "[]"))


def _identified(text: str) -> Iterator[Reference]:
    for match in DOI.finditer(text):
        doi = _trimmed(match[1])
        end = match.start(1) + len(doi)
        yield Reference("doi", text[match.start() : end], match.start(), end, doi=doi.lower(), arxiv=arxiv_in(doi))
    for match in ARXIV.finditer(text):
        yield Reference("arxiv", match[0], match.start(), match.end(), arxiv=match[1].lower())


def _titles(text: str) -> Iterator[Reference]:
    for match in TITLE.finditer(text):
        title = match[1].strip(" ,.")
        if len(title.split()) > 1:
            year = int(match["year"]) if match["year"] else None
            yield Reference("title", match[0], match.start(), match.end(), year=year, title=title)


def _is_cited(part: Reference, text: str, is_title: Callable[[str], bool]) -> bool:
    cued = CUE.search(text[max(0, part.start - 40) : part.start]) or CUE_AFTER.match(text, part.end)
    return bool(cued) or part.year is not None or is_title(part.title)


def _keys(text: str) -> Iterator[Reference]:
    for match in CITE.finditer(text):
        for key in re.split(r"\s*[,;]\s*", match[1] or match[2]):
            name = key.removeprefix("see ").lstrip("@").strip()
            yield Reference("key", match[0], match.start(), match.end(), key=name)


def _numbers(text: str) -> Iterator[Reference]:
    for match in NUMBER.finditer(text):
        for part in re.split(r"\s*,\s*", match[1]):
            first, *last = map(int, re.split(r"\s*[–-]\s*", part))
            for number in range(first, min(last[0], first + 50) + 1 if last else first + 1):
                yield Reference("numbered", match[0], match.start(), match.end(), number=str(number))


def _joined(parts: Sequence[Reference], text: str) -> list[Reference]:
    """Parts that say different things of one work and follow each other, as one."""
    joined: list[Reference] = []
    for part in parts:
        last = joined[-1] if joined else None
        if last is None or part.said & last.said or not _touch(last, part, text):
            joined.append(part)
        else:
            joined[-1] = _both(last, part, text)
    return joined


def _touch(last: Reference, part: Reference, text: str) -> bool:
    if last.year and part.year and last.year != part.year:
        return False
    between = text[last.end : part.start]
    if last.end > part.start or (part.number and between.strip()):  # "Smith (2001), [7]" are two
        return False
    return BETWEEN.fullmatch(between) is not None


def _both(last: Reference, part: Reference, text: str) -> Reference:
    more = {name: getattr(part, name) for name in (*SAID, "year", "venue", "et_al") if getattr(part, name)}
    return replace(last, text=text[last.start : part.end], end=part.end, **more)


def distinct(references: Iterable[Reference]) -> list[Reference]:
    """Each reference once: one that says the same again is left out, and so is "(Smith, 2020)" where a list has Smith 2020."""
    kept: dict[object, Reference] = {}
    every = list(references)
    listed = {(part.authors[:1], part.year) for part in every if part.form in ("listed", "numbered") and part.authors}
    for part in every:
        if part.form == "author-year" and part.said == {"authors"} and (part.authors[:1], part.year) in listed:
            continue
        said = tuple(getattr(part, name) for name in (*SAID, "year", "venue"))
        kept.setdefault(said, part)
    return list(kept.values())
