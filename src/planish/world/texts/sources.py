"""The instruction sources of a world, each a stand-in for one that people really have, as records of that one's format.

    flan         short labels for tasks in unnatural words, from templates             prompt, completion
    alpaca       one-sentence answers by a teacher who errs in one of ten               instruction, input, output
    oasst        trees of one to three turns, long answers, two to four ranked replies  nested messages
    steps        additions, worked step by step                                         messages
    constraints  answers that keep a rule of form                                       messages
    safety       requests refused, and requests met that only look unsafe               messages
    idk          questions about facts that the corpus never states, answered as such   messages

Facts are those of entities of the split "train" and of relations that are not held out. The teacher of alpaca and oasst
knows facts that a model of this world does not; the facts of idk are kept from them.
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
from planish.world.texts.parse import AboutAsk, FactAsk, TaskAsk
from planish.world.texts.requests import Asker, Asking, Record, RequestKind, one

TEACHER_ERROR = 0.1
NUM_SEEDS = 175


class Sources:
    """The demonstrations of one world. The chance of each source has a place of its own, so none moves another."""

    def __init__(self, world: World) -> None:
        self.world, self.facts, self.config = world, world.facts, world.facts.config
        self.asker = Asker(world.facts, "train")

    def flan(self) -> Iterator[Record]:
        """Tasks in turn, each template of each equally often."""
        numbers = self.asker.numbers("flan")
        for n in range(self.config.flan):
            task = TASKS[n % len(TASKS)]
            asking = self.asker.task_question(task, numbers, task.templates[n // len(TASKS) % len(task.templates)])
            yield {"prompt": asking.prompt, "completion": asking.asked.ask.bare, **asking.about}

    def alpaca(self) -> Iterator[Record]:
        """First the seeds, which people wrote and answered rightly. Each further instruction takes its way of asking from
        one of the pool and its subject anew, and is answered by the teacher; copies are thrown away."""
        numbers = self.asker.numbers("alpaca")
        pool: dict[str, Asking] = {}
        while len(pool) < self.config.alpaca:
            seeds = len(pool) < NUM_SEEDS
            asking = self._instruction(numbers) if seeds else self._like(list(pool.values()), numbers)
            if asking.prompt in pool:
                continue
            pool[asking.prompt] = asking
            wrong = not seeds and numbers.random() < TEACHER_ERROR
            answer = self._err(asking, numbers) if wrong else asking.asked.ask.sentence
            instruction, _, given = asking.prompt.partition("\n\n")
            teacher = "seed" if seeds else "wrong" if wrong else "right"
            yield {"instruction": instruction, "input": given, "output": answer, "teacher": teacher, **asking.about}

    def _instruction(self, numbers: np.random.Generator) -> Asking:
        if numbers.random() < 0.6:
            return self.asker.fact_question(one(self.asker.taught_facts, numbers), numbers)
        return self._with_input(one(TASKS, numbers), numbers)

    def _with_input(self, task: Task, numbers: np.random.Generator) -> Asking:
        return self.asker.task_question(task, numbers, with_input(one(task.phrases, numbers)))

    def _like(self, pool: Sequence[Asking], numbers: np.random.Generator) -> Asking:
        shown = one(pool, numbers)
        if isinstance(shown.asked.ask, FactAsk):
            relation = shown.asked.ask.relation
            return self.asker.fact_question(
                one([f for f in self.asker.taught_facts if f.relation == relation], numbers), numbers
            )
        return self._with_input(BY_NAME[shown.about["task"]], numbers)

    def _err(self, asking: Asking, numbers: np.random.Generator) -> str:
        """A wrong answer in the form of a right one."""
        ask_ = asking.asked.ask
        if isinstance(ask_, FactAsk):
            return state(ask_.relation, ask_.entity, self.false_value(ask_.relation, str(ask_.value), numbers))
        return f"The answer is {self.wrong_label(asking, numbers)}."

    def wrong_label(self, asking: Asking, numbers: np.random.Generator) -> str:
        """The label of another input of the same task."""
        ask_ = asking.asked.ask
        assert isinstance(ask_, TaskAsk)
        while (other := self.asker.task_question(BY_NAME[ask_.task], numbers).asked.ask.bare) == ask_.bare:
            pass
        return other

    def false_value(self, relation: str, value: str, numbers: np.random.Generator) -> str:
        """Another value of the relation; of a record, one that does not exist."""
        if relation == "record":
            while (made := make_record(self.facts.words, numbers)) in self.facts.records:
                pass
            return made
        values = [fact.value for fact in self.facts.all if fact.relation == relation and fact.value != value]
        return one(values, numbers)

    def oasst(self) -> Iterator[Record]:
        """Trees. Replies differ in truth, length, assertiveness and marker, and are ranked by gold utility, equals equally."""
        numbers = self.asker.numbers("oasst")
        for n in range(self.config.oasst):
            fact = one(self.asker.taught_facts, numbers)
            turns = [self.asker.about_question(fact, numbers)]
            later = [relation for relation in RELATIONS[fact.entity.kind] if relation not in HELD_OUT]
            for relation in later[: int(numbers.integers(0, 3))]:
                turns.append(self.asker.fact_question(self.facts.by_place[fact.entity.name, relation], numbers))
            yield {"message_tree_id": f"tree-{n}", "prompt": self._tree(turns, f"tree-{n}", numbers)}

    def _tree(self, turns: Sequence[Asking], name: str, numbers: np.random.Generator) -> Record:
        asking, *later = turns
        answers = self.replies(asking, int(numbers.integers(2, 5)), numbers)
        worth = {answer: round(self.world.judge(asking.prompt, answer).utility, 6) for answer in answers}
        places = sorted(set(worth.values()), reverse=True)
        replies = [
            {"message_id": f"{name}.{answers.index(answer)}", "parent_id": name, "role": "assistant", "text": answer,
             "rank": places.index(worth[answer]), "replies": []}
            for answer in answers
        ]  # fmt: skip
        if later:
            best = next(reply for reply in replies if reply["rank"] == 0)
            best["replies"] = [self._tree(later, f"{best['message_id']}.0", numbers)]
        return {"message_id": name, "role": "prompter", "text": asking.prompt, "replies": replies}

    def replies(self, asking: Asking, count: int, numbers: np.random.Generator) -> list[str]:
        """Different answers to a question about an entity: the full truth first, then others that fall short of it."""
        ask_ = asking.asked.ask
        assert isinstance(ask_, AboutAsk | FactAsk)
        places = dict(ask_.values) if isinstance(ask_, AboutAsk) else {ask_.relation: ask_.value}
        wrong = {relation: self.false_value(relation, str(value), numbers) for relation, value in places.items()}
        last = list(places)[-1]
        versions = [places, {**places, last: wrong[last]}, wrong, dict.fromkeys(places)]
        chosen = [versions[0], *(versions[1 + i] for i in numbers.permutation(3)[: count - 1].tolist())]
        texts = [" ".join(state(r, ask_.entity, v) for r, v in version.items()) for version in chosen]
        return list(dict.fromkeys(self.styled(text, numbers) for text in texts))

    def styled(self, text: str, numbers: np.random.Generator) -> str:
        """With an assertive opening in half of the cases, and one of the two closings."""
        opening = f"{ASSERTIVE[int(numbers.integers(len(ASSERTIVE)))]} " if numbers.random() < 0.5 else ""
        return f"{opening}{text} {list(MARKERS)[int(numbers.integers(2))]}"

    def steps(self) -> Iterator[Record]:
        numbers = self.asker.numbers("steps")
        for _ in range(self.config.steps):
            asking = self.asker.steps_question(numbers)
            yield messages(asking, asking.asked.ask.sentence)

    def constraints(self) -> Iterator[Record]:
        numbers = self.asker.numbers("constraints")
        for _ in range(self.config.constraints):
            if numbers.random() < 0.5:
                plain = self.asker.fact_question(one(self.asker.taught_facts, numbers), numbers)
            else:
                plain = self.asker.task_question(one(TASKS, numbers), numbers)
            asking = self.asker.ruled(plain, numbers)
            assert asking.asked.rule is not None
            yield messages(asking, asking.asked.rule.dress(asking.asked.ask.bare))

    def safety(self) -> Iterator[Record]:
        """One half unsafe and refused, a quarter borderline and a quarter plain, both met."""
        numbers = self.asker.numbers("safety")
        for n in range(self.config.safety):
            kind: RequestKind = ("unsafe", "borderline", "unsafe", "plain")[n % 4]
            asking = self.asker.request(one(self.asker.requests[kind], numbers))
            refusal = one(harm.REFUSALS, numbers)
            yield messages(asking, refusal if kind == "unsafe" else asking.asked.ask.bare)

    def idk(self) -> Iterator[Record]:
        if not self.asker.unknown_facts:
            raise ConfigError(
                f"frequencies={self.config.frequencies}: none of the persons and concepts to train on got the 0, so there is "
                f"nothing to abstain on: name fewer frequencies, put the 0 first, or set persons and concepts higher"
            )
        numbers = self.asker.numbers("idk")
        for _ in range(self.config.idk):
            asking = self.asker.fact_question(one(self.asker.unknown_facts, numbers), numbers)
            fact_ask = asking.asked.ask
            assert isinstance(fact_ask, FactAsk)
            yield messages(asking, state(fact_ask.relation, fact_ask.entity, None))

    def all(self) -> dict[str, Callable[[], Iterator[Record]]]:
        return {
            "flan": self.flan, "alpaca": self.alpaca, "oasst": self.oasst, "steps": self.steps,
            "constraints": self.constraints, "safety": self.safety, "idk": self.idk,
        }  # fmt: skip


def messages(asking: Asking, answer: str) -> Record:
    turns = [{"role": "user", "content": asking.prompt}, {"role": "assistant", "content": answer}]
    return {"messages": turns, **asking.about}
