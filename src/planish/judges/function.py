"""Functions of yours that score completions: as a reward, and as a judge.

A function is given what its parameters name, each a list with an entry for each completion: `prompts` (lists of {role, content}),
`completions` (texts), `about` (all fields of the prompt's row), or one field by its name; `**kwargs` gets all of them. A reward
is also given `completion_ids` (lists of token ids) and the number `iteration`. Two parameters of other names are prompts and
completions, one is completions. With a parameter `completion` it is called for one at a time.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Mapping, Sequence, Set
from inspect import Parameter
from numbers import Real
from typing import Any, cast

from planish.base.errors import ConfigError, users_line
from planish.base.plugins import find_function
from planish.data.chat.tool_calls import as_dicts
from planish.data.rows import Prompt
from planish.judges.base import AnswerTexts, JudgedAnswers, Scores, judged_by_scores
from planish.judges.config import FunctionJudgeConfig

ONE_AT_A_TIME = {"prompts": "prompt", "completions": "completion"}
OUR_OWN = {"prompts", "completions", "prompt", "completion", "about"}  # no field of a row is given under these names


class ScoringFunction:
    """A function of yours, called as its parameters ask for; it returns one finite number for each completion."""

    def __init__(self, name: str, setting: str) -> None:
        self.name, self.setting, self.function = name, setting, find_function(name, setting)

    def check(self, prompts: Sequence[Prompt], **given: Any) -> None:
        """Refuses, before anything is sampled, a function that asks for what no row has."""
        self._arranged(_columns(prompts, [""] * len(prompts), given))

    def __call__(self, prompts: Sequence[Prompt], completions: Sequence[str], **given: Any) -> list[float]:
        """`given` is what the function may also ask for: a list has an entry for each completion."""
        call = self._arranged(_columns(prompts, completions, given))
        try:
            returned = call()
            listed = list(cast(Iterable[Any], returned)) if _may_be_numbers(returned) else None
        except Exception as error:
            raise ConfigError(f"{self.setting}: {self.name} failed {users_line(error, self.function)}") from error
        expected = (
            f"{self.setting}: {self.name} must return one finite number for each of {len(completions)} completions; it "
            "returned"
        )
        numbers = None if listed is None else [_number(value) for value in listed]
        if numbers is None or None in numbers:
            raise ConfigError(f"{expected} {repr(returned)[:80]}")
        found = cast(list[float], numbers)
        if len(found) != len(completions):
            raise ConfigError(f"{expected} {len(found)}")
        if odd := [number for number in found if not math.isfinite(number)]:
            raise ConfigError(f"{expected} {odd[0]}")
        return found

    def _arranged(self, columns: Mapping[str, Any]) -> Callable[[], Any]:
        """The call, with the columns where the parameters want them."""
        function, parameters = self.function, _parameters(self.function)
        if parameters is None:
            return lambda: function(columns["prompts"], columns["completions"])
        if "completion" in (names := [parameter.name for parameter in parameters]):
            columns = {ONE_AT_A_TIME.get(name, name): column for name, column in columns.items()}
        takes_all = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in parameters)
        own = _own_names(parameters, columns)
        named = {name: column for name, column in columns.items() if takes_all or (name in names and name not in own)}
        positional = self._positional(parameters, own, columns)
        if "completion" not in names:
            return lambda: function(*positional, **named)
        count = len(columns["completion"])
        return lambda: [function(**{name: _entry(column, i) for name, column in named.items()}) for i in range(count)]

    def _positional(
        self, parameters: Sequence[Parameter], wanted: Sequence[str], columns: Mapping[str, Any]
    ) -> list[list[Any]]:
        """Columns of parameters that have names of their own: completions, or prompts and completions."""
        kinds = {parameter.kind for parameter in parameters}
        names = {parameter.name for parameter in parameters} - set(wanted)
        free = [name for name in ("prompts", "completions") if name in columns and name not in names]
        if not wanted and ("completions" in names or "completion" in names or Parameter.VAR_KEYWORD in kinds):
            return []
        if not wanted and Parameter.VAR_POSITIONAL in kinds:
            return [columns["prompts"], columns["completions"]]
        if not wanted or len(wanted) > len(free) or "completions" not in free:
            raise ConfigError(
                f"{self.setting}: {self.name} has the parameters {', '.join(parameter.name for parameter in parameters)}; "
                f"expected prompts and completions, and beside them {_listed(columns)}"
            )
        return [columns[name] for name in free[-len(wanted) :]]


class FunctionJudge:
    """A function of yours as a judge: the answer of higher number wins."""

    def __init__(self, config: FunctionJudgeConfig, prompts: Sequence[Prompt]) -> None:
        self.function = ScoringFunction(config.function, "judge")
        self.function.check(prompts)

    def judge(self, prompts: Sequence[Prompt], answers: Mapping[str, AnswerTexts], baseline: str) -> JudgedAnswers:
        return judged_by_scores({name: self._scores(prompts, own) for name, own in answers.items()}, baseline)

    def _scores(self, prompts: Sequence[Prompt], answers: AnswerTexts) -> Scores:
        repeated = [prompt for prompt, texts in zip(prompts, answers, strict=True) for _ in texts]
        numbers = iter(self.function(repeated, [text for texts in answers for text in texts]))
        return Scores([[next(numbers) for _ in texts] for texts in answers])


def _columns(prompts: Sequence[Prompt], completions: Sequence[str], given: Mapping[str, Any]) -> dict[str, Any]:
    """All that a function may ask for, by name; a field that a row lacks is None."""
    rows = [prompt.fields for prompt in prompts]
    fields = [field for field in dict.fromkeys(field for row in rows for field in row) if field not in OUR_OWN]
    return {
        **{field: [row.get(field) for row in rows] for field in fields},
        "prompts": [as_dicts(prompt.messages) for prompt in prompts],
        "completions": list(completions),
        "about": rows,
        **given,
    }


def _entry(column: Any, i: int) -> Any:
    return column[i] if isinstance(column, list) else column


def _own_names(parameters: Sequence[Parameter], columns: Mapping[str, Any]) -> list[str]:
    """The parameters that must be given and have names of their own. Those of a function that does not name the completions
    are its two, or its one, also where a row has fields of these names."""
    needed = [
        parameter
        for parameter in parameters
        if parameter.default is Parameter.empty
        and parameter.kind not in (Parameter.VAR_KEYWORD, Parameter.VAR_POSITIONAL)
    ]
    own = [each.name for each in needed if each.kind is Parameter.POSITIONAL_ONLY or each.name not in columns]
    names, wanted = {each.name for each in parameters}, [each.name for each in needed]
    nameless = not own and names & OUR_OWN <= {"prompts"} and not {*wanted} <= OUR_OWN and len(wanted) <= 2
    return wanted if nameless and all(each.kind is not Parameter.VAR_KEYWORD for each in parameters) else own


def _parameters(function: Callable[..., Any]) -> list[Parameter] | None:
    """None for a builtin that does not tell them."""
    try:
        return list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return None


def _listed(columns: Mapping[str, Any]) -> str:
    fields = [name for name in columns if name not in ("prompts", "completions", "prompt", "completion")]
    return ", ".join(fields) + ("" if len(fields) > 1 else " (the rows of these prompts have no further field)")


def _may_be_numbers(returned: Any) -> bool:
    """An iterable of values, and not of keys or letters."""
    return isinstance(returned, Iterable) and not isinstance(returned, str | bytes | Mapping | Set)


def _number(value: Any) -> float | None:
    """A number, also one of numpy or torch; None for anything else, a text of digits included."""
    plain = value.tolist() if hasattr(value, "tolist") else value
    return float(plain) if isinstance(plain, Real) else None
