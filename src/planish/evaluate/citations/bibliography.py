"""The works that exist: a bibliography from BibTeX, CSV, JSON lines (CSL too), or the facts of a wind tunnel's world."""

from __future__ import annotations

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from planish.base.errors import DataError
from planish.data.files.readers import Record, read
from planish.data.files.text import check_regular, read_text
from planish.evaluate.citations.bibtex import BibtexEntry, plain, read_bibtex, split_names
from planish.evaluate.citations.references import Reference, arxiv_in, doi_in, first_reference

FOLDED = str.maketrans({"ø": "o", "ł": "l", "ß": "ss", "æ": "ae", "œ": "oe", "đ": "d", "ð": "d", "þ": "th", "ı": "i"})
UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "ø": "oe", "å": "aa"})
NAMES = {
    "key": ("key", "id", "citation_key", "citationkey", "entity"),
    "title": ("title",),
    "authors": ("authors", "author"),
    "year": ("year", "date", "issued", "publication_year", "published"),
    "venue": ("venue", "journal", "journaltitle", "booktitle", "container-title", "publisher"),
    "doi": ("doi",),
    "arxiv": ("arxiv", "arxiv_id", "eprint"),
    "number": ("number", "ref", "index"),
    "citation": ("citation", "reference", "value"),
}
PARTICLE = re.compile(r"[a-z'’]+")


def fold(text: str) -> str:
    """The words of a text in small letters, without accents and punctuation: for comparing."""
    bare = unicodedata.normalize("NFKD", text.lower().replace("&", " and ").translate(FOLDED))
    bare = "".join(mark for mark in bare if not unicodedata.combining(mark))
    return " ".join(re.findall(r"[^\W_]+", re.sub(r"['’]", "", bare)))


def spellings(surname: str) -> set[str]:
    """The ways in which a surname is written: without particles, and with two letters for an umlaut."""
    names = {fold(surname), fold(surname.lower().translate(UMLAUTS))}
    return names | {name.split(" ")[-1] for name in names}


@dataclass(frozen=True, slots=True)
class CitedWork:
    """A work that can be cited. `authors` are surnames; `more` says that the bibliography does not name all of them, and
    `whole` that a reference must say everything: a record of the wind tunnel is all of "Abel & Borin (1957), Vortis"."""

    key: str
    authors: tuple[str, ...] = ()
    more: bool = False
    year: int | None = None
    title: str = ""
    venue: str = ""
    doi: str = ""
    arxiv: str = ""
    number: str = ""
    whole: bool = False

    @property
    def main_title(self) -> str:
        return fold(re.split(r"[:?.] |: ?", self.title)[0])


@dataclass(frozen=True, slots=True)
class Bibliography:
    """All works, and where they are by each thing that a reference can say."""

    works: Sequence[CitedWork]
    by: Mapping[str, Mapping[str, Sequence[CitedWork]]] = field(default_factory=dict[str, Any])

    @staticmethod
    def of(works: Iterable[CitedWork]) -> Bibliography:
        by: dict[str, dict[str, list[CitedWork]]] = defaultdict(lambda: defaultdict(list))
        works = list(works)
        for work in works:
            for name, values in _indexed(work).items():
                for value in values - {""}:
                    by[name][value].append(work)
        return Bibliography(works, by)

    def find(self, name: str, value: str) -> Sequence[CitedWork]:
        return self.by.get(name, {}).get(value, ())


def _indexed(work: CitedWork) -> dict[str, set[str]]:
    return {
        "doi": {work.doi},
        "arxiv": {work.arxiv},
        "key": {work.key},
        "number": {work.number},
        "title": {fold(work.title), work.main_title},
        "word": set(fold(work.title).split()),
        "author": spellings(work.authors[0]) if work.authors else set(),
    }


def read_bibliography(path: str) -> Bibliography:
    """The works of a file: .bib, or whatever is read record by record, of which wind tunnels' facts give their records alone."""
    name = str(path)
    if re.search(r"\.bib(\.gz|\.zst)?$", name.lower()):
        if not Path(path).is_file():
            raise DataError(f"{name}: no such file. The path is relative to {Path.cwd()}.")
        check_regular(Path(path), name)
        entries = read_bibtex("".join(read_text(Path(path), name)), name)
        works = [_of_entry(entry) for entry in entries if entry.kind not in ("set", "xdata")]
        works = [work for work in works if work.authors or work.title or work.doi or work.arxiv]
    else:
        works = [work for record in read(path) if (work := _of_record(record)) is not None]
    if not works:
        raise DataError(f"{name}: holds no work that could be cited. Expected entries with a title, authors or a DOI.")
    return Bibliography.of(works)


