"""Verdicts on whole records and turns: fields that say an answer is bad, or must not be learnt.

A verdict is never a note. A record that says of itself that it is deleted, spam, not approved or of weight 0 is left out and
listed; one whose verdict a format cannot use is refused, because its answer would be imitated.
"""

from __future__ import annotations

from collections.abc import Mapping

from planish.data.fields import fault, fields, is_object
from planish.data.files.readers import Record

TRUTHS: Mapping[str, bool] = {"true": True, "1": True, "false": False, "0": False}
MAY_BE_ANSWERS = ("rejected", "accepted", "correct")  # verdicts if they are true or false, else an answer or its number
# Fields that leave a record out if they are true, and if they are false.
OUT_IF_TRUE = ("deleted", "is_deleted", "removed", "spam", "is_spam", "rejected", "is_rejected")
OUT_IF_FALSE = (
    *("approved", "is_approved", "accepted", "is_accepted", "reviewed", "is_reviewed", "review_result"),
    *("valid", "is_valid", "correct", "is_correct", "train", "keep"),
)
WEIGHTS = ("loss_weight", "weight")
# Fields that say how an answer was judged, true or 1 for a desirable one (KTO).
LABELS = ("label", "kto_tag", "desirable", "is_desirable")
BAD = ("bad", "rejected", "reject", "undesirable", "incorrect", "wrong", "spam", "deleted")


def truth_of(value: object) -> bool | None:
    """A truth value, also as a number or a text, as tables write it; None for anything else."""
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return TRUTHS.get(str(value).strip().lower()) if isinstance(value, str | int) else None


def label_of(value: object) -> str | None:
    """The name of the field that says if an answer is desirable; None if there is none."""
    return next((name for name in LABELS if truth_of(value.get(name)) is not None), None) if is_object(value) else None


def left_out(record: Record) -> str | None:
    """The reason for which a record says that it must not be learnt; None if it says no such thing."""
    if not is_object(record.value):
        return None
    return next((reason for name, value in record.value.items() if (reason := _reason(name, value))), None)


def _reason(name: str, value: object) -> str | None:
    if name in OUT_IF_TRUE or name in OUT_IF_FALSE:
        out = name in OUT_IF_TRUE
        is_said = truth_of(value) is out and (isinstance(value, bool) or name not in MAY_BE_ANSWERS)
        return f"{name} is {str(out).lower()}" if is_said else None
    return f"{name} is 0" if name in WEIGHTS and _weight(value) == 0 else None


def refuse_verdict(record: Record, name: str) -> None:
    """Raises if this field, which nothing uses, is a verdict against what would be learnt."""
    value, wanted = fields(record)[name], ""
    is_label = name in LABELS and (truth_of(value) is not None or str(value).strip().lower() in BAD)
    if record.field and (is_label or _reason(name, value)):
        wanted = (
            "a verdict on a turn, which is not read. Leave the turn out of the loss with `loss_weight: 0`, or remove it"
        )
    elif is_label:
        wanted = (
            "a verdict on the answer, while the other rows are for imitation. Set `format` to kto, or leave the field "
            f"unread with `ignore: [{name}]`"
        )
    elif name in WEIGHTS and _weight(value) not in (0, 1):
        wanted = "expected 0 or 1. Weigh whole sources instead, or leave the field unread with `ignore`"
    if wanted:
        raise fault(record.inside(value, name), f"found {str(value)[:40]}, {wanted}.")


def _weight(value: object) -> float | None:
    try:
        return float(value) if isinstance(value, str | int | float) else None
    except ValueError:
        return None
