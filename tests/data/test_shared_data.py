"""Every file of a folder of real data: how it is recognised, how many rows it gives, how many it leaves out.

The numbers agree with those that the folder's README states.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from planish.base.errors import DataError
from planish.data.formats import import_rows
from planish.data.formats.registry import KINDS, open_files
from planish.data.inspect.convert import KIND_NAMES, ConvertConfig, KindName, convert
from planish.data.rows import LEARNT, Comparison, Demonstration, Judged, Origin, Prompt, Question, Row, Text

NOWHERE = Origin("", 1)
SHARED = Path(__file__).parents[2].parent / "shared" / "data"

# (files, format, kind, rows, records left out). Several files under one pattern are counted together.
TABLE: list[tuple[str, str, type[Row], int, int]] = [
    ("alpaca/alpaca_en_demo.json.gz", "alpaca", Demonstration, 999, 0),
    ("alpaca/alpaca_tiny.json", "alpaca", Demonstration, 100, 0),
    ("alpaca/alpaca_zh_demo.json.gz", "alpaca", Demonstration, 1000, 0),
    ("alpaca/identity.json", "alpaca", Demonstration, 91, 0),
    ("alpaca_eval/results/alpaca-7b/alpaca_eval_gpt4/*", "alpaca_eval", Comparison, 805, 0),
    ("alpaca_eval/results/alpaca-7b/model_outputs.json.gz", "alpaca", Demonstration, 805, 0),
    ("alpaca_eval/results/alpaca-7b/weighted_alpaca_eval_gpt4_turbo/*", "alpaca_eval", Comparison, 805, 0),
    ("alpaca_eval/results/alpaca-farm-ppo-human/alpaca_eval_gpt4/*", "alpaca_eval", Comparison, 805, 0),
    ("alpaca_eval/results/alpaca-farm-ppo-human/model_outputs.json.gz", "alpaca", Demonstration, 805, 0),
    ("alpaca_eval/results/falcon-40b-instruct/alpaca_eval_gpt4/*", "alpaca_eval", Comparison, 805, 0),
    ("alpaca_eval/results/falcon-40b-instruct/model_outputs.json.gz", "alpaca", Demonstration, 805, 0),
    ("alpaca_eval/results/gpt4/alpaca_eval_gpt4/*", "alpaca_eval", Comparison, 805, 0),
    ("alpaca_eval/results/gpt4/model_outputs.json.gz", "alpaca", Demonstration, 805, 0),
    ("alpaca_eval/results/llama-2-7b-chat-hf/alpaca_eval_gpt4/*", "alpaca_eval", Comparison, 805, 0),
    ("alpaca_eval/results/llama-2-7b-chat-hf/model_outputs.json.gz", "alpaca", Demonstration, 805, 0),
    # two blank outputs, one preference that is null
    ("alpaca_eval/results/text_davinci_001/alpaca_eval_gpt4/*", "alpaca_eval", Comparison, 802, 3),
    ("alpaca_eval/results/text_davinci_001/model_outputs.json.gz", "alpaca", Demonstration, 803, 0),
    (
        "alpaca_eval/results/text_davinci_003/model_outputs.json.gz",
        "alpaca",
        Demonstration,
        803,
        2,
    ),  # two blank outputs
    ("bigbench/contextual_parametric_knowledge_conflicts/*", "bigbench", Question, 1500, 0),
    ("bigbench/fact_checker/fever/*", "bigbench", Question, 6612, 0),
    ("bigbench/general_knowledge/*", "bigbench", Question, 70, 0),
    ("bigbench/hhh_alignment/harmless/*", "bigbench", Comparison, 58, 0),
    ("bigbench/hhh_alignment/helpful/*", "bigbench", Comparison, 59, 0),
    ("bigbench/hhh_alignment/honest/*", "bigbench", Comparison, 61, 0),
    ("bigbench/hhh_alignment/other/*", "bigbench", Comparison, 43, 0),
    ("bigbench/known_unknowns/*", "bigbench", Question, 46, 0),
    ("bigbench/misconceptions/*", "bigbench", Question, 219, 0),
    ("bigbench/moral_permissibility/*", "bigbench", Question, 342, 0),
    ("bigbench/natural_instructions/subtask010*/*", "bigbench", Question, 332, 0),
    ("bigbench/natural_instructions/subtask016*/*", "bigbench", Question, 321, 0),
    ("bigbench/natural_instructions/subtask018*/*", "bigbench", Question, 1199, 0),
    ("bigbench/natural_instructions/subtask021*/*", "bigbench", Question, 1199, 0),
    ("bigbench/natural_instructions/subtask022*/*", "bigbench", Question, 500, 0),
    ("bigbench/natural_instructions/subtask024*/*", "bigbench", Question, 2000, 0),
    ("bigbench/natural_instructions/subtask025*/*", "bigbench", Question, 2000, 0),
    ("bigbench/natural_instructions/subtask036*/*", "bigbench", Question, 928, 0),
    ("bigbench/natural_instructions/subtask041*/*", "bigbench", Question, 2000, 0),
    ("bigbench/natural_instructions/subtask043*/*", "bigbench", Question, 1965, 0),
    ("bigbench/natural_instructions/subtask044*/*", "bigbench", Question, 1999, 1),  # the target of row 997 is blank
    ("bigbench/natural_instructions/subtask045*/*", "bigbench", Question, 193, 0),
    ("bigbench/natural_instructions/subtask047*/*", "bigbench", Question, 251, 0),
    ("bigbench/natural_instructions/subtask052*/*", "bigbench", Question, 312, 0),
    ("bigbench/natural_instructions/subtask053*/*", "bigbench", Question, 58, 0),
    ("bigbench/qa_wikidata/*", "bigbench", Question, 20442, 0),
    ("bigbench/simple_ethical_questions/*", "bigbench", Question, 115, 0),
    ("bigbench/strategyqa/*", "bigbench", Question, 2290, 0),
    ("bigbench/topical_chat/*", "bigbench", Question, 3000, 0),
    ("chatterbot_corpus/chinese/*.yml", "chatterbot", Demonstration, 467, 0),
    ("chatterbot_corpus/english/*.yml", "chatterbot", Demonstration, 2025, 1),  # one more utterance has no reply
    ("chitchat/dataset_first1000.json.gz", "chitchat", Demonstration, 574, 426),  # one speaker only
    ("dolly/dolly_prompt_answer.jsonl", "prompt_completion", Demonstration, 151, 0),
    ("donotanswer/discrimination_exclusion_toxicity_hateful_offensive.jsonl", "donotanswer", Prompt, 176, 0),
    ("donotanswer/human_chatbox.jsonl", "donotanswer", Prompt, 117, 0),
    ("donotanswer/information_hazard.jsonl", "donotanswer", Prompt, 248, 0),
    ("donotanswer/malicious_uses.jsonl", "donotanswer", Prompt, 243, 0),
    ("donotanswer/misinformation_harms.jsonl", "donotanswer", Prompt, 155, 0),
    ("dpo_kto/dpo_en_demo.json.gz", "chosen_rejected", Comparison, 300, 0),
    ("dpo_kto/dpo_zh_demo.json.gz", "chosen_rejected", Comparison, 300, 0),
    ("dpo_kto/kto_en_demo.json.gz", "kto", Judged, 300, 0),
    ("dpo_kto/stack_exchange_paired_tiny.json", "stack_exchange_paired", Comparison, 25, 0),
    ("flan_cot/aqua_train.tsv.gz", "flan_cot", Demonstration, 2728, 0),
    ("flan_cot/creak_train.tsv.gz", "flan_cot", Demonstration, 6915, 0),
    ("flan_cot/qasc_train.tsv.gz", "flan_cot", Demonstration, 1084, 0),
    ("flan_cot/strategyqa_train.tsv.gz", "flan_cot", Demonstration, 2061, 0),
    ("gsm8k/test.jsonl.gz", "question_answer", Question, 1319, 0),
    ("gsm8k/train.jsonl.gz", "question_answer", Demonstration, 7473, 0),
    ("halueval/general_data.json.gz", "halueval", Judged, 4507, 0),
    # four blank answers; five answers that hold a speaker's name
    ("hh_rlhf/harmless-base-test.jsonl.gz", "hh_rlhf", Comparison, 2303, 9),
    ("llmbar/Adversarial/GPTInst/*", "llmbar", Comparison, 92, 0),
    ("llmbar/Adversarial/GPTOut/*", "llmbar", Comparison, 47, 0),
    ("llmbar/Adversarial/Manual/*", "llmbar", Comparison, 46, 0),
    ("llmbar/Adversarial/Neighbor/*", "llmbar", Comparison, 134, 0),
    ("llmbar/Natural/*", "llmbar", Comparison, 100, 0),
    ("llmbar/Processed/FairEval/*", "llmbar", Comparison, 66, 0),
    ("llmbar/Processed/MT-Bench/*", "llmbar", Comparison, 200, 0),
    ("mt_bench/question.jsonl", "mt_bench", Prompt, 80, 0),
    ("nq_open/NQ-open.dev.jsonl.gz", "nq_open", Question, 3610, 0),
    ("nq_open/NQ-open.efficientqa.dev.1.1.jsonl.gz", "nq_open", Question, 1800, 0),
    ("oasst/en_100_message.jsonl.gz", "oasst", Demonstration, 100, 0),
    ("oasst/en_100_tree.jsonl.gz", "oasst", Demonstration, 100, 0),
    ("openai_evals/text_compression/samples.jsonl.gz", "text", Text, 400, 0),
    ("openai_evals/unsolvable_questions/samples.jsonl.gz", "openai_evals", Question, 300, 0),
    # 938 records x 3 annotators; 54 blank responses, 6 that became true, 1 blank instruction
    ("pandalm/testset-v1.json.gz", "pandalm", Comparison, 2814, 61),
    ("pretrain/c4_demo.jsonl.gz", "text", Text, 300, 0),
    ("pretrain/shakespeare/*.txt.gz", "text", Text, 8, 0),
    ("pretrain/wiki_demo.txt.gz", "text", Text, 1, 0),
    ("pyrit_labels/refusal.csv.gz", "pyrit", Judged, 105, 0),
    ("pyrit_labels/refusal_extra.csv.gz", "pyrit", Judged, 64, 0),
    # six chosen answers equal the rejected
    ("rasbt_instruction/instruction-data-with-preference.json.gz", "chosen_rejected", Comparison, 1094, 6),
    ("rasbt_instruction/instruction-data.json.gz", "alpaca", Demonstration, 1100, 0),
    ("self_instruct/belle_zh_seed_tasks.json", "self_instruct", Demonstration, 175, 0),
    ("self_instruct/predictions/*", "prompt_completion", Demonstration, 4 * 252, 0),
    ("self_instruct/seed_tasks.jsonl", "self_instruct", Demonstration, 175, 0),
    ("self_instruct/user_oriented_instructions.jsonl", "self_instruct", Demonstration, 252, 0),
    ("sharegpt/dummy_conversation.json", "sharegpt", Demonstration, 500, 0),
    ("sharegpt/glaive_toolcall_en_demo.json.gz", "sharegpt", Demonstration, 300, 0),
    ("sharegpt/v1_sft_demo.jsonl.gz", "messages", Demonstration, 500, 0),
    ("simple_safety_tests/simple_safety_tests.csv", "simple_safety_tests", Prompt, 100, 0),
    ("t0_train/*.jsonl.gz", "prompt_completion", Demonstration, 25 * 200, 0),
    ("truthfulqa/TruthfulQA.csv.gz", "truthfulqa", Question, 790, 0),
    ("truthfulqa/bigbench_questions.json.gz", "bigbench_truthfulqa", Question, 299, 0),
    ("xstest/labels/*.csv.gz", "xstest_completions", Judged, 3 * 450, 0),
    ("xstest/xstest_prompts.csv", "xstest", Prompt, 450, 0),
    ("xstest/xstest_v2_completions_gpt4.csv.gz", "xstest_completions", Judged, 450, 0),
    ("xstest/xstest_v2_completions_llama2orig.csv.gz", "xstest_completions", Judged, 450, 0),
    ("xstest/xstest_v2_completions_mistralinstruct.csv.gz", "xstest_completions", Judged, 450, 0),
]
# Two leaderboards, a judge's prompts and its reference answers are nothing to train or evaluate on.
REFUSED: list[tuple[str, str]] = [
    ("alpaca_eval/alpaca_eval_gpt4_leaderboard.csv", "row 1: found the fields name, length_controlled_winrate"),
    ("alpaca_eval/evaluators_leaderboard.csv", "row 1: found the fields , Human agreement"),
    ("mt_bench/judge_prompts.jsonl", "row 1: found the fields name, type, system_prompt, prompt_template"),
    ("mt_bench/reference_answer_gpt-4.jsonl", "row 1: found the fields question_id, answer_id, model_id, choices"),
]
# The same files as another kind of row, or read another way.
ALSO: list[tuple[str, str, type[Row], int, int]] = [
    ("bigbench/general_knowledge/*", "bigbench", Comparison, 70, 0),
    ("bigbench/hhh_alignment/*/*", "bigbench", Question, 221, 0),
    ("gsm8k/train.jsonl.gz", "question_answer", Question, 7473, 0),
    ("oasst/en_100_message.jsonl.gz", "oasst", Comparison, 212, 0),
    ("oasst/en_100_tree.jsonl.gz", "oasst", Comparison, 212, 0),
    ("oasst/en_100_tree.jsonl.gz", "oasst", Prompt, 100, 0),
]


def shared(pattern: str) -> list[Path]:
    if not SHARED.is_dir():
        pytest.skip(f"{SHARED} is absent")
    return sorted(SHARED.glob(pattern))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("files", "format", "kind", "rows", "dropped"), TABLE + ALSO, ids=lambda value: KINDS.get(value) or str(value)
)
def test_a_file_gives_all_its_rows_and_they_make_a_round_trip(
    files: str, format: str, kind: type[Row], rows: int, dropped: int, tmp_path: Path
) -> None:
    found = shared(files)
    given = format if format == "flan_cot" else "auto"  # nothing in its tables says what they are
    assert {next(open_files(file, given))[0].name for file in found} == {format}
    imported = [import_rows(file, (kind,), given) for file in found]
    assert sum(len(each.rows) for each in imported) == rows
    assert sum(len(each.dropped) for each in imported) == dropped
    name = next(name for name, each in KIND_NAMES.items() if each is kind)
    files = tuple(str(file) for file in found)
    out = str(tmp_path / "common.jsonl")
    convert(ConvertConfig(files=files, out=out, kind=cast("KindName", name), format=given))
    again = import_rows(tmp_path / "common.jsonl", (kind,))
    assert [replace(row, origin=NOWHERE) for row in again.rows] == [
        replace(row, origin=NOWHERE) for each in imported for row in each.rows
    ]


@pytest.mark.parametrize(("file", "problem"), REFUSED)
def test_a_file_that_holds_no_rows_is_refused(file: str, problem: str) -> None:
    (path,) = shared(file)
    with pytest.raises(DataError) as caught:
        import_rows(path, LEARNT)
    assert str(caught.value).startswith(f"{path} {problem}")


def test_every_file_stands_in_the_table_once() -> None:
    everything = [path for path in shared("**/*") if path.is_file() and path.name != "README.md"]
    listed = [path for line in (*TABLE, *REFUSED) for path in shared(line[0])]
    assert sorted(listed) == everything


def test_the_articles_of_a_text_file_are_its_lines() -> None:
    (path,) = shared("pretrain/wiki_demo.txt.gz")
    assert len(import_rows(path, (Text,), "lines").rows) == 30


def test_oasst_comparisons_hold_all_ranked_pairs_of_siblings() -> None:
    (path,) = shared("oasst/en_100_tree.jsonl.gz")
    assert sum(len(row.pairs) for row in import_rows(path, (Comparison,)).rows) == 754


@pytest.mark.parametrize(
    "file", ["hh_rlhf/harmless-base-test.jsonl.gz", "gsm8k/test.jsonl.gz", "pandalm/testset-v1.json.gz"]
)
def test_evaluation_and_preference_files_say_what_they_hold(file: str) -> None:
    (path,) = shared(file)
    with pytest.raises(DataError, match="expected documents"):
        import_rows(path, (Text,))
