"""An LLM as a judge: it is shown both answers, in both orders, and names the better one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from planish.data.rows import Prompt
from planish.judges.base import AnswerTexts, JudgedAnswers, Verdicts
from planish.judges.client import LlmClient
from planish.judges.config import LlmJudgeConfig
from planish.judges.questions import COMPARE, VERDICT, conversation_text, fill
from planish.judges.reading import Choice, read_reply

SWAPPED: dict[str, Choice] = {"first": "second", "second": "first", "tie": "tie", "unread": "unread"}
OUTCOME: dict[str, float] = {"first": 1.0, "second": 0.0, "tie": 0.5}


class LlmJudge:
    """Judges by questions in words; gives no scores."""

    def __init__(self, config: LlmJudgeConfig, memory: Path) -> None:
        self.question = config.question or COMPARE
        self.client = LlmClient(config, memory, VERDICT)
        self.client.check()

    def judge(self, prompts: Sequence[Prompt], answers: Mapping[str, AnswerTexts], baseline: str) -> JudgedAnswers:
        others = [name for name in answers if name != baseline]
        return JudgedAnswers({}, {name: self.verdicts(prompts, answers[name], answers[baseline]) for name in others})

    def verdicts(self, prompts: Sequence[Prompt], own: AnswerTexts, baseline: AnswerTexts) -> Verdicts:
        """Equal answers are a tie without a question. Two replies that name the same answer are a verdict; else a tie."""
        pairs = [
            (i, k, a, b)
            for i, (ours, theirs) in enumerate(zip(own, baseline, strict=True))
            for k, (a, b) in enumerate(zip(ours, theirs, strict=True))
            if a != b
        ]
        questions = [
            fill(self.question, prompt=conversation_text(prompts[i]), first=first, second=second)
            for i, _, a, b in pairs
            for first, second in ((a, b), (b, a))
        ]
        replies = self.client.replies(questions)
        choices = [read_reply(reply) for reply in replies]
        outcomes = [[0.5] * len(ours) for ours in own]
        split = unread = 0
        for (i, k, _, _), one, other in zip(pairs, choices[::2], choices[1::2], strict=True):
            if "unread" in (one, other):
                unread += 1
            elif one != SWAPPED[other]:
                split += 1
            else:
                outcomes[i][k] = OUTCOME[one]
        example = next((reply for reply, choice in zip(replies, choices, strict=True) if choice == "unread"), None)
        return Verdicts(outcomes, split, unread, len(pairs), example)
