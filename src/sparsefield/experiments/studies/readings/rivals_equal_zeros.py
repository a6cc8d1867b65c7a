"""What the reading of rivals says of equal zeros or more: who wins, and what the skip adds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sparsefield.experiments.studies.contenders import THRESHOLDS
from sparsefield.experiments.studies.equal_zeros import LEVELS, Duel, Frontier, best, duels
from sparsefield.experiments.studies.reading import Finding, Table, change, points, seeds, shown
from sparsefield.experiments.studies.statistics import DIFFERENCES, NONE, Interval, pooled

_NOWHERE = "none"


@dataclass(frozen=True)
class Sides:
    """Ours and the rivals at one skip."""

    skip: float
    ours: tuple[Frontier, ...]
    rivals: tuple[Frontier, ...]

    @property
    def trained(self) -> tuple[Frontier, ...]:
        """The rivals that train for their zeros; of thresholds there is no validation to choose."""
        return tuple(one for one in self.rivals if one.method != THRESHOLDS)


def sides(found: Sequence[Frontier]) -> list[Sides]:
    """Ours against the rivals, one a skip."""
    skips = sorted({one.skip for one in found})
    return [
        Sides(
            skip,
            tuple(one for one in found if one.skip == skip and one.ours),
            tuple(one for one in found if one.skip == skip and not one.ours),
        )
        for skip in skips
    ]


def headline(found: Sequence[Frontier]) -> Finding:
    """At each skip the trained rival that validation chooses, and thresholds if they do better."""
    every = sides(found)
    if not every:
        return Finding("No network trains.", NONE)
    met = [duels(one.ours, one.trained) for one in every]
    leads = [lead_of(those) for those in met]
    known = [lead for lead in leads if lead.n]
    told = (_best_rival(one, those) for one, those in zip(every, met, strict=True))
    return Finding(" ".join(told), known[-1] if known else NONE)


def in_detail(found: Sequence[Frontier]) -> Iterator[Finding]:
    """Each rival against ours, the levels that only rivals reach, and what the skip adds."""
    for one in sides(found):
        yield from (_one_rival(one, rival) for rival in one.rivals)
        yield from _beyond(one)
    yield from _skip_adds(found)


def tables(found: Sequence[Frontier]) -> Iterator[Table]:
    """Accuracy at each level, and the rivals' lead."""
    heads = ("skip α²", "method", *(f"{100 * zeros:g} % zeros" for zeros in LEVELS))
    reach = ("fewest zeros, %", "most zeros, %")
    yield Table(
        "Test accuracy at equal zeros or more, % (in brackets the zeros, where they are more)",
        (*heads, "n", *reach),
        tuple(_accuracies(one) for every in sides(found) for one in (*every.ours, *every.rivals)),
    )
    yield Table(
        "Rival less ours at equal zeros or more, points",
        (*heads, "n"),
        tuple(_leads(every, rival) for every in sides(found) for rival in every.rivals),
    )


def lead_of(those: Sequence[Duel]) -> Interval:
    """The rivals' mean lead over ours, seeds paired."""
    return pooled([duel.sides for duel in those], within=DIFFERENCES)


def with_skip(skip: float) -> str:
    """The skip, or that there is none, in words."""
    return f"with skip {skip:g}" if skip else "without the skip"


def percents(levels: Sequence[float], joint: str = "and") -> str:
    """Shares in words.

    >>> percents((0.8, 0.85, 0.9))
    '80, 85 and 90 %'
    """
    *first, last = (f"{100 * level:g}" for level in levels)
    return f"{', '.join(first)} {joint} {last} %" if first else f"{last} %"


def _best_rival(one: Sides, those: Sequence[Duel]) -> str:
    where = with_skip(one.skip).capitalize()
    if not those:
        return (
            f"{where}, a trained rival and a clipped network have not "
            f"both {percents(LEVELS, 'or')} zeros or more."
        )
    rivals = " or ".join(dict.fromkeys(duel.rival.method for duel in those))
    levels = percents([duel.zeros for duel in those])
    return (
        f"{where}, at {levels} zeros or more, the best trained rival ({rivals}) "
        f"{_verdict(those)}{_untrained(one, those)}."
    )


