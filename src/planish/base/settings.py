"""The settings of a config, listed; the nearest to a name that does not exist; and pydantic's errors in words.

>>> [setting.key for setting in settings_of(SftConfig)][:2]
['out', 'optim.lr']
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast, get_args

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from planish.base.text import listed

# A setting, and what other libraries call it; of several settings, the first that a command has.
NAMES_ELSEWHERE = """
out: output_dir
optim.lr: learning_rate
optim.schedule: lr_scheduler_type
optim.warmup_ratio: warmup_steps warmup
optim.clip_grad_norm: max_grad_norm
epochs: num_epochs num_train_epochs
steps or iterations: max_steps
batch.examples or batch.prompts: batch_size per_device_train_batch_size train_batch_size
batch.micro_tokens: gradient_accumulation_steps micro_batch_size
data.max_tokens or max_completion_tokens: max_length
data.max_tokens: max_seq_length max_seq_len cutoff_len
max_completion_tokens: max_new_tokens response_length max_completion_length
model.path: model_name_or_path base_model
data.sources.*.path or prompts: dataset dataset_name
data.sources.*.path: train_file
data.held_out or held_out: val_size
data.template: chat_template
model.lora.rank: lora_r lora_rank r
model.lora.alpha: lora_alpha
model.lora.targets: lora_target target_modules
model.lora: use_lora
model.dtype: torch_dtype
model.compute: bf16
evaluate_every: eval_steps
checkpoint.every: save_steps
checkpoint.keep: save_total_limit
save_best: load_best_model_at_end
tracker: report_to
loss.name: loss_type
reference: ref_model
batch.completions or num_samples: num_generations
num_samples: num_return_sequences
batch.epochs: num_ppo_epochs
batch.minibatches: num_mini_batches
kl.beta: kl_coef
clip_range: cliprange
value.coefficient: vf_coef
"""
SYNONYMS = {
    name: tuple(settings.split(" or "))
    for settings, names in (line.split(": ") for line in NAMES_ELSEWHERE.strip().splitlines())
    for name in names.split()
}
MOST_NAMED = 3


@dataclass(frozen=True, slots=True)
class Setting:
    """`key` has a `*` for a name that the reader chooses. `of` is the choice that the setting belongs to, as in loss.name."""

    key: str
    default: str
    meaning: str
    of: str = ""


def settings_of(kind: type[BaseModel], prefix: str = "", defaults: BaseModel | None = None) -> list[Setting]:
    """All settings, those of components behind them, in the order in which they are declared."""
    found: list[Setting] = []
    for name, field in kind.model_fields.items():
        inner = components_in(field.annotation)
        repeated = "dict" in str(field.annotation) or "tuple" in str(field.annotation)
        key = f"{prefix}{name}" + (".*" if repeated and inner else "")
        current = getattr(defaults, name) if defaults is not None else field.default
        if not inner:
            needed = field.is_required() and defaults is None
            found.append(Setting(key, "needed" if needed else _shown(current), field.description or ""))
        elif len(inner) > 1 and all(map(_tag, inner)):
            found += _choices(key, field, inner, current)
        else:
            if not field.is_required() and "None" in str(field.annotation):
                found.append(Setting(key, "absent", field.description or ""))
            given = current if isinstance(current, BaseModel) else None
            for config in inner:
                known = {setting.key for setting in found}
                found += [each for each in settings_of(config, f"{key}.", given) if each.key not in known]
    return found


def _choices(key: str, field: FieldInfo, kinds: Sequence[type[BaseModel]], current: Any) -> Iterator[Setting]:
    """A setting that is one of several by name: the names, and each one's own settings."""
    default = "needed" if field.is_required() else _shown(getattr(current, "name", None))
    names = ", ".join(_tag(kind) for kind in kinds)
    yield Setting(f"{key}.name", default, f"{field.description}: {names}")
    for kind in kinds:
        for setting in settings_of(kind, f"{key}."):
            if setting.key != f"{key}.name":
                yield Setting(setting.key, setting.default, setting.meaning, _tag(kind))


def _shown(value: Any) -> str:
    """A default as it is written in YAML."""
    match value:
        case None:
            return "absent"
        case bool():
            return str(value).lower()
        case str() if value != value.strip() or not value:
            return repr(value)
        case tuple():
            return str(list(cast("tuple[Any, ...]", value)))
        case _:
            return str(value)


def components_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    return [config for argument in get_args(annotation) for config in components_in(argument)]


def _tag(config: type[BaseModel]) -> str:
    """The name by which a config is chosen from those of its union."""
    field = config.model_fields.get("name")
    return field.default if field is not None and isinstance(field.default, str) else ""


def near_settings(unknown: str, keys: Sequence[str]) -> list[str]:
    """The settings that somebody who wrote `unknown` may have meant: of this meaning elsewhere, of this name in another place,
    or of a similar name in the same place, then anywhere."""
    above, _, name = unknown.rpartition(".")
    keys = list(dict.fromkeys(keys))
    if unknown in keys:  # of another kind of the same choice
        return []
    for word in SYNONYMS.get(name, ()):
        if found := _ending(word, keys) or _ending(
            word.rpartition(".")[2], [key for key in keys if _above(key) == above]
        ):
            return found
    if found := _ending(name, keys):
        return found
    level = _pattern(above, keys)
    start = f"{level}." if level else ""
    names = (key[len(start) :].split(".")[0] for key in keys if key.startswith(start))
    beside = {name: f"{above}.{name}" if above else name for name in names}
    anywhere = {key.rpartition(".")[2]: key for key in reversed(keys)}
    for names, least in ((beside, 0.6), (anywhere, 0.75)):
        if near := difflib.get_close_matches(name, names, n=1, cutoff=least):
            return [names[near[0]]]
    return []


