"""Comparisons as tokens: the prompt once, completions behind it, and the pairs there are to learn from."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from planish.base.errors import DataError
from planish.base.types import Choices, Example, pack, unshared
from planish.data.chat.defaults import CHATML
from planish.data.chat.templates import ChatTemplate, Encoded, MaskName
from planish.data.chat.tokenizer import load_tokenizer
from planish.data.examples import Encoding, Examples, encode_rows
from planish.data.mixture.pairs import ChoiceTable, join_completions, pairs_of
from planish.data.rows import Comparison, Message, Origin
from planish.data.settings import DataConfig
from planish.data.sources import Source, prepare_sources
from support.examples import example
from support.tokenizers import tiny_tokenizer

HERE = Origin("rows.jsonl", 1)


def asked(*completions: str, ranks: tuple[int, ...] | None = None, scores: tuple[float, ...] = ()) -> Comparison:
    """Answers to one question, ranked in their order unless told otherwise."""
    answers = tuple(Message("assistant", text) for text in completions)
    return Comparison((Message("user", "Who?"),), answers, ranks or tuple(range(len(answers))), HERE, scores)


def template_of(text: str = CHATML, mask: MaskName = "assistant") -> ChatTemplate:
    return ChatTemplate(tiny_tokenizer("<|im_start|>", "<|im_end|>", template=text), mask)


def encoding_of(row: Comparison, template: ChatTemplate, max_tokens: int = 256, too_long: Any = "error") -> Encoding:
    return encode_rows([row], template.tokenizer, template, max_tokens, too_long)


def said(template: ChatTemplate, some: Example) -> tuple[str, list[str]]:
    """The prompt and the completions of a comparison, in words."""
    assert some.choices is not None
    starts = (some.choices.prompt_length, *some.choices.ends)
    words = [template.tokenizer.decode(some.tokens[a:b]) for a, b in zip((0, *starts), starts, strict=False)]
    return words[0], words[1:]


# Laid out


def test_the_prompt_stands_once_and_what_the_template_writes_behind_a_turn_is_left_out() -> None:
    """Tokens reach over the edge of the prompt where an answer begins with "an" or "a"; there the text is cut first."""
    template = template_of()
    row = asked("an owl", "a", "nobody at all")
    laid = encoding_of(row, template).examples[0]
    prompt, completions = said(template, laid)
    assert prompt == "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\n"
    assert completions == ["an owl<|im_end|>", "a<|im_end|>", "nobody at all<|im_end|>"]
    assert laid.choices is not None
    assert laid.loss_mask.tolist() == [t >= laid.choices.prompt_length for t in range(len(laid))]


@pytest.mark.parametrize("mask", ["assistant", "last_turn", "all"])
def test_a_completion_ends_with_its_end_of_turn_token_whatever_is_learnt(mask: MaskName) -> None:
    template = template_of(mask=mask)
    row = replace(asked("an owl", "nobody"), prompt=tuple(Message(r, r) for r in ("user", "assistant", "user")))
    packed = unshared(pack([encoding_of(row, template).examples[0]]))
    ends = packed.tokens_T[packed.last_S].tolist()
    assert ends == [template.stop_token_id] * 2
    first = template.encode_prompt(row.prompt)
    learnt = [int(np.argmax(each.loss_mask)) for each in packed.examples]
    assert learnt == ([1, 1] if mask == "all" else [len(first), len(first)])


def test_a_prompt_that_is_written_differently_makes_the_shared_part_shorter_and_nothing_else() -> None:
    """Prompts of four tokens, of which the third differs; completions of two and of one."""
    rows = [[1, 2, 3, 4, 5, 6], [1, 2, 9, 4, 7]]
    laid, choices = join_completions((0, 1), [Encoded(np.array(ids), np.arange(len(ids)) >= 4) for ids in rows])
    assert laid.tokens.tolist() == [1, 2, 3, 4, 5, 6, 9, 4, 7]
    assert np.flatnonzero(laid.loss_mask).tolist() == [4, 5, 8]
    assert (choices.prompt_length, choices.ends) == (2, (6, 9))
    alone = unshared(pack([with_choices(laid, choices)])).examples
    assert [each.tokens.tolist() for each in alone] == rows
    assert [np.flatnonzero(each.loss_mask).tolist() for each in alone] == [[4, 5], [4]]


def test_where_nothing_is_shared_each_completion_brings_its_prompt() -> None:
    one, other = (Encoded(np.array(ids), np.array([False, True])) for ids in ([5, 6], [7, 8]))
    laid, choices = join_completions((1, 0), [one, other])
    assert (choices.prompt_length, choices.ends) == (0, (2, 4))
    assert [each.tokens.tolist() for each in unshared(pack([with_choices(laid, choices)])).examples] == [[5, 6], [7, 8]]


def with_choices(laid: Encoded, choices: Choices) -> Example:
    return Example(laid.tokens, laid.loss_mask, "", choices=choices)


def test_a_completion_that_another_begins_with_is_whole() -> None:
    """p is the prompt; a, and a b. Tokens: p p a | p p a b, learnt from place 2."""
    short, long = (Encoded(np.array(ids), np.arange(len(ids)) >= 2) for ids in ([1, 1, 5], [1, 1, 5, 6]))
    laid, choices = join_completions((0, 1), [short, long], (2.0, 1.0))
    assert laid.tokens.tolist() == [1, 1, 5, 5, 6]
    assert choices == Choices(2, (3, 5), (0, 1), (2.0, 1.0))


# Pairs


def laid_out(*ranks: tuple[int, ...], scores: tuple[float, ...] = ()) -> list[Example]:
    """Comparisons of one-token completions behind a prompt of two tokens."""
    return [
        replace(
            example(range(3, 5 + len(each)), range(2, 2 + len(each))),
            choices=Choices(2, tuple(range(3, 3 + len(each))), each, scores),
        )
        for each in ranks
    ]


def test_pairs_of_three_completions_with_a_tie() -> None:
    # Ranks 1, 0, 1: the second is better than the first and than the third; these two are tied. Two pairs, 1/2 each.
    pairs = pairs_of(pack(laid_out((1, 0, 1))))
    assert list(zip(pairs.better_P.tolist(), pairs.worse_P.tolist(), strict=True)) == [(1, 0), (1, 2)]
    assert pairs.weights_P.tolist() == [0.5, 0.5]


def test_four_ranked_completions_are_six_pairs_of_a_sixth_each() -> None:
    # The first comparison has two sequences, so those of the second are numbers 2 to 5; their ranks are 3, 2, 1, 0.
    pairs = pairs_of(pack(laid_out((0, 1), (3, 2, 1, 0))))
    found = list(zip(pairs.better_P.tolist(), pairs.worse_P.tolist(), strict=True))
    assert found == [(0, 1), (3, 2), (4, 2), (4, 3), (5, 2), (5, 3), (5, 4)]
    assert pairs.weights_P.tolist() == [1.0, *[1 / 6] * 6]


def test_r3_prompts_weigh_the_same_whatever_their_number_of_completions() -> None:
    weights_P = pairs_of(pack(laid_out(tuple(range(4)), tuple(range(9))))).weights_P
    assert len(weights_P) == 6 + 36
    assert weights_P[:6].sum().item() == pytest.approx(1, abs=1e-15)
    assert weights_P[6:].sum().item() == pytest.approx(1, abs=1e-15)


def test_margins_are_the_differences_of_the_annotators_own_scores() -> None:
    # Scores 5, 9, 6 with ranks 2, 0, 1: 9 - 5 = 4, 9 - 6 = 3, 6 - 5 = 1.
    pairs = pairs_of(pack(laid_out((2, 0, 1), scores=(5.0, 9.0, 6.0))))
    assert list(zip(pairs.better_P.tolist(), pairs.worse_P.tolist(), strict=True)) == [(1, 0), (1, 2), (2, 0)]
    assert pairs.score_gaps_P.tolist() == [4, 3, 1]
    assert pairs_of(pack(laid_out((2, 0, 1)))).score_gaps_P.tolist() == [0, 0, 0]


def test_a_row_without_examples_has_no_pairs() -> None:
    assert pairs_of(pack([])).weights_P.shape == (0,)


# Rows that are not learnt


def test_a_comparison_whose_completions_are_all_tied_is_dropped_and_listed(tiny_model: Path, tmp_path: Path) -> None:
    rows = [compared(f"say {i}", "yes", "no", ranks=[0, 0] if i == 3 else [0, 1]) for i in range(9)]
    source = prepared(tiny_model, tmp_path / "rows.jsonl", rows)
    reason = "its 2 completions are all tied: there is no pair to learn from"
    listed = source.account()["dropped"]
    assert listed == [{"file": str(tmp_path / "rows.jsonl"), "row": 4, "reason": reason}]
    assert len(source.training) + len(source.held_out) == 8


LONG = asked("an owl " * 9, "nobody")


def test_a_completion_that_is_too_long_stops_drops_or_is_cut() -> None:
    template = template_of()
    whole = encoding_of(LONG, template).examples[0]
    assert whole.choices is not None
    length, limit = whole.choices.ends[0], whole.choices.ends[0] - 5
    with pytest.raises(DataError, match=rf"rows.jsonl row 1: {length} tokens, more than max_tokens={limit}"):
        encoding_of(LONG, template, limit)
    dropped = encoding_of(LONG, template, limit, "drop")
    assert (len(dropped.examples), dropped.dropped[0].reason) == (0, f"{length} tokens, more than max_tokens={limit}")
    cut = encoding_of(LONG, template, limit, "truncate")
    assert cut.truncated[0].reason == f"5 of {length} tokens cut off at the end"
    shorter = cut.examples[0].choices
    assert shorter is not None
    assert shorter.ends == (limit, limit + whole.choices.ends[1] - length)


def test_a_comparison_whose_completions_do_not_fit_at_all_is_dropped_when_cut() -> None:
    template = template_of()
    whole = encoding_of(LONG, template).examples[0]
    assert whole.choices is not None
    found = encoding_of(LONG, template, whole.choices.prompt_length, "truncate")
    assert (len(found.examples), len(found.truncated)) == (0, 0)
    assert found.dropped[0].reason.startswith("the prompt alone fills max_tokens=")


def test_completions_that_differ_only_where_they_are_cut_are_no_comparison() -> None:
    template = template_of()
    row = asked("one two three four", "one two three five", "four")
    whole = encoding_of(row, template).examples[0]
    assert whole.choices is not None
    found = encoding_of(row, template, whole.choices.prompt_length + 6, "truncate")
    assert len(found.examples) == 0
    assert found.dropped[0].reason == "completions 1 and 2 are the same tokens, but ranked apart"


def test_completions_that_the_template_trims_to_the_same_are_no_comparison() -> None:
    template = template_of(CHATML.replace("message['content']", "message['content'] | trim"))
    assert len(encoding_of(asked("an owl ", "an owl"), template).examples) == 0
    assert len(encoding_of(asked("an owl ", "an owl", "me", ranks=(0, 0, 1)), template).examples) == 1  # a true tie


# Split


def compared(prompt: str, *completions: str, **fields: Any) -> dict[str, Any]:
    return {"prompt": prompt, "completions": completions, "ranks": list(range(len(completions))), **fields}


def write(path: Path, rows: list[dict[str, Any]]) -> dict[str, str]:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"path": str(path)}


def sources_of(model: Path, seed: int, **settings: object) -> list[Source]:
    tokenizer, config = load_tokenizer(model), DataConfig.model_validate(settings)
    return prepare_sources(config, tokenizer, ChatTemplate(tokenizer), 256, seed, kinds=(Comparison,))


def prepared(model: Path, file: Path, rows: list[dict[str, Any]], seed: int = 0, **settings: object) -> Source:
    return sources_of(model, seed, sources={"rows": write(file, rows)}, **settings)[0]


@pytest.mark.parametrize("seed", range(5))
def test_the_judgements_of_one_prompt_are_held_out_together(seed: int, tiny_model: Path, tmp_path: Path) -> None:
    """Twelve prompts, each judged by three people, who saw different answers and disagree."""
    rows = [
        compared(f"say {i}", f"{who} {i}", "no", ranks=[who % 2, 1 - who % 2], annotator=f"person {who}")
        for who in range(3)
        for i in range(12)
    ]
    source = prepared(tiny_model, tmp_path / "rows.jsonl", rows, seed, held_out=0.2)
    learnt, measured = (
        {int(name.split()[-1]) % 12 for name in examples.names} for examples in (source.training, source.held_out)
    )
    assert not learnt & measured
    assert (len(source.training), len(source.held_out)) == (27, 9)  # 20% of 36, in whole prompts
    assert [str(row.origin) for row in source.held_out_comparisons] == source.held_out.names
    assert {row.annotator for row in source.held_out_comparisons} == {f"person {who}" for who in range(3)}


def test_judgements_in_two_sources_of_one_prompt_are_a_leak_that_is_told(tiny_model: Path, tmp_path: Path) -> None:
    one, two = (
        write(tmp_path / f"{name}.jsonl", [compared(f"say {i}", name, "no") for i in range(20)])
        for name in ("one", "two")
    )
    found = sources_of(tiny_model, 0, sources={"one": one, "two": two}, held_out=0.2)
    numbers = [{name.split()[-1] for name in source.held_out.names} for source in found]
    for source, ours, theirs in zip(found, numbers, reversed(numbers), strict=True):
        assert {str(leak.origin).split()[-1] for leak in source.leaks} == theirs - ours


# Kept


def test_a_table_gives_back_what_was_put_in() -> None:
    table = ChoiceTable()
    held = [Choices(2, (3, 5), (0, 1)), Choices(0, (4, 6, 7), (1, 0, 1), (0.5, 2.0, 0.5))]
    for each in held:
        table.append(each)
    assert [table[0], table[1]] == held
    table.reference = np.array([-1.0, -2.0, -3.0, -4.0, -5.0])
    assert [table[i].reference for i in range(2)] == [(-1.0, -2.0), (-3.0, -4.0, -5.0)]


def digest_of(choices: Choices) -> str:
    examples, digest = Examples(), hashlib.sha256()
    examples.append(Encoded(np.arange(6), np.arange(6) >= 2), HERE, choices)
    examples.update_digest(digest)
    return digest.hexdigest()


def test_a_digest_changes_with_every_part_of_a_comparison() -> None:
    """A checkpoint must not go on, nor a reference be used, with other ranks."""
    held = Choices(2, (4, 6), (0, 1), (1.0, 2.0))
    others = [{"prompt_length": 1}, {"ends": (5, 6)}, {"ranks": (1, 0)}, {"scores": (1.0, 2.5)}, {"scores": ()}]
    assert digest_of(held) == digest_of(replace(held))
    assert len({digest_of(held), *(digest_of(replace(held, **other)) for other in others)}) == 6
