"""Room for an answer: a prompt and its completion have to fit into the context that a model was made for."""

from __future__ import annotations

from collections.abc import Sequence

from planish.base.errors import ConfigError
from planish.data.rows import Prompt
from planish.inference.sample import SamplingConfig


def check_room(
    prompts: Sequence[Prompt], encoded: Sequence[Sequence[int]], most: int, limit: int | None, model: str, setting: str
) -> None:
    """Refuses prompts that leave no room for a completion of `most` tokens; `setting` is the one that says how many."""
    if limit is None or not encoded:
        return
    lengths = [len(tokens) for tokens in encoded]
    longest = max(range(len(lengths)), key=lambda i: lengths[i])
    if lengths[longest] + most <= limit:
        return
    room = limit - lengths[longest]
    mend = f"Set {setting}={room} or less, or take" if room > 0 else "Take"
    raise ConfigError(
        f"{prompts[longest].origin}: {lengths[longest]} tokens, and {setting}={most} beside them, are more than the {limit} "
        f"that {model} was made for. {mend} the longest prompts out"
    )


def fitted(
    sampling: SamplingConfig, lengths: Sequence[int], limit: int | None
) -> tuple[SamplingConfig, list[int], str | None]:
    """Sampling of examples beside a training, which is not stopped for want of room: the sampling, which prompts take part, and
    what was changed, if anything. Prompts without room are left out; where all are, completions are shorter."""
    everyone, most = list(range(len(lengths))), sampling.max_completion_tokens
    if limit is None or not lengths or max(lengths) + most <= limit:
        return sampling, everyone, None
    if some := [i for i in everyone if lengths[i] + most <= limit]:
        left = f"{len(lengths) - len(some)} of {len(lengths)} prompts have no room for {most} tokens and are left out"
        return sampling, some, f"samples: {left}: the model was made for {limit}"
    some = [i for i in everyone if lengths[i] < limit]
    room = limit - max((lengths[i] for i in some), default=limit)
    said = f"samples: completions are cut after {room} tokens, not {most}: the model was made for {limit}"
    if not some:
        said = f"samples: there are none, since no prompt fits into the {limit} tokens that the model was made for"
    return sampling.model_copy(update={"max_completion_tokens": max(room, 1)}), some, said
