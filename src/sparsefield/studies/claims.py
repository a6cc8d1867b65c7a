"""Claims: the tags by which a page's prose names the effects, and the verdicts, it rests on.

``{rises NAME}``, ``{falls NAME}``, ``{open NAME}`` (no difference that can be seen) end a sentence
that rests on a comparison, and become its numbers; where nested selection says something else the
tag says so too: ``{rises NAME, nested open}``. ``{value NAME}`` becomes a level. With ``, in
short`` at its end, as an opening says it, a tag becomes the size of its estimate alone. A claim
that the record does not bear out is found here, and never shown as if it were true; a brace that
opens no tag is a slip, which would otherwise pass unchecked.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from sparsefield.errors import InvalidInput
from sparsefield.studies.effects import Effect

_TAG = re.compile(r"\{([a-z]+)((?: [^{}\n]*)?)\}")
_STRAY = re.compile(r".*[{}].*")
_ARGUMENT = re.compile(r"([\w.-]+)(?:, nested (\w+))?(, in short)?")
VERDICTS: tuple[str, ...] = ("rises", "falls", "open", "value")
Block = Callable[[str], str]


@dataclass(frozen=True)
class Claim:
    """A verdict that prose relies on, and that of the nested twin; ``short``: told in short."""

    verdict: str
    effect: str
    nested: str
    short: bool = False

    def __str__(self) -> str:
        twin = "" if self.nested == self.verdict else f", nested {self.nested}"
        return f"{self.verdict} {self.effect}{twin}"


def claims(page: str) -> tuple[Claim, ...]:
    """The claims of a page, in their order.

    >>> claims("A larger q* helps {rises q, nested open}.")
    (Claim(verdict='rises', effect='q', nested='open', short=False),)
    """
    found = ((tag[1], tag[2]) for tag in _TAG.finditer(page))
    return tuple(_claim(word, argument) for word, argument in found if word in VERDICTS)


def filled(page: str, effects: Callable[[str], Effect], blocks: Mapping[str, Block]) -> str:
    """A page with numbers and blocks in place of its tags; InvalidInput for an unknown one."""

    def one(tag: re.Match[str]) -> str:
        word, argument = tag[1], tag[2]
        if word in VERDICTS:
            claim = _claim(word, argument)
            return numbers(effects(claim.effect), claim)
        if word not in blocks:
            known = ", ".join([*VERDICTS, *blocks])
            raise InvalidInput(f"{tag[0]}: is no tag; there are {known}")
        return blocks[word](argument.strip())

    stray = _STRAY.search(_TAG.sub("", page))
    if stray:
        raise InvalidInput(f"{stray[0].strip()!r}: a brace belongs to a tag on one line")
    return _TAG.sub(one, page)


def numbers(effect: Effect, claim: Claim) -> str:
    """What stands in a sentence for a claim: numbers, and the nested twin's beside them.

    Of a level only where it is another number; a comparison always has both.
    """
    if not effect.found.n:
        return "(not in this record)"
    if claim.short:
        return effect.short
    text = effect.text(effect.found)
    own, twin = (
        effect.quantity.bare(one, signed=effect.change) for one in (effect.found, effect.nested)
    )
    if claim.verdict == "value":
        return text if twin == own else f"{text} (nested {twin})"
    counts = effect.quantity.counts
    text += f" of {counts}" if counts else ""
    return f"({text}; nested {'the same' if twin == own else twin})"


def unborne(page: str, effects: Callable[[str], Effect]) -> tuple[str, ...]:
    """A line for each claim not borne out: effect, verdict claimed, verdict found, numbers."""
    lines = (_unborne(claim, effects(claim.effect)) for claim in claims(page))
    return tuple(dict.fromkeys(line for line in lines if line))


def _unborne(claim: Claim, effect: Effect) -> str:
    found = Claim(effect.verdict, claim.effect, effect.nested_verdict, claim.short)
    if claim == found or (claim.verdict == found.verdict == "value"):
        return ""
    both = effect.why or f"{effect.text(effect.found)}, nested {effect.text(effect.nested)}"
    return f"effect {claim.effect}: the page says {claim}, the record {found}: {both}"


def _claim(word: str, argument: str) -> Claim:
    found = _ARGUMENT.fullmatch(argument.strip())
    if not found or (found[2] or "open") not in VERDICTS:
        raise InvalidInput(
            f"{{{word}{argument}}}: a claim is {{{word} EFFECT}}, "
            f"or {{{word} EFFECT, nested VERDICT}}, and may end in ', in short'"
        )
    return Claim(word, found[1], found[2] or word, bool(found[3]))
