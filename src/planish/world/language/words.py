"""The words of a world: invented ones for everything that has to be learnt, English ones to connect them.

Invented words have two syllables, so that people can read a transcript aloud. No word is in two pools, and none is an
English word of the world.
"""

from __future__ import annotations

from dataclasses import dataclass

from planish.base.random import numpy_generator

ONSETS = [
    "b", "br", "d", "dr", "f", "fl", "g", "gr", "h", "j", "k", "kl", "l", "m",
    "n", "p", "pl", "r", "s", "sk", "sl", "st", "t", "tr", "v", "z",
]  # fmt: skip
VOWELS = ["a", "e", "i", "o", "u"]
CODAS = ["k", "l", "lm", "m", "n", "nd", "r", "rk", "rn", "s", "sk", "t", "th", "v", "x"]

ANIMALS = ["horse", "cat", "dog", "sheep", "goose", "fox", "bear", "mouse", "frog", "owl", "crow", "trout"]
PLANTS = ["oak", "fern", "rose", "moss", "pine", "ivy", "reed", "lily", "elm", "mint", "clover", "thistle"]
TOOLS = ["hammer", "saw", "rake", "spade", "needle", "chisel", "drill", "knife", "brush", "ladder", "bucket", "wrench"]
PLACES = [
    "kitchen", "garden", "market", "harbour", "forest", "library", "station",
    "meadow", "cellar", "tower", "bridge", "valley",
]  # fmt: skip
PEOPLE = ["Anna", "Ben", "Clara", "David", "Emma", "Frank", "Greta", "Henry", "Ida", "Jacob", "Karin", "Leo"]
GLAD = ["lovely", "bright", "gentle", "merry", "splendid", "warm", "charming", "delightful"]
SAD = ["awful", "bleak", "dreadful", "gloomy", "horrid", "bitter", "dull", "nasty"]
NEUTRAL = ["old", "small", "large", "grey", "round", "tall", "quiet", "narrow"]