def _untrained(one: Sides, those: Sequence[Duel]) -> str:
    """Thresholds at the same levels, where they do better than what was trained for zeros."""
    levels = [duel.zeros for duel in those]
    cut = [rival for rival in one.rivals if rival.method == THRESHOLDS]
    theirs = [duel for duel in duels(one.ours, cut) if duel.zeros in levels]
    lead, trained = lead_of(theirs), lead_of(those)
    if len(theirs) < len(those) or not lead.estimate > trained.estimate:
        return ""
    if points(lead) == points(trained):  # below what they cut off, they are the dense network
        return ""
    return f"; {_name(cut[0])} {_verdict(theirs)}"


def _one_rival(one: Sides, rival: Frontier) -> Finding:
    those = duels(one.ours, [rival])
    opening = f"{with_skip(one.skip).capitalize()}"
    if not those:
        return Finding(
            f"{opening}, {_name(rival)} has none of the zeros that ours have: {_reach(rival)}.",
            NONE,
        )
    lead = lead_of(those)
    return Finding(
        f"{opening}, at {percents([duel.zeros for duel in those])} zeros or more, "
        f"{_name(rival)} "
        f"{_verdict(those)} ({seeds(lead.n)}, paired).",
        lead,
    )


def _verdict(those: Sequence[Duel]) -> str:
    lead = lead_of(those)
    ours = " or ".join(dict.fromkeys(duel.ours.method for duel in those))
    if not lead.n:
        return f"cannot be compared with {ours}, for want of runs of one seed"
    if not lead.known:
        return f"stands at {points(lead)} to {ours}, too few seeds for a verdict"
    if not lead.excludes(0.0):
        return f"is not told apart from {ours}: {points(lead)}"
    return f"{'beats' if lead.estimate > 0 else 'loses to'} {ours}: {points(lead)}"


def _beyond(one: Sides) -> Iterator[Finding]:
    """The levels that a rival reaches and none of ours does."""
    for zeros in LEVELS:
        found = best(one.trained, zeros)
        if found is None or best(one.ours, zeros) is not None:
            continue
        rival, accuracy = found[0], found[1].accurate()
        yield Finding(
            f"{with_skip(one.skip).capitalize()}, at {percents([zeros])} zeros or more there is no "
            f"clipped network that trains; the best trained rival there, {rival.method}, has "
            f"{accuracy.show(100)} % test accuracy ({seeds(accuracy.n)}).",
            accuracy,
        )


def _skip_adds(found: Sequence[Frontier]) -> Iterator[Finding]:
    """Each method with its largest skip against itself without, at equal zeros."""
    for method in dict.fromkeys(one.method for one in found):
        line = sorted((one for one in found if one.method == method), key=lambda one: one.skip)
        those = duels(line[:1], line[-1:]) if line[1:] else []
        if those:
            effect = lead_of(those)
            yield Finding(
                f"{with_skip(line[-1].skip).capitalize()} in place of {_less(line[0].skip)}, at "
                f"{percents([duel.zeros for duel in those])} zeros or more, test accuracy of "
                f"{_name(line[0])} {change(effect)}: {points(effect)} ({seeds(effect.n)}, paired).",
                effect,
            )


def _less(skip: float) -> str:
    return f"{skip:g}" if skip else "none"


def _name(one: Frontier) -> str:
    return "thresholding the dense network" if one.method == THRESHOLDS else one.method


def _reach(one: Frontier) -> str:
    low, high = (f"{100 * share:.1f}" for share in one.reach)
    count = len(one.settings)
    return f"its networks have {low} to {high} % zeros" if count > 1 else f"it has {low} % zeros"


def _accuracies(one: Frontier) -> tuple[str, ...]:
    low, high = (f"{100 * share:.1f}" for share in one.reach)
    cells = (_cell(one, zeros) for zeros in LEVELS)
    return (shown(one.skip), one.method, *cells, str(len(one.seeds)), low, high)


def _cell(one: Frontier, zeros: float) -> str:
    stand = one.at(zeros)
    if stand is None:
        return _NOWHERE
    found = stand.accurate().show(100)
    return f"{found} ({100 * stand.zeros:.1f})" if stand.zeros > zeros else found


def _leads(every: Sides, rival: Frontier) -> tuple[str, ...]:
    met = {duel.zeros: duel.lead for duel in duels(every.ours, [rival])}
    cells = [met.get(zeros, NONE) for zeros in LEVELS]
    told = (points(each).removesuffix(" points") if each.n else _NOWHERE for each in cells)
    return (shown(every.skip), rival.method, *told, str(max(each.n for each in cells)))