def _of_entry(entry: BibtexEntry) -> CitedWork:
    value = {name: plain(text) for name, text in entry.fields.items()}
    names = split_names(entry.fields.get("author") or entry.fields.get("editor", ""))
    everything = " ".join(value.get(name, "") for name in ("doi", "url", "journal", "note", "howpublished"))
    eprint = value.get("eprint", "")
    return CitedWork(
        key=entry.key,
        authors=tuple(_surname(name) for name in names if name != "others"),
        more="others" in names,
        year=_year(value.get("year") or value.get("date", "")),
        title=value.get("title", ""),
        venue=next((value[name] for name in NAMES["venue"] if value.get(name)), ""),
        doi=doi_in(value.get("doi", "")) or doi_in(value.get("url", "")),
        arxiv=arxiv_in(f"arXiv:{eprint}") or arxiv_in(everything),
    )


def _surname(name: str) -> str:
    """`Knuth, Donald` and `Donald E. Knuth` are Knuth, `Ludwig van Beethoven` is van Beethoven, `{Royal Society}` is whole."""
    if name.startswith("{") and name.endswith("}") and "," not in name:
        return plain(name)
    text = plain(name)
    if "," in text:
        return text.split(",")[0].strip()
    words = text.split()
    start = len(words) - 1
    while start > 1 and PARTICLE.fullmatch(words[start - 1]):
        start -= 1
    return " ".join(words[start:])


def _of_record(record: Record) -> CitedWork | None:
    """The work of a row; None for a fact of a world that is no record."""
    if not isinstance(record.value, dict):
        raise DataError(f"{record.origin}: found {record.value!r:.40}, expected a work with its fields.")
    row = {str(name).lower(): value for name, value in cast(dict[Any, Any], record.value).items()}
    if "relation" in row and row["relation"] != "record":
        return None
    told = {ours: next((row[name] for name in names if row.get(name)), "") for ours, names in NAMES.items()}
    authors, more = _authors(told["authors"])
    text = {name: "; ".join(map(str, value)) if isinstance(value, list) else str(value) for name, value in told.items()}
    work = CitedWork(
        key=text["key"],
        authors=authors,
        more=more,
        year=_year(str(told["year"])),
        title=text["title"],
        venue=text["venue"],
        doi=doi_in(text["doi"]),
        arxiv=arxiv_in(f"arXiv:{text['arxiv'].lower().removeprefix('arxiv:')}"),
        number=text["number"].strip("[]. "),
    )
    if work.authors or work.title or work.doi or work.arxiv:
        return work
    if (found := first_reference(text["citation"])) is not None:
        return _of_text(work.key or text["citation"], found, "relation" in row)
    raise DataError(
        f"{record.origin}: found the fields {', '.join(row)}, which name no work. Expected one of title, authors, doi, arxiv, or "
        "a citation as text."
    )


def _of_text(key: str, found: Reference, whole: bool) -> CitedWork:
    return CitedWork(
        key,
        found.authors,
        found.et_al,
        found.year,
        found.title,
        found.venue,
        found.doi,
        found.arxiv,
        found.number,
        whole,
    )


def _authors(value: Any) -> tuple[tuple[str, ...], bool]:
    """Surnames from a list of texts or of CSL's names, or from a text of names with `and` or semicolons between them."""
    if isinstance(value, list):
        names = [_name(item) for item in cast(list[Any], value)]
    else:
        text = str(value)
        names = [
            part.strip() for part in (text.split(";") if ";" in text else split_names(text.replace(" & ", " and ")))
        ]
        if len(names) == 1 and names[0].count(",") > 1:  # "Ada Lovelace, Charles Babbage, Mary Somerville"
            names = [part.strip() for part in names[0].split(",")]
    more = any(name.lower().rstrip(".") in ("others", "et al") for name in names)
    kept = [name for name in names if name and name.lower().rstrip(".") not in ("others", "et al")]
    return tuple(_surname(name) for name in kept), more


def _name(item: Any) -> str:
    if not isinstance(item, dict):
        return str(item)
    name = cast(dict[str, Any], item)
    particle = name.get("non-dropping-particle") or name.get("dropping-particle") or ""
    return (
        f"{particle} {name['family']},".strip()
        if name.get("family")
        else "{%s}" % (name.get("literal") or name.get("name"))
    )


def _year(text: str) -> int | None:
    match = re.search(r"(?<!\d)\d{4}(?!\d)", text)
    return int(match[0]) if match else None
