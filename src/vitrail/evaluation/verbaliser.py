"""Other words for the options: does a model do what it is told, or what it is used to? (ChEF's instruction following)

Options are listed with letters, and a rule for each says which word to write instead: numbers and the like (natural),
other words (neutral), or the letters themselves in another order (unnatural). The match ratio is the share of
questions in which the same option is chosen as without the rules (:func:`vitrail.evaluation.desiderata.match_ratio`).
"""

from __future__ import annotations

from typing import Literal

from vitrail.evaluation.instructions import LETTERS, Lettered, Prompt
from vitrail.evaluation.scenarios import Item
from vitrail.evaluation.task import Settings

WORDS: dict[str, tuple[str, ...]] = {
    "numbers": ("1", "2", "3", "4", "5", "6", "7", "8"),
    "roman": ("I", "II", "III", "IV", "V", "VI", "VII", "VIII"),
    "ordinals": ("first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth"),
    "surnames": ("Smith", "Johnson", "Williams", "Jones", "Brown", "Davis", "Miller", "Wilson"),
    "words": ("foo", "dog", "hip", "oh", "cat", "sun", "box", "red"),
}
"""Words by name; ``rotated`` gives each letter its neighbour's."""
KINDS = {
    "natural": ("numbers", "roman", "ordinals"),
    "neutral": ("surnames", "words"),
    "unnatural": ("rotated",),
}


def words_for(name: str, count: int) -> tuple[str, ...]:
    """The words of ``count`` options. ValueError for more options than words."""
    if name == "rotated":
        return tuple(LETTERS[(place + 1) % count] for place in range(count))
    if count > len(WORDS[name]):
        raise ValueError(f"{count} options, but words {name!r} has {len(WORDS[name])}; use 'rotated'")
    return WORDS[name][:count]


class Verbaliser:
    """Options with letters, and for each a word to answer with instead."""

    class Config(Settings):
        """``words``: which. ``query``: as ``lettered``'s; ``rule`` holds ``{letter}`` and ``{word}``."""

        words: Literal["numbers", "roman", "ordinals", "surnames", "words", "rotated"] = "numbers"
        query: str = "{question}\n{options}\nAnswer with the letter."
        rule: str = "If the answer is {letter}, write {word}."

    def __init__(self, config: Config) -> None:
        if "{letter}" not in config.rule or "{word}" not in config.rule:
            raise ValueError(f"rule {config.rule!r} must hold {{letter}} and {{word}}")
        self.config = config

    def prompt(self, item: Item) -> Prompt:
        """The prompt of an item. ValueError as ``lettered``'s, or for more options than words."""
        words = words_for(self.config.words, max(1, len(item.options)))
        rules = "\n".join(
            self.config.rule.replace("{letter}", letter).replace("{word}", word)
            for letter, word in zip(LETTERS, words, strict=False)
        )
        lettered = Lettered(Lettered.Config(query=f"{self.config.query}\n{rules}"))
        return Prompt(lettered.prompt(item).chat, "", words)
