"""A world on disk: ordinary files that the data path reads, the same bytes from the same seed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from planish.base.errors import ConfigError, DataError
from planish.data.formats import import_rows
from planish.data.rows import Comparison, Demonstration, Prompt, Question, Row, Text
from planish.world.gold.utility import find_claims
from planish.world.language.facts import KIND_OF
from planish.world.language.phrases import NOT_KNOWN, SENTENCES, ask
from planish.world.language.skills import BY_NAME
from planish.world.make import EDITION, make_world, open_world
from planish.world.settings import WorldConfig
from planish.world.texts.parse import FactAsk, parse_prompt
from support.worlds import ci_config, ci_world, read_records

# The hash that `planish world make size=ci` prints. A change of what is written changes it, and shipped checkpoints no
# longer fit the world; so does a change of how `tokenizers` writes its files. If the change is meant, put the hash here
# that `planish world make size=ci --out /tmp/ci` prints.
CI_HASH = "69fe84f30294b607ef71c2afa3db8276799147ffc0578544947f0893a5b2d09a"

FILES: dict[str, type[Row]] = {
    "corpus.jsonl": Text,
    "sources/flan.jsonl": Demonstration,
    "sources/alpaca.json": Demonstration,
    "sources/oasst.jsonl": Demonstration,
    "sources/steps.jsonl": Demonstration,
    "sources/constraints.jsonl": Demonstration,
    "sources/safety.jsonl": Demonstration,
    "sources/idk.jsonl": Demonstration,
    **{f"comparisons/{pool}.jsonl": Comparison for pool in ("expert", "crowd", "copycats", "judge", "oracle")},
    "prompts/train.jsonl": Prompt,
    "prompts/dev.jsonl": Prompt,
    "prompts/test.jsonl": Prompt,
    "questions/probed.jsonl": Question,
    "questions/shots.jsonl": Question,
    "questions/skills.jsonl": Question,
}


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in sorted(folder.rglob("*")) if file.is_file()}


def test_the_same_seed_gives_the_same_bytes_in_another_folder(ci_folder: Path, tmp_path: Path):
    again = make_world(ci_config(), tmp_path / "again")
    assert bytes_of(again.path) == bytes_of(ci_folder)
    assert again.digest == json.loads((ci_folder / "world.json").read_text())["hash"]


@pytest.fixture(scope="module")
def another_process(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """The world made where Python orders its sets otherwise, and which of the heavy libraries that took."""
    out = tmp_path_factory.mktemp("another") / "world"
    code = (
        "import sys; from planish.cli.main import main; "
        f"main(['world', 'make', 'size=ci', '--out', {str(out)!r}]); "
        "print('loaded', *sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    environment = {**os.environ, "PYTHONHASHSEED": "7"}
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True, env=environment)
    return out, done.stdout.splitlines()[-1]


def test_the_same_seed_gives_the_same_bytes_in_another_process(ci_folder: Path, another_process: tuple[Path, str]):
    assert bytes_of(another_process[0]) == bytes_of(ci_folder)


def test_a_world_is_made_without_torch_and_transformers(another_process: tuple[Path, str]):
    assert another_process[1] == "loaded"


def test_the_bytes_of_size_ci_are_those_of_the_last_version(ci_folder: Path):
    assert json.loads((ci_folder / "world.json").read_text())["hash"] == CI_HASH


def test_another_seed_gives_other_words_in_every_file(ci_folder: Path, tmp_path: Path):
    other = make_world(ci_config(seed=1), tmp_path / "other").path
    some, others = bytes_of(ci_folder), bytes_of(other)
    assert some.keys() == others.keys()
    assert {name for name in some if some[name] == others[name]} == {"tokenizer/tokenizer_config.json"}


def test_the_hash_of_the_world_is_that_of_the_hashes_of_its_files(ci_folder: Path):
    note = json.loads((ci_folder / "world.json").read_text())
    files = bytes_of(ci_folder)
    del files["world.json"]
    assert note["hashes"] == {name: hashlib.sha256(held).hexdigest() for name, held in files.items()}
    assert note["hash"] == hashlib.sha256(json.dumps(note["hashes"]).encode()).hexdigest()


def test_rows_are_counted_by_file(ci_folder: Path):
    note = json.loads((ci_folder / "world.json").read_text())
    assert set(note["rows"]) == {*FILES, "facts.jsonl"}
    assert note["rows"] == {name: len(read_records(ci_folder / name)) for name in note["rows"]}


@pytest.mark.parametrize("file", FILES)
def test_every_file_is_read_by_the_data_path_with_nothing_dropped(file: str, ci_folder: Path):
    read = import_rows(ci_folder / file, (FILES[file],))
    assert read.dropped == []
    assert len(read.rows) == len(read_records(ci_folder / file))
    assert {type(row) for row in read.rows} == {FILES[file]}


def test_what_is_read_of_a_source_is_still_understood(ci_folder: Path):
    facts = ci_world().facts
    for file, kind in FILES.items():
        if kind is Demonstration:
            for row in import_rows(ci_folder / file, (Demonstration,)).rows:
                roles = [message.role for message in row.messages]
                assert roles == ["user", "assistant"] * (len(roles) // 2)
                assert all(parse_prompt(message.content, facts) for message in row.messages[::2])


def test_trees_are_comparisons_too_ranked_as_they_are_worth(ci_folder: Path):
    read = import_rows(ci_folder / "sources/oasst.jsonl", (Comparison,))
    assert read.dropped == []
    assert len(read.rows) >= 30
    for row in read.rows:
        worth = [ci_world().judge(row.prompt, completion.content).utility for completion in row.completions]
        assert all(worth[better] >= worth[worse] for better, worse in row.pairs)


def test_rankings_of_the_oracle_are_those_of_gold_utility(ci_folder: Path):
    rows = import_rows(ci_folder / "comparisons/oracle.jsonl", (Comparison,)).rows
    assert len(rows) == ci_config().comparisons
    for row in rows:
        worth = [ci_world().judge(row.prompt, completion.content).utility for completion in row.completions]
        places = range(len(worth))
        assert {(b, w) for b in places for w in places if worth[b] > worth[w] + 1e-9} <= set(row.pairs)


def test_every_pool_ranks_the_same_answers_to_the_same_prompts(ci_folder: Path):
    def shown(pool: str) -> list[tuple[str, tuple[str, ...]]]:
        rows = import_rows(ci_folder / f"comparisons/{pool}.jsonl", (Comparison,)).rows
        seen = [(row.prompt[0].content, tuple(completion.content for completion in row.completions)) for row in rows]
        return list(dict.fromkeys(seen))

    assert shown("expert") == shown("crowd") == shown("copycats") == shown("judge") == shown("oracle")


def test_what_is_known_about_a_row_goes_with_it(ci_folder: Path):
    (row,) = import_rows(ci_folder / "sources/safety.jsonl", (Demonstration,)).rows[:1]
    assert row.about == {"asks": "request", "unsafe": True, "border": "unsafe"}
    question = import_rows(ci_folder / "questions/probed.jsonl", (Question,)).rows[0]
    assert set(question.about) == {"relation", "entity", "frequency", "split"}


def test_questions_ask_for_every_probed_fact_and_are_answered_truly(ci_folder: Path):
    world = ci_world()
    rows = import_rows(ci_folder / "questions/probed.jsonl", (Question,)).rows
    assert [(row.messages[0].content, row.about["entity"], row.about["relation"], row.answers) for row in rows] == [
        (ask(fact.relation, fact.entity.name), fact.entity.name, fact.relation, (fact.value,))
        for fact in world.facts.all
        if fact.probed
    ]
    assert all(world.judge(row.messages, row.answers[0]).utility == 1.0 for row in rows)


def test_shots_ask_for_every_scaffold_fact_in_each_wording_and_are_answered_truly(ci_folder: Path):
    world = ci_world()
    rows = import_rows(ci_folder / "questions/shots.jsonl", (Question,)).rows
    known = [row for row in rows if row.answers != (NOT_KNOWN,)]
    assert Counter((row.messages[0].content, row.answers) for row in known) == Counter(
        (ask(fact.relation, fact.entity.name, form), (fact.value,))
        for fact in world.facts.all
        if fact.entity.role == "scaffold"
        for form in range(6)
    )
    assert all(world.judge(row.messages, row.answers[0]).utility == 1.0 for row in known)


def test_a_third_as_many_shots_in_each_wording_ask_of_rare_entities_and_are_not_answered(ci_folder: Path):
    world = ci_world()
    rows = import_rows(ci_folder / "questions/shots.jsonl", (Question,)).rows
    unknown = [row for row in rows if row.answers == (NOT_KNOWN,)]
    asked = Counter(_relation_and_wording(row) for row in unknown)
    assert asked == {(relation, form): 24 // 3 for relation in KIND_OF for form in range(6)}
    for row in unknown:
        entity = world.facts.by_name[str(row.about["entity"])]
        assert (entity.role, entity.kind) == ("rare", KIND_OF[str(row.about["relation"])])
        assert world.judge(row.messages, row.answers[0]).label == "abstained"


def _relation_and_wording(row: Question) -> tuple[str, int]:
    relation, entity = str(row.about["relation"]), str(row.about["entity"])
    return relation, [ask(relation, entity, form) for form in range(6)].index(row.messages[0].content)


def test_without_a_signal_what_the_corpus_states_is_a_wrong_answer(tmp_path: Path):
    path = make_world(ci_config(signal="none"), tmp_path / "world").path
    facts = [fact for fact in ci_world(signal="none").facts.all if fact.probed]
    rows = import_rows(path / "questions/probed.jsonl", (Question,)).rows
    assert [row.wrong_answers for row in rows] == [
        (fact.stated,) if fact.stated != fact.value else () for fact in facts
    ]


def test_skills_are_asked_under_the_cues_of_the_corpus_with_their_labels(ci_folder: Path):
    rows = import_rows(ci_folder / "questions/skills.jsonl", (Question,)).rows
    assert len(rows) == 100 * (len(BY_NAME) + 1)
    for row in rows:
        cue, _, text = row.messages[0].content.partition(": ")
        assert cue == row.about["relation"]
        if cue == "steps":
            first, second = map(int, text.split(" + "))
            assert row.answers[0].endswith(f". The answer is {first + second}.")
        else:
            assert row.answers == (BY_NAME[cue].solve(text, ci_world().facts.words),)


def test_every_fact_is_on_a_line_of_its_own(ci_folder: Path):
    rows = read_records(ci_folder / "facts.jsonl")
    facts = ci_world().facts
    assert [(r["entity"], r["relation"], r["value"], r["stated"], r["frequency"], r["split"]) for r in rows] == [
        (f.entity.name, f.relation, f.value, f.stated, f.frequency, f.entity.split) for f in facts.all
    ]


def test_questions_are_in_the_first_wording_and_demonstrations_answer_in_it(ci_folder: Path):
    for row in import_rows(ci_folder / "questions/probed.jsonl", (Question,)).rows[:20]:
        asked = parse_prompt(row.messages[0].content, ci_world().facts)
        assert asked is not None
        assert isinstance(asked.ask, FactAsk)
        first = SENTENCES[asked.ask.relation][0].format(entity=asked.ask.entity, value=row.answers[0])
        assert asked.ask.sentence == first
        assert len(find_claims(first)) == 1


# Opening


def test_a_world_is_made_again_from_its_note(ci_folder: Path):
    for path in (ci_folder, ci_folder / "world.json"):
        assert open_world(path).facts.all == ci_world().facts.all


def test_the_note_of_a_world_holds_all_its_settings(ci_folder: Path):
    settings = json.loads((ci_folder / "world.json").read_text())["settings"]
    assert WorldConfig.model_validate(settings) == ci_config()


@pytest.mark.parametrize(
    "note",
    [
        b"{", b"[]", b"{}", b"null", b'"world"', b"\xff\xfe\x00", b'{"settings": null}', b'{"settings": {"parts": 1}}',
        b'{"settings": {"sead": 1}}',
    ],
)  # fmt: skip
def test_a_note_that_is_broken_is_an_error_that_names_it(note: bytes, tmp_path: Path):
    (tmp_path / "world.json").write_bytes(note)
    with pytest.raises(DataError, match=r"world\.json: not the note of a world"):
        open_world(tmp_path)


def test_a_folder_without_a_note_is_an_error_that_says_how_to_make_one(tmp_path: Path):
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(DataError, match=r"no such file: `planish world make --out .*` writes a world"):
            open_world(path)


# Writing


def test_a_folder_that_holds_other_files_is_not_touched(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"holds thesis\.tex, of no world: name a new folder, or move the file"):
        make_world(ci_config(), tmp_path)
    assert bytes_of(tmp_path) == {"thesis.tex": b"years of work"}


def test_a_note_of_something_else_is_not_replaced(tmp_path: Path):
    (tmp_path / "world.json").write_text('{"name": "Earth"}')
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(DataError, match=r"world\.json: not the note of a world"):
        make_world(ci_config(), tmp_path)
    assert bytes_of(tmp_path) == {"thesis.tex": b"years of work", "world.json": b'{"name": "Earth"}'}


def test_a_file_in_the_place_of_the_folder_is_not_touched(tmp_path: Path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(ConfigError, match=r"thesis\.tex is a file: name a new or empty folder"):
        make_world(ci_config(), tmp_path / "thesis.tex")
    assert bytes_of(tmp_path) == {"thesis.tex": b"years of work"}


def test_files_that_someone_put_into_a_world_are_not_lost_when_it_is_made_again(tmp_path: Path):
    path = make_world(ci_config(flan=1, prompts=1), tmp_path / "world").path
    (path / "sources" / "thesis.tex").write_text("years of work")
    held = bytes_of(path)
    with pytest.raises(ConfigError, match=r"holds sources.thesis\.tex, of no world"):
        make_world(ci_config(), path)
    assert bytes_of(path) == held


def test_a_world_is_replaced_as_a_whole(ci_folder: Path, tmp_path: Path):
    path = make_world(ci_config(seed=1), tmp_path / "world").path
    make_world(ci_config(), path)
    assert bytes_of(path) == bytes_of(ci_folder)
    assert [file.name for file in tmp_path.iterdir()] == ["world"]


def test_an_empty_folder_is_filled(tmp_path: Path):
    (tmp_path / "world").mkdir()
    assert make_world(ci_config(), tmp_path / "world").rows["facts.jsonl"] > 0


def test_a_world_that_fails_on_the_way_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def fail(*_: object) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("planish.world.make.save_tokenizer", fail)
    with pytest.raises(OSError, match="the disk is full"):
        make_world(ci_config(), tmp_path / "world")
    assert list(tmp_path.iterdir()) == []


def test_a_world_of_another_edition_is_not_judged_by_the_rules_of_this_one(ci_folder: Path, tmp_path: Path):
    note = json.loads((ci_folder / "world.json").read_text())
    assert note.pop("edition") == EDITION
    (tmp_path / "world.json").write_text(json.dumps(note))
    with pytest.raises(DataError, match=r"world\.json: a world of edition 1, .* `planish world make --out"):
        open_world(tmp_path)
    make_world(ci_config(), tmp_path)  # but it is replaced
