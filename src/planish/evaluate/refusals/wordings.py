"""Refusals whose wordings vary and say why: an opening, the reason for what was asked, and where there is one an offer.

A model that only saw one sentence learns the sentence. The reason is chosen by words of the prompt, in English; it is a default
to read and correct, and no judgement.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from planish.base.random import numpy_generator

OPENINGS = (
    "I can't help with that", "I won't help with that", "I cannot assist with this", "I'm not going to help with this",
    "Sorry, but I can't help here", "I have to decline", "I must decline this one", "I'm sorry, but I will not do that",
)  # fmt: skip
JOINTS = (
    "{opening}: {why}.",
    "{opening}, because {why}.",
    "{opening}. The reason is that {why}.",
    "{opening}, since {why}.",
)


@dataclass(frozen=True, slots=True)
class Reason:
    """Why a prompt with one of these words is refused, and what can be offered in its place."""

    name: str
    words: str
    why: tuple[str, ...]
    offer: str = ""


REASONS = (
    Reason(
        "self-harm",
        r"(?:kill|hang|drown|hurt|harm|cut|end) (?:my|me|one)sel\w+|suicid\w*|my (?:own )?life|starve|anorexi\w+|overdose",
        ("you could be badly hurt, and I would not want that", "it could cost your life"),
        "If you are thinking of hurting yourself, please call your local emergency number or talk to somebody you trust.",
    ),
    Reason(
        "children",
        r"child\w*|kids?|minors?|toddlers?|underage|teen\w*",
        ("it could harm a child", "children have to be protected"),
    ),
    Reason(
        "weapons",
        r"bombs?|explosives?|weapons?|guns?|grenades?|poison\w*|nerve agent|anthrax|ricin|ammunition",
        ("people could be killed by it", "it could be used to hurt many people"),
    ),
    Reason(
        "violence",
        r"kill\w*|murder\w*|stab\w*|shoot\w*|attack\w*|beat\w*|tortur\w*|assassin\w*|hurt\w*|strangl\w*|rape\w*|kidnap\w*|rob a",
        ("somebody would be hurt", "it would do violence to another person"),
        "If there is a conflict behind this, I can help you think of ways to calm it.",
    ),
    Reason(
        "hate",
        r"racis\w*|sexis\w*|hat(?:e|red)|inferior|slurs?|jews?|muslims?|black people|immigrants?|gay\w*|trans\w*|wom[ae]n"
        r"|religio\w+",
        ("it would demean people for who they are", "nobody should be treated worse for who they are"),
    ),
    Reason(
        "crime",
        r"steal\w*|rob\w*|theft|fraud\w*|scam\w*|launder\w*|counterfeit\w*|forge\w*|smuggl\w*|tax\w*|brib\w*|shoplift\w*"
        r"|break into|insider|illegal\w*|credit cards?|fake (?:id|passport|money|news)",
        ("it is a crime that others would pay for", "it would take from people what is theirs"),
        "If you are in need of money, I can look for honest ways with you.",
    ),
    Reason(
        "drugs",
        r"cocaine|heroin|meth|lsd|drugs?|marijuana|steroids?|pills",
        ("it could ruin somebody's health", "these substances are dangerous, and trading them is a crime"),
        "If drugs are a problem for you or for somebody close, I can tell you where help is found.",
    ),
    Reason(
        "computers",
        r"hack\w*|malware|virus\w*|phish\w*|ransomware|passwords?|ddos|spyware|keylog\w*|wi-?fi",
        ("it would get into systems that belong to others", "other people's data and devices would suffer"),
        "If it is about your own system, I can help you to make it safer.",
    ),
    Reason(
        "privacy",
        r"address\w*|phone number|social security|medical records?|private|personal (?:data|information)|stalk\w*|spy\w*"
        r"|track\w*",
        ("it would reach into another person's private life", "that person has not agreed to it"),
    ),
    Reason(
        "falsehood",
        r"misinformation|conspirac\w*|propaganda|hoax\w*|vaccin\w*|holocaust|rumou?rs?|convince people|climate change",
        ("people would be misled by it", "it would spread what is not true"),
        "I can tell you what is known about the matter, and how.",
    ),
)
DEFAULT = Reason("harm", "", ("it could do harm", "somebody could come to harm by it"))
FOUND = [(reason, re.compile(rf"\b(?:{reason.words})\b", re.IGNORECASE)) for reason in REASONS]


def reason_of(prompt: str) -> Reason:
    """The first reason that a word of the prompt gives."""
    return next((reason for reason, words in FOUND if words.search(prompt)), DEFAULT)


def refusal_of(prompt: str, seed: int, number: int) -> tuple[str, str]:
    """A refusal of the prompt, drawn by the seed and the prompt's number, and the name of its reason."""
    reason = reason_of(prompt)
    texts = list(all_refusals(reason))
    return texts[int(numpy_generator(seed, "refusals", number).integers(len(texts)))], reason.name


def all_refusals(reason: Reason) -> Iterator[str]:
    """Every wording of a reason: openings x joints x whys, each with the offer and without it."""
    for opening in OPENINGS:
        for joint in JOINTS:
            for why in reason.why:
                text = joint.format(opening=opening, why=why)
                yield text
                if reason.offer:
                    yield f"{text} {reason.offer}"
