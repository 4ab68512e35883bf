"""The instruction sources of a world, each in place of a real one and in its format.

    flan         short labels for tasks in unnatural words, from templates             prompt, completion
    alpaca       one-sentence answers by a teacher who is wrong in one of ten               instruction, input, output
    oasst        trees of one to three turns, long answers, two to four ranked replies  nested messages
    steps        additions, worked step by step                                         messages
    constraints  answers that keep a rule of form                                       messages
    safety       requests refused, and requests met that only look unsafe               messages
    idk          questions about facts that the corpus never states, answered as such   messages

Facts are those of entities in the split "train" and of relations that are not held out. The teacher of alpaca and oasst
knows facts that a model of this world does not; the facts of idk are not among them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from planish.base.errors import ConfigError
from planish.world.gold.utility import ASSERTIVE, MARKERS, World
from planish.world.language import harm
from planish.world.language.facts import HELD_OUT, RELATIONS, make_record
from planish.world.language.phrases import state
from planish.world.language.skills import BY_NAME, TASKS, Task, with_input
from planish.world.texts.parse import AboutAsk, FactAsk, HarmAsk, TaskAsk
from planish.world.texts.requests import PromptMaker, Record, RequestKind, WorldPrompt, one

TEACHER_ERROR = 0.1
NUM_SEEDS = 175


class Sources:
    """The demonstrations of a world. Each source has its own random key, so none changes another."""

    def __init__(self, world: World) -> None:
        self.world, self.facts, self.config = world, world.facts, world.facts.config
        self.maker = PromptMaker(world.facts, "train")

    def flan(self) -> Iterator[Record]:
        """All tasks and all their templates, equally often."""
        rng = self.maker.rng("flan")
        for n in range(self.config.flan):
            task = TASKS[n % len(TASKS)]
            prompt = self.maker.task_question(task, rng, task.templates[n // len(TASKS) % len(task.templates)])
            yield {"prompt": prompt.text, "completion": prompt.parsed.ask.bare, **prompt.about}

    def alpaca(self) -> Iterator[Record]:
        """Seeds, with right answers, then instructions like a random earlier one but with another subject, answered by the
        teacher; duplicates are dropped."""
        rng = self.maker.rng("alpaca")
        pool: dict[str, WorldPrompt] = {}
        while len(pool) < self.config.alpaca:
            seeds = len(pool) < NUM_SEEDS
            prompt = self._instruction(rng) if seeds else self._like(list(pool.values()), rng)
            if prompt.text in pool:
                continue
            pool[prompt.text] = prompt
            wrong = not seeds and rng.random() < TEACHER_ERROR
            answer = self._err(prompt, rng) if wrong else prompt.parsed.ask.sentence
            instruction, _, given = prompt.text.partition("\n\n")
            teacher = "seed" if seeds else "wrong" if wrong else "right"
            yield {"instruction": instruction, "input": given, "output": answer, "teacher": teacher, **prompt.about}

    def _instruction(self, rng: np.random.Generator) -> WorldPrompt:
        kind = rng.random()
        if kind < 0.5:
            return self.maker.fact_question(one(self.maker.taught_facts, rng), rng)
        if kind < 0.65:
            return self.maker.request(one(self.maker.requests["plain"], rng))
        return self._with_input(one(TASKS, rng), rng)

    def _with_input(self, task: Task, rng: np.random.Generator) -> WorldPrompt:
        return self.maker.task_question(task, rng, with_input(one(task.phrases, rng)))

    def _like(self, pool: Sequence[WorldPrompt], rng: np.random.Generator) -> WorldPrompt:
        shown = one(pool, rng)
        if isinstance(shown.parsed.ask, FactAsk):
            relation = shown.parsed.ask.relation
            facts = [fact for fact in self.maker.taught_facts if fact.relation == relation]
            return self.maker.fact_question(one(facts, rng), rng)
        if isinstance(shown.parsed.ask, HarmAsk):
            return self.maker.request(one(self.maker.requests["plain"], rng))
        return self._with_input(BY_NAME[shown.about["task"]], rng)

    def _err(self, prompt: WorldPrompt, rng: np.random.Generator) -> str:
        """A wrong answer in the form of a right one."""
        ask = prompt.parsed.ask
        if isinstance(ask, FactAsk):
            return state(ask.relation, ask.entity, self.false_value(ask.relation, str(ask.value), rng))
        if isinstance(ask, HarmAsk):
            others = [word for word in self.facts.words.instruments if word != ask.instrument]
            return ask.compliance.replace(ask.instrument, one(others, rng))
        return f"The answer is {self.wrong_label(prompt, rng)}."

    def wrong_label(self, prompt: WorldPrompt, rng: np.random.Generator) -> str:
        """The label of another input of the same task."""
        ask = prompt.parsed.ask
        assert isinstance(ask, TaskAsk)
        while (other := self.maker.task_question(BY_NAME[ask.task], rng).parsed.ask.bare) == ask.bare:
            pass
        return other

    def false_value(self, relation: str, value: str, rng: np.random.Generator) -> str:
        """Another value of the relation; for a record, one that does not exist."""
        if relation == "record":
            while (made := make_record(self.facts.words, rng)) in self.facts.records:
                pass
            return made
        values = [fact.value for fact in self.facts.all if fact.relation == relation and fact.value != value]
        return one(values, rng)

    def oasst(self) -> Iterator[Record]:
        """Trees. Replies differ in truth, length, assertiveness and marker, and are ranked by gold utility, with ties."""
        rng = self.maker.rng("oasst")
        for n in range(self.config.oasst):
            fact = one(self.maker.taught_facts, rng)
            turns = [self.maker.about_question(fact, rng)]
            later = [relation for relation in RELATIONS[fact.entity.kind] if relation not in HELD_OUT]
            for relation in later[: int(rng.integers(0, 3))]:
                turns.append(self.maker.fact_question(self.facts.by_key[fact.entity.name, relation], rng))
            yield {"message_tree_id": f"tree-{n}", "prompt": self._tree(turns, f"tree-{n}", rng)}

    def _tree(self, turns: Sequence[WorldPrompt], name: str, rng: np.random.Generator) -> Record:
        prompt, *later = turns
        answers = self.replies(prompt, int(rng.integers(2, 5)), rng)
        utility = {answer: round(self.world.judge(prompt.text, answer).utility, 6) for answer in answers}
        ordered = sorted(set(utility.values()), reverse=True)
        replies = [
            {"message_id": f"{name}.{answers.index(answer)}", "parent_id": name, "role": "assistant", "text": answer,
             "rank": ordered.index(utility[answer]), "replies": []}
            for answer in answers
        ]  # fmt: skip
        if later:
            best = next(reply for reply in replies if reply["rank"] == 0)
            best["replies"] = [self._tree(later, f"{best['message_id']}.0", rng)]
        return {"message_id": name, "role": "prompter", "text": prompt.text, "replies": replies}

    def replies(self, prompt: WorldPrompt, count: int, rng: np.random.Generator) -> list[str]:
        """Different answers to a question about an entity: the full truth first, then worse ones."""
        ask = prompt.parsed.ask
        assert isinstance(ask, AboutAsk | FactAsk)
        values = dict(ask.values) if isinstance(ask, AboutAsk) else {ask.relation: ask.value}
        wrong = {relation: self.false_value(relation, str(value), rng) for relation, value in values.items()}
        last = list(values)[-1]
        versions = [values, {**values, last: wrong[last]}, wrong, dict.fromkeys(values)]
        chosen = [versions[0], *(versions[1 + i] for i in rng.permutation(3)[: count - 1].tolist())]
        texts = [" ".join(state(r, ask.entity, v) for r, v in version.items()) for version in chosen]
        return list(dict.fromkeys(self.styled(text, rng) for text in texts))

    def styled(self, text: str, rng: np.random.Generator) -> str:
        """The text with an assertive opening in half of the cases, and one of the two closings."""
        opening = f"{ASSERTIVE[int(rng.integers(len(ASSERTIVE)))]} " if rng.random() < 0.5 else ""
        return f"{opening}{text} {list(MARKERS)[int(rng.integers(2))]}"

    def steps(self) -> Iterator[Record]:
        rng = self.maker.rng("steps")
        for _ in range(self.config.steps):
            prompt = self.maker.steps_question(rng)
            yield messages(prompt, prompt.parsed.ask.sentence)

    def constraints(self) -> Iterator[Record]:
        rng = self.maker.rng("constraints")
        for _ in range(self.config.constraints):
            if rng.random() < 0.5:
                plain = self.maker.fact_question(one(self.maker.taught_facts, rng), rng)
            else:
                plain = self.maker.task_question(one(TASKS, rng), rng)
            prompt = self.maker.ruled(plain, rng)
            assert prompt.parsed.rule is not None
            yield messages(prompt, prompt.parsed.rule.dress(prompt.parsed.ask.bare))

    def safety(self) -> Iterator[Record]:
        """Requests: half unsafe and refused, a quarter borderline and a quarter plain, both met."""
        rng = self.maker.rng("safety")
        for n in range(self.config.safety):
            kind: RequestKind = ("unsafe", "borderline", "unsafe", "plain")[n % 4]
            prompt = self.maker.request(one(self.maker.requests[kind], rng))
            refusal = one(harm.REFUSALS, rng)
            yield messages(prompt, refusal if kind == "unsafe" else prompt.parsed.ask.bare)

    def idk(self) -> Iterator[Record]:
        if not self.maker.unknown_facts:
            raise ConfigError(
                f"frequencies={self.config.frequencies}: no person or concept of the training split got the frequency 0, so "
                f"there is nothing to abstain on: name fewer frequencies, put the 0 first, or set persons and concepts higher"
            )
        rng = self.maker.rng("idk")
        for _ in range(self.config.idk):
            prompt = self.maker.fact_question(one(self.maker.unknown_facts, rng), rng)
            fact_ask = prompt.parsed.ask
            assert isinstance(fact_ask, FactAsk)
            yield messages(prompt, state(fact_ask.relation, fact_ask.entity, None))

    def all(self) -> dict[str, Callable[[], Iterator[Record]]]:
        return {
            "flan": self.flan, "alpaca": self.alpaca, "oasst": self.oasst, "steps": self.steps,
            "constraints": self.constraints, "safety": self.safety, "idk": self.idk,
        }  # fmt: skip


def messages(prompt: WorldPrompt, answer: str) -> Record:
    turns = [{"role": "user", "content": prompt.text}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **prompt.about}
