"""References found in answers and matched against a bibliography: each kind by hand, the rates, and the wind tunnel's records."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from planish.base.errors import ConfigError, DataError
from planish.cli.main import main
from planish.data.rows import Demonstration, Message, Origin
from planish.evaluate.citations.bibliography import Bibliography, CitedWork, fold, read_bibliography
from planish.evaluate.citations.bibtex import plain, read_bibtex, split_names
from planish.evaluate.citations.matching import match
from planish.evaluate.citations.references import distinct, find_references
from planish.evaluate.citations.run import CitationsConfig, citations, cited, rates_by
from planish.statistics.estimate import wilson
from planish.world.language.phrases import SHAPES
from support.worlds import ci_world, exchanges, source_records, world_records

LIBRARY = Path(__file__).parent / "library.bib"


@pytest.fixture(scope="module")
def library() -> Bibliography:
    return read_bibliography(str(LIBRARY))


def outcomes(text: str, works: Bibliography) -> list[tuple[str, str]]:
    """The outcome of each reference, with the key of its work, or else the reason."""
    references = distinct(find_references(text, lambda title: bool(works.find("title", fold(title)))))
    found = [match(reference, works) for reference in references]
    return [(one.outcome, one.works[0].key if one.works else one.reason) for one in found]


# Bibliographies


def test_a_bib_file_as_people_have_them(library: Bibliography):
    works = {work.key: work for work in library.works}
    assert list(works) == ["vaswani2017", "maaten2008", "erdos1960", "who2020", "muller1999", "notes", "engines"]
    assert works["vaswani2017"] == CitedWork(
        "vaswani2017", ("Vaswani", "Shazeer", "Parmar"), True, 2017, "Attention Is All You Need",
        "Advances in Neural Information Processing Systems, volume 30", arxiv="1706.03762",
    )  # fmt: skip
    assert works["maaten2008"].authors == ("van der Maaten", "Hinton")
    assert works["maaten2008"].title == "Visualizing Data using t-SNE"
    assert works["erdos1960"].authors == ("Erdős", "Rényi")
    assert works["erdos1960"].doi == "10.1515/9781400841356.38"
    assert works["who2020"].authors == ("World Health Organization",)
    assert works["who2020"].title == "Ethics & Governance of AI: WHO Guidance"
    assert works["muller1999"].authors == ("Müller", "Østergaard")
    assert works["notes"].year == 1843  # its crossref's
    assert works["notes"].venue == "Engines of Old"
    assert works["engines"].authors == ("Babbage",)


@pytest.mark.parametrize(
    ("written", "text"),
    [
        (r"Erd{\H{o}}s", "Erdős"),
        (r"{\'E}. \v{C}ech", "É. Čech"),
        (r"Gar\c{c}\~ao", "Garção"),
        (r"na{\"\i}ve", "naïve"),
        (r"{\AA}ngstr{\"o}m stra{\ss}e \L{}\'od\'z", "Ångström straße Łódź"),
        (r"\emph{A} {B}~C--D \& 5\%", "A B C–D & 5%"),
    ],
)
def test_accents_and_commands_of_latex_become_text(written: str, text: str):
    assert plain(written) == text


def test_names_are_parted_at_and_outside_braces():
    assert split_names("A. B and {Barnes and Noble} and\n C, D") == ["A. B", "{Barnes and Noble}", "C, D"]


def test_values_are_joined_and_macros_that_nobody_defines_stay():
    (entry,) = read_bibtex('@STRING{a = "x" # {y}} @misc(k, Title = a # " z", journal = unknown)', "f.bib")
    assert entry.fields == {"title": "xy z", "journal": "unknown"}


def test_tables_and_csl_are_read(tmp_path: Path):
    (tmp_path / "a.csv").write_text("id,Title,Authors,Year\nk1,A thing of note,Ann Lee; Bo Xu,2011\n")
    (tmp_path / "b.jsonl").write_text(
        '{"id": "k2", "author": [{"family": "Lee", "given": "Ann"}], "issued": {"date-parts": [[2012, 3]]}, "DOI": "10.1/ABC1"}\n'
        '{"number": 3, "reference": "Lee, A., & Xu, B. (2013). Another thing. Journal."}\n'.replace("10.1/", "10.1234/")
    )
    assert read_bibliography(str(tmp_path / "a.csv")).works == [
        CitedWork("k1", ("Lee", "Xu"), False, 2011, "A thing of note")
    ]
    csl, line = read_bibliography(str(tmp_path / "b.jsonl")).works
    assert (csl.authors, csl.year, csl.doi) == (("Lee",), 2012, "10.1234/abc1")
    assert (line.authors, line.year, line.title) == (("Lee", "Xu"), 2013, "Another thing")


# Each kind of reference

CASES: dict[str, list[tuple[str, str]]] = {
    # author and year
    "Vaswani et al. (2017) did, and others (van der Maaten & Hinton, 2008; see Erdős and Rényi 1960).": [
        ("exact", "vaswani2017"), ("exact", "maaten2008"), ("exact", "erdos1960"),
    ],
    "However, Mueller and Ostergaard (1999) disagree.": [("exact", "muller1999")],
    "Müller's (1999) view": [("altered", "muller1999")],  # one author of two
    "(Vaswani et al., 2018), (Vaswani et al., 2012)": [
        ("altered", "vaswani2017"), ("fabricated", "the entries of Vaswani are others, of 2017"),
    ],
    "Hinton & van der Maaten (2008)": [("fabricated", "no entry has Hinton as its first author")],
    "Erdős & Rényi (1960), Nature.": [("altered", "erdos1960")],
    "In May (2020) and in 2019 nothing was cited.": [],
    "Lovelace (1843) twice: (Lovelace, 1843)": [("exact", "notes")],
    # identifiers
    "See https://doi.org/10.1000/xyz(99)1, (doi:10.1515/9781400841356.38), 10.1234/none.5.": [
        ("exact", "muller1999"), ("exact", "erdos1960"), ("fabricated", "no entry has the DOI 10.1234/none.5"),
    ],
    "arXiv:1706.03762v5 and https://arxiv.org/abs/2401.00001": [
        ("exact", "vaswani2017"), ("fabricated", "no entry has the arXiv number 2401.00001"),
    ],
    r"\citep[p. 3]{maaten2008, nobody99} and [@who2020]": [
        ("exact", "maaten2008"), ("fabricated", "no entry has the key nobody99"), ("exact", "who2020"),
    ],
    # titles in quotes
    'The paper "Attention is all you need" is good. She said "never in my whole life".': [("exact", "vaswani2017")],
    "Read “On the evolution of random graphs”.": [("exact", "erdos1960")],
    'The article "Ethics and governance of AI" and "Engines of New", a book?': [("exact", "who2020")],
    'The book "Engines nobody ever built"': [("fabricated", "no entry has the title 'Engines nobody ever built'")],
    # parts of one reference
    'Erdős and Rényi (1960), "On the Evolution of Random Graphs", doi:10.1515/9781400841356.38': [("exact", "erdos1960")],
    "[Vaswani et al. (2017)](https://arxiv.org/abs/1706.03762)": [("exact", "vaswani2017")],
    "Müller, J., & Østergaard, S. (1999). The death of naïve Bayes. Nature.": [
        ("fabricated", "no entry has the title 'The death of naïve Bayes'; the entries of Müller are others, of 1999"),
    ],
    "Erdős and Rényi (1960), doi:10.1000/xyz(99)1": [("altered", "erdos1960")],
    # numbers and their list
    'As shown [1], and [2, 3].\n\nReferences\n[1] Vaswani, A., Shazeer, N., et al. (2017). Attention is all you need. NeurIPS.\n'
    '[2] L. van der Maaten and G. Hinton, "Visualizing data using t-SNE," JMLR, vol. 9, pp. 2579-2605, 2008.\n'
    "[3] Smith, J. (2019). A life of invention. Nature.": [
        ("exact", "vaswani2017"), ("exact", "maaten2008"),
        ("fabricated", "no entry has the title 'A life of invention'; no entry has Smith as its first author"),
    ],
    "Shown in [4-5] and `x[6]`.": [
        ("unchecked", "no list says what [4] is"), ("unchecked", "no list says what [5] is"),
    ],
    "It is so (Lovelace, 1843).\n\n## References\n- Ada Lovelace. Notes on the Engine. 1843.\n"
    "- Ashish Vaswani, Noam Shazeer, and Niki Parmar. Attention is all you want. 2017.": [
        ("exact", "notes"), ("altered", "vaswani2017"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("text", CASES, ids=lambda text: text[:30])
def test_references_are_found_and_matched(text: str, library: Bibliography):
    assert outcomes(text, library) == CASES[text]


def test_an_error_is_told_and_is_fabricated_if_strict(library: Bibliography):
    (reference,) = find_references("(Vaswani et al., 2018)")
    found, strict = match(reference, library), match(reference, library, strict=True)
    assert (found.outcome, found.reason) == ("altered", "the year is 2017, not 2018")
    assert (strict.outcome, strict.reason) == ("fabricated", "the year is 2017, not 2018")


def test_what_a_bibliography_has_of_no_work_is_not_checked():
    works = Bibliography.of([CitedWork("a", ("Lee",), year=2011)])
    assert outcomes("doi:10.1234/x1. It is so (Lee, 2011).", works) == [
        ("unchecked", "the bibliography has no DOI at all"), ("exact", "a"),
    ]  # fmt: skip


def test_numbers_of_the_bibliography_are_those_of_an_answer_without_a_list():
    works = Bibliography.of([CitedWork("a", ("Lee",), year=2011, number="4")])
    assert outcomes("As shown [4], [5].", works) == [("exact", "a"), ("fabricated", "no entry has the number 5")]


def test_names_alone_are_no_references():
    assert find_references("Abel, Borin, " * 1000 + "Abel Borin " * 1000 + "(" * 1000) == []


# Rates


def answer(text: str, row: int, **about: str) -> Demonstration:
    return Demonstration((Message("user", "?"), Message("assistant", text)), Origin("a.jsonl", row), about=about)


def test_rates_by_a_field_with_wilson_intervals(library: Bibliography):
    rows = [
        answer("(Lovelace, 1843), (Smith, 2001), [7]", 1, kind="x"),
        answer("No idea.", 2, kind="x"),
        answer("Smith (2001), Jones (2002), (Vaswani et al., 2018)", 3, kind="y"),
    ]
    x, y, every = rates_by([cited(row, library) for row in rows], "kind")
    assert [group.name for group in (x, y, every)] == ["x", "y", "all"]
    assert x.references == {"exact": 1, "altered": 0, "fabricated": 1, "unchecked": 1}
    assert (x.citing, x.fabricating) == (wilson(1, 2), wilson(1, 2))
    assert x.shares == {"exact": wilson(1, 2), "altered": wilson(0, 2), "fabricated": wilson(1, 2)}
    assert (y.citing, y.fabricating, y.shares["altered"]) == (wilson(1, 1), wilson(1, 1), wilson(1, 3))
    assert (every.answers, every.citing, every.shares["fabricated"]) == (3, wilson(2, 3), wilson(3, 5))


def test_without_references_there_is_no_share_of_them(library: Bibliography):
    (every,) = rates_by([cited(answer("No idea.", 1), library)])
    assert every.citing == wilson(0, 1)
    assert set(every.shares.values()) == {None}


# The wind tunnel


def jsonl(path: Path, records: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))
    return str(path)


def test_records_of_the_wind_tunnel_are_exact_or_fabricated_as_the_world_has_them(tmp_path: Path):
    facts = jsonl(tmp_path / "facts.jsonl", world_records()["facts.jsonl"])
    turns = [turn for name in ("alpaca", "oasst", "idk") for row in source_records(name) for turn in exchanges(row)]
    given = jsonl(tmp_path / "answers.jsonl", [{"prompt": prompt, "completion": text} for prompt, text in turns])
    out = tmp_path / "cited.jsonl"
    main(["evaluate", "citations", given, "--bibliography", facts, "--out", str(out), "strict=true"])
    true, written = ci_world().facts.records, [re.findall(SHAPES["record"], text) for _, text in turns]
    expected = [["exact" if record in true else "fabricated" for record in dict.fromkeys(own)] for own in written]
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert [[one["outcome"] for one in line["references"]] for line in lines] == expected
    assert sum(own.count("exact") for own in expected) > 10
    assert sum(own.count("fabricated") for own in expected) > 5
    assert json.loads((tmp_path / "cited.jsonl.json").read_text())["works"] == len(true)


def test_a_record_without_its_journal_is_not_exact(tmp_path: Path):
    record = {"relation": "record", "entity": "mosesk zemath", "value": "Viton & Slirorn (1972), Ratirk"}
    works = read_bibliography(
        jsonl(tmp_path / "facts.jsonl", [record, {**record, "relation": "meaning", "value": "x"}])
    )
    assert outcomes("It is Viton & Slirorn (1972), Ratirk.", works) == [("exact", "mosesk zemath")]
    assert outcomes("It is Viton & Slirorn (1972).", works) == [("altered", "mosesk zemath")]


# The command


def test_the_result_is_read_as_demonstrations_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    given = jsonl(
        tmp_path / "given.jsonl",
        [
            {
                "messages": [{"role": "user", "content": "Who?"}],
                "completion": "Lovelace (1843)",
                "ended": True,
                "step": 4,
            }
        ],
    )
    first, again = str(tmp_path / "one.jsonl"), str(tmp_path / "two.jsonl")
    found = citations(CitationsConfig(answers=given, bibliography=str(LIBRARY), by="step", out=first))
    (line,) = [json.loads(line) for line in Path(first).read_text().splitlines()]
    assert line["references"] == [
        {"text": "Lovelace (1843)", "form": "author-year", "start": 0, "outcome": "exact", "match": ["notes"], "reason": ""}
    ]  # fmt: skip
    groups = json.loads(Path(f"{first}.json").read_text())["groups"]
    assert list(groups) == ["4", "all"]
    assert groups["all"]["rates"]["citing"]["n"] == 1
    assert "that cite" in capsys.readouterr().out
    assert (
        citations(CitationsConfig(answers=first, bibliography=str(LIBRARY), out=again))[0].references
        == found[0].references
    )


ANSWERS = '{"prompt": "p", "completion": "Lovelace (1843)", "kind": "x"}\n'
BAD: dict[str, tuple[str, str, str]] = {  # bibliography, its name, what the error says
    "a quote that is not closed": ('@misc{a, title = "x}', "b.bib", "the entry 'a' of line 1: the quote of line 1 is not closed"),
    "a brace that is not closed": ("\n@misc{a,\n title = {x", "b.bib", "the brace of line 3 is not closed"),
    "an entry that is not closed": ("@misc{a, title = {x},", "b.bib", "found the end of the file, expected the name of a field"),
    "a comma that is missing": ("@misc{a, title = {x} year = 1999}", "b.bib", "found 'year = 1999}' behind the field 'title'"),
    "a field without a value": ("@misc{a, title = , }", "b.bib", "found ', }', expected a value in braces or quotes"),
    "a field without an equals sign": ("@misc{a, title {x}}", "b.bib", "behind the field 'title', expected '='"),
    "no comma behind the key": ("@misc{a title = {x}}", "b.bib", "behind the key, expected a comma"),
    "a bib file without entries": ("nothing here", "b.bib", "holds no work that could be cited"),
    "entries that name no work": ("@misc{a, note = {x}}", "b.bib", "holds no work that could be cited"),
    "a table without the fields of works": ("colour,size\nred,3\n", "b.csv", "b.csv row 1: found the fields colour, size"),
    "a row that is no object": ("3\n", "b.jsonl", "b.jsonl row 1: found 3, expected"),
    "an ending that is not read": ("x", "b.docx", "cannot read a file of this kind"),
    "an empty file": ("", "b.jsonl", "holds no record"),
    "text that is not UTF-8": ("@misc{a, title = {\udce9}}", "b.bib", "UTF-8"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
def test_a_bibliography_that_cannot_be_used_is_told(name: str, tmp_path: Path):
    text, file, message = BAD[name]
    (tmp_path / file).write_text(text, errors="surrogateescape")
    with pytest.raises(DataError, match=re.escape(message)):
        read_bibliography(str(tmp_path / file))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"by": "colour"}, "by=colour: no answer has this field; there are: kind"),
        ({"bibliography": "none.bib"}, "none.bib: no such file"),
        ({"answers": "none.jsonl"}, "none.jsonl: no such file"),
        ({"format": "csv"}, "unknown format 'csv'"),
    ],
)
def test_answers_that_cannot_be_used_are_told(changes: dict[str, str], message: str, tmp_path: Path):
    (tmp_path / "a.jsonl").write_text(ANSWERS)
    values = {
        "answers": str(tmp_path / "a.jsonl"),
        "bibliography": str(LIBRARY),
        "out": str(tmp_path / "o.jsonl"),
        **changes,
    }
    with pytest.raises((DataError, ConfigError), match=re.escape(message)):
        citations(CitationsConfig(**values))
    assert not (tmp_path / "o.jsonl").exists()


def test_a_file_that_is_read_is_not_written_over(tmp_path: Path):
    with pytest.raises(ValueError, match="would write over the file that is read"):
        CitationsConfig(answers="a.jsonl", bibliography="b.bib", out="b.bib")
    with pytest.raises(ValueError, match="is a folder, expected a file"):
        CitationsConfig(answers="a.jsonl", bibliography="b.bib", out=str(tmp_path))