def _above(key: str) -> str:
    return key.rpartition(".")[0]


def _ending(words: str, keys: Sequence[str]) -> list[str]:
    """The keys whose last words these are, without those that lie deeper than another."""
    found = [key for key in keys if f".{key}".endswith(f".{words}")]
    least = min((key.count(".") for key in found), default=0)
    return [key for key in found if key.count(".") == least][:MOST_NAMED]


def _pattern(above: str, keys: Sequence[str]) -> str:
    """The part of a key before its name, with a `*` for each name that was chosen: data.sources.web is data.sources.*."""
    parts = above.split(".")
    for key in keys:
        known = _above(key).split(".")
        if len(known) == len(parts) and all(k in ("*", p) for k, p in zip(known, parts, strict=True)):
            return _above(key)
    return above


def did_you_mean(unknown: str, keys: Sequence[str]) -> str:
    """A hint behind an error about an unknown setting; empty where nothing is near."""
    near = [f"'{key.replace('*', 'NAME')}'" for key in near_settings(unknown, keys)]
    return f"; did you mean {' or '.join(near)}?" if near else ""


# pydantic's errors in words


def explain(kind: type[BaseModel], error: ValidationError, source: str) -> str:
    """One line for each mistake, and one for all settings that are needed and absent."""
    keys = [setting.key for setting in settings_of(kind)]
    missing: list[str] = []
    lines: dict[str, None] = {}
    for problem, place in _fitting(kind, error):
        key = ".".join(place.parts)
        if problem["type"] == "missing":
            missing.append(f"'{key}'{_names_of(place.field)}")
        elif problem["type"] == "extra_forbidden":
            level = place.choices[0].model_fields if place.choices else ()
            hint = did_you_mean(key, keys) or (f"; there are: {', '.join(level)}" if level else "")
            lines[f"{source}: unknown setting '{key}'{hint}"] = None
        else:
            lines[f"{source}: {_words(problem, key, place.field)}"] = None
    if missing:
        lines[f"{source}: {listed(missing)} {'is' if len(missing) == 1 else 'are'} needed and absent"] = None
    return "\n".join(lines)


def _words(problem: Any, key: str, field: FieldInfo | None) -> str:
    context: dict[str, Any] = problem.get("ctx", {})
    at = f"'{key}' is {problem['input']!r}: " if key else ""
    match problem["type"]:
        case "union_tag_invalid":
            names = context["expected_tags"].replace("'", "")
            near = difflib.get_close_matches(context["tag"], names.split(", "), n=1)
            return f"'{key}.name' is '{context['tag']}'; there are {names}" + (
                f"; did you mean '{near[0]}'?" if near else ""
            )
        case "union_tag_not_found":
            return f"'{key}.name' is needed and absent{_names_of(field)}"
        case "model_type" | "model_attributes_type" | "dict_type" if field and (
            inner := components_in(field.annotation)
        ):
            first = next((name for name, each in inner[0].model_fields.items() if each.is_required()), "NAME")
            return f"{at}it has settings of its own, such as {key}.{first}=…"
        case _:
            return at + problem["msg"].removeprefix("Value error, ")


def _names_of(field: FieldInfo | None) -> str:
    """The names among which a setting is chosen, where it is a choice."""
    kinds = components_in(field.annotation) if field else []
    return f" (name: {', '.join(map(_tag, kinds))})" if len(kinds) > 1 and all(map(_tag, kinds)) else ""


@dataclass(slots=True)
class _Place:
    """Where an error is: the setting's own name, its field, and the configs that may be there. `member` is the position in
    pydantic's location of one kind among several without names."""

    parts: list[str]
    choices: list[type[BaseModel]]
    field: FieldInfo | None = None
    member: int | None = None


def _fitting(kind: type[BaseModel], error: ValidationError) -> Iterator[tuple[Any, _Place]]:
    """The errors; where a setting is one of several kinds without names, those of the kind that it fits best."""
    placed = [(problem, _place(kind, [str(part) for part in problem["loc"]])) for problem in error.errors()]
    members = [problem["loc"][: place.member + 1] for problem, place in placed if place.member is not None]
    for problem, place in placed:
        if place.member is None:
            yield problem, place
            continue
        above = problem["loc"][: place.member]
        rivals = [member for member in members if member[:-1] == above]
        if problem["loc"][: place.member + 1] == min(rivals, key=rivals.count):
            yield problem, place


def _place(kind: type[BaseModel], location: Sequence[str]) -> _Place:
    """pydantic puts the tag or class of a union's member into the location, which is taken out; a mapping's key stays."""
    place = _Place([], [kind])
    in_mapping = False
    for i, part in enumerate(location):
        if len(place.choices) > 1 and not in_mapping:
            member = [each for each in place.choices if part in (_tag(each), each.__name__)]
            if member:
                place.choices = member
                place.member = i if not _tag(member[0]) else place.member
                continue
        place.parts.append(part)
        field = None if in_mapping or not place.choices else place.choices[0].model_fields.get(part)
        in_mapping = False
        if field is not None:
            place.field = field
            if i + 1 < len(location):
                place.choices = components_in(field.annotation)
                in_mapping = "dict" in str(field.annotation)
    return place
