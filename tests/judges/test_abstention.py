"""Abstentions found in answers: how often the rules err, on sentences made by hand and on a chat model's answers."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from planish.base.errors import ConfigError
from planish.evaluate.probe.teach import WORDINGS
from planish.judges.abstention import AbstentionDetector, abstention_detector
from planish.statistics.estimate import estimate_text, wilson

HERE, ROOT = Path(__file__).parent, Path(__file__).parents[2]
HALUEVAL = ROOT.parent / "shared" / "data" / "halueval" / "general_data.json.gz"
DETECTOR = AbstentionDetector()


def labelled(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (HERE / name).read_text(encoding="utf-8").splitlines()]


def row_of_the_page(name: str, judged: list[tuple[bool, bool]]) -> str:
    """The row of the confusion table, from (abstains, found) of each text."""
    cells = [judged.count(pair) for pair in ((True, True), (True, False), (False, True), (False, False))]
    found, missed, false, left = cells
    recall, precision = wilson(found, found + missed), wilson(found, found + false)
    words = (estimate_text(share, ".0%") for share in (recall, precision))
    return " | ".join((f"| {name}", *map(str, (found, missed, false, left)), *words)) + " |"


def assert_on_the_page(row: str) -> None:
    assert row in (ROOT / "docs" / "knowledge.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("language", "name"), [("en", "by hand, English"), ("de", "by hand, German")])
def test_the_page_has_the_confusion_of_sentences_by_hand(language: str, name: str):
    rows = [row for row in labelled("abstentions.jsonl") if row["language"] == language]
    judged = [(bool(row["abstains"]), DETECTOR(str(row["text"]))) for row in rows]
    assert_on_the_page(row_of_the_page(name, judged))
    assert sum(said == found for said, found in judged) / len(judged) > 0.95


@pytest.mark.skipif(not HALUEVAL.exists(), reason="needs the shared data: halueval/general_data.json.gz")
@pytest.mark.parametrize(("odd", "name"), [(0, "real, even rows (tuned on)"), (1, "real, odd rows")])
def test_the_page_has_the_confusion_of_real_answers(odd: int, name: str):
    lines = gzip.decompress(HALUEVAL.read_bytes()).decode().splitlines()
    texts = [json.loads(line)["chatgpt_response"] for line in lines]
    rows = [row for row in labelled("abstentions_halueval.jsonl") if int(str(row["row"])) % 2 == odd]
    assert_on_the_page(
        row_of_the_page(name, [(bool(row["abstains"]), DETECTOR(texts[int(str(row["row"]))])) for row in rows])
    )


def test_every_wording_that_models_are_taught_is_found():
    assert [text for text in WORDINGS if not DETECTOR(text)] == []


def test_an_answer_that_follows_counts_and_a_pointer_to_one_does_not():
    assert not DETECTOR("I don't have access to live data. However, it was 0.75% in 2020.")
    assert DETECTOR("I don't have access to live data. However, you can ask the World Bank.")


def test_quoted_words_are_somebody_elses_unless_all_is_quoted():
    assert not DETECTOR('He wrote "I do not know" in 1900.')
    assert DETECTOR('"I do not know."')


def test_a_text_that_says_much_more_is_no_abstention():
    assert not DETECTOR("I do not know. " + "It rains in the north, and the hills are green. " * 8)


def test_words_of_ones_own_are_added_by_a_file(tmp_path: Path):
    (tmp_path / "words.txt").write_text("Je ne sais pas\n\n", encoding="utf-8")
    detector = abstention_detector(str(tmp_path / "words.txt"))
    assert (detector("Hélas, je ne sais pas."), detector("Paris.")) == (True, False)
    assert not DETECTOR("Hélas, je ne sais pas.")


def test_a_file_of_words_that_cannot_be_read_is_named():
    with pytest.raises(ConfigError, match=r"abstentions=nowhere.txt: cannot be read"):
        abstention_detector("nowhere.txt")