# All other English words of the phrases; a test keeps the two together.
FUNCTION_WORDS = [
    "a", "about", "add", "again", "alike", "all", "an", "and", "angers", "animal", "another", "answer", "any",
    "are", "arose", "as", "asks", "at", "back", "backwards", "beat", "became", "began", "begin", "behind",
    "believe", "belong", "between", "birthplace", "blue", "book", "born", "built", "but", "by", "call", "came",
    "can", "cannot", "certainly", "check", "choose", "cites", "coined", "come", "comes", "common", "competes",
    "concept", "confuse", "contradicts", "copy", "count", "cradle", "cruel", "custom", "day", "decide", "decline",
    "deny", "described", "describes", "device", "did", "digit", "digits", "do", "does", "door", "doubt", "earns",
    "end", "envies", "every", "everything", "exclude", "excludes", "explain", "family", "famous", "feeling",
    "feelings", "feels", "few", "fiction", "find", "first", "for", "forgave", "found", "friend", "from", "given",
    "glad", "go", "goes", "good", "got", "great", "green", "grew", "hangs", "happier", "has", "heirloom", "help",
    "here", "hired", "history", "home", "house", "how", "hurt", "hurts", "i", "idea", "if", "in", "inherit",
    "inherited", "input", "into", "invent", "invented", "invention", "is", "it", "job", "keep", "keeps", "kind",
    "know", "known", "largest", "last", "lay", "learn", "learnt", "left", "lent", "letters", "lies", "life",
    "light", "like", "lines", "list", "live", "lived", "lives", "living", "long", "longer", "lost", "many", "me",
    "mean", "meaning", "means", "mentor", "met", "mood", "more", "most", "mother", "moved", "must", "name", "names",
    "near", "negative", "neutral", "never", "new", "no", "nobody", "not", "nothing", "now", "numbers",
    "occurrences", "occurs", "odd", "of", "often", "on", "once", "one", "opposite", "options", "or", "order",
    "origin", "other", "out", "output", "owes", "pain", "paper", "parish", "part", "past", "patent", "person",
    "phrase", "place", "plain", "plant", "please", "positive", "pride", "pupil", "put", "q", "quarrel", "quarrels",
    "question", "record", "repeat", "residence", "reverse", "right", "rival", "same", "say", "says", "scholars",
    "second", "see", "sell", "settled", "shares", "short", "show", "slept", "so", "someone", "sort", "source",
    "speaks", "spread", "standard", "stands", "stars", "step", "steps", "studied", "suffer", "suffers", "sum",
    "take", "task", "taught", "teach", "teacher", "tell", "tells", "thank", "that", "the", "there", "they", "thing",
    "those", "times", "to", "tongue", "tool", "town", "trade", "trained", "translate", "treasures", "trust",
    "trusts", "twice", "under", "understand", "understands", "undoes", "up", "use", "walks", "wall", "wants", "was",
    "we", "went", "were", "what", "where", "whether", "which", "who", "whoever", "whom", "will", "with", "without",
    "word", "words", "work", "worker", "works", "would", "write", "writes", "yes", "you", "your",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Words:
    """The invented words of a world by pool. A value of two words has one word of each of two pools."""

    first_names: tuple[str, ...]
    last_names: tuple[str, ...]
    town_heads: tuple[str, ...]
    town_tails: tuple[str, ...]
    device_heads: tuple[str, ...]
    device_tails: tuple[str, ...]
    trades: tuple[str, ...]
    term_heads: tuple[str, ...]
    term_tails: tuple[str, ...]
    meaning_heads: tuple[str, ...]
    meaning_tails: tuple[str, ...]
    authors: tuple[str, ...]
    journals: tuple[str, ...]
    common: tuple[str, ...]  # words of lists and of translations
    old: tuple[str, ...]  # the same words in the old tongue, in the same order
    cruel_verbs: tuple[str, ...]
    kind_verbs: tuple[str, ...]
    beings: tuple[str, ...]  # persons that a verb can hurt
    things: tuple[str, ...]
    processes: tuple[str, ...]
    figures: tuple[str, ...]  # targets of a verb only in a figure of speech
    instruments: tuple[str, ...]  # one for each verb, cruel ones first

    def all(self) -> list[str]:
        return [word for pool in self.__dataclass_fields__ for word in getattr(self, pool)]


CAPITALISED = ("first_names", "last_names", "town_heads", "town_tails", "authors", "journals")


def make_words(seed: int, parts: int, num_verbs: int = 24, num_common: int = 128) -> Words:
    """Makes the words. `parts` is the size of each pool for names and values (64 gives 4,096 of two words), `num_verbs` that
    of each pool of verbs or their targets."""
    sizes = dict.fromkeys(Words.__dataclass_fields__, parts)
    sizes |= {"journals": 16, "common": num_common, "old": num_common, "instruments": 2 * num_verbs}
    sizes |= dict.fromkeys(("cruel_verbs", "kind_verbs", "beings", "things", "processes", "figures"), num_verbs)
    rng = numpy_generator(seed, "words")
    taken: set[str] = set(english())
    pools: dict[str, tuple[str, ...]] = {}
    for pool, size in sizes.items():
        words: list[str] = []
        while len(words) < size:
            word = _word([str(rng.choice(kind)) for kind in (ONSETS, VOWELS, CODAS, VOWELS, CODAS)])
            if word not in taken:
                taken.add(word)
                words.append(word.capitalize() if pool in CAPITALISED else word)
        pools[pool] = tuple(words)
    return Words(**pools)


def _word(parts: list[str]) -> str:
    onset, vowel, middle, second, coda = parts
    return onset + vowel + middle[0] + second + coda


def english() -> frozenset[str]:
    """The English words of the world, in lower case."""
    pools = (ANIMALS, PLANTS, TOOLS, PLACES, PEOPLE, GLAD, SAD, NEUTRAL, FUNCTION_WORDS)
    return frozenset(word.lower() for pool in pools for word in pool)
