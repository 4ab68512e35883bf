"""What cannot be asked, taught or measured is one error, that names what was found: the tools for what a model knows."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from planish.cli.main import main
from planish.models.fetch import SHIPPED

MODEL = str(SHIPPED / "wind-tunnel")
QUESTION = {"prompt": "Where was Ada born?", "answers": ["London"], "about": {"relation": "birth"}}
DEMONSTRATION = {"prompt": "Where was Ada born?", "completion": "London"}
FILES: dict[str, list[Any]] = {
    "questions.jsonl": [QUESTION],
    "wordless.jsonl": [{**QUESTION, "answers": ["..."]}],
    "unanswered.jsonl": [{**QUESTION, "answers": []}],
    "many_lines.jsonl": [{**QUESTION, "answers": ["London\nEngland"]}],
    "rows.jsonl": [DEMONSTRATION],
    "facts.jsonl": [{**DEMONSTRATION, "facts": "London"}],
    "prompts.jsonl": [{"prompt": "Where was Ada born?"}],
    "empty.jsonl": [],
    "works.jsonl": [{"title": "On sums", "authors": "Ada Lee", "year": 2001}],
    "titleless.jsonl": [{"pages": 3}],
}
KNOW, TEACH = ["know", MODEL], ["data", "teach"]
ASK, CITE, CONVERT = ["evaluate", "knowledge", MODEL], ["evaluate", "citations"], ["data", "convert"]
TO = ["--out", "out.jsonl"]
PICK = [*CONVERT, "questions.jsonl", *TO]
TAUGHT = [*TEACH, "rows.jsonl", "--model", MODEL, *TO]

CASES: dict[str, tuple[list[str], str]] = {
    "no file": ([*KNOW, "none.jsonl", *TO], "none.jsonl"),
    "an empty file": ([*KNOW, "empty.jsonl", *TO], "empty.jsonl"),
    "prompts in place of questions": ([*KNOW, "prompts.jsonl", *TO], "prompts.jsonl"),
    "an answer of several lines": ([*KNOW, "many_lines.jsonl", *TO, "probe.shots=1"], "has several lines"),
    "too few shots": ([*KNOW, "questions.jsonl", *TO], "other questions of relation 'birth'"),
    "no temperature": ([*KNOW, "questions.jsonl", *TO, "probe.temperature=0"], "probe.temperature"),
    "a form without a question": ([*KNOW, "questions.jsonl", *TO, "probe.question_form='Say'"], "needs {question}"),
    "a method that is none": ([*KNOW, "questions.jsonl", *TO, "probe.method=guess"], "probe.method"),
    "questions written over": ([*KNOW, "questions.jsonl", "--out", "questions.jsonl"], "write over"),
    "an answer without words": ([*ASK, "wordless.jsonl", *TO], "row 1: has no right answer with words"),
    "a field that no question has": ([*ASK, "questions.jsonl", *TO, "--by", "topic"], "by=topic"),
    "words that are not there": ([*ASK, "questions.jsonl", *TO, "abstentions=none.txt"], "none.txt"),
    "samples below none": ([*ASK, "questions.jsonl", *TO, "confidence.samples=-1"], "confidence.samples"),
    "samples without chance": ([*ASK, "questions.jsonl", *TO, "confidence.temperature=0"], "confidence.temperature"),
    "an unknown measure": ([*ASK, "questions.jsonl", *TO, "confidence.shure=true"], "did you mean 'confidence.sure'"),
    "no room for the answer": ([*ASK, "questions.jsonl", *TO, "max_completion_tokens=99999"], "max_completion_tokens"),
    "a model before that is none": ([*ASK, "questions.jsonl", *TO, "--before", "none"], "none"),
    "a policy that is none": ([*TAUGHT, "policy=forget"], "policy"),
    "wordings that are not there": ([*TAUGHT, "wordings=none.txt"], "none.txt"),
    "facts of no field": ([*TAUGHT, "facts.field=facts"], "row 1: has no field `facts`"),
    "facts that are a text": ([*TEACH, "facts.jsonl", "--model", MODEL, *TO, "facts.field=facts"], "expected a list of facts"),
    "a function that is none": ([*TAUGHT, "facts.function=support.facts_function:nothing"], "has no nothing"),
    "rows written no times": ([*TAUGHT, "maybe_known=0"], "maybe_known"),
    "rows written over": ([*TEACH, "rows.jsonl", "--model", MODEL, "--out", "rows.jsonl"], "write over"),
    "no bibliography": ([*CITE, "rows.jsonl", "--bibliography", "none.bib", *TO], "none.bib"),
    "works without a title": ([*CITE, "rows.jsonl", "--bibliography", "titleless.jsonl", *TO], "titleless.jsonl"),
    "a class that no row has": ([*PICK, "where={relation: [death]}"], "`where` is"),
    "parts by no field": ([*PICK, "limit=1", "by=topic"], "by=topic: no question has this field"),
    "a limit of nothing": ([*PICK, "limit=0"], "limit"),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_what_cannot_be_done_is_one_error(case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name, rows in FILES.items():
        (tmp_path / name).write_text("".join(json.dumps(row) + "\n" for row in rows))
    before = {path.name for path in tmp_path.iterdir()}
    words, expected = CASES[case]
    with pytest.raises(SystemExit) as ended:
        main(words)
    message = str(ended.value.code)
    assert message.startswith("planish: ")
    assert expected in message
    assert "\n" not in message
    assert "out.jsonl" not in {path.name for path in tmp_path.iterdir()} - before
