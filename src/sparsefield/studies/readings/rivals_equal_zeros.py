"""What the reading of rivals says of equal zeros or more: who wins, and what the skip adds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sparsefield.studies.contenders import MARGIN, THRESHOLDS, Contender
from sparsefield.studies.equal_zeros import (
    LEVELS,
    Duel,
    Frontier,
    Stand,
    best,
    duel,
    duels,
    outdone,
)
from sparsefield.studies.reading import Finding, Table, change, points, seeds, shown
from sparsefield.sweep.statistics import DIFFERENCES, NONE, Interval, pooled

_NOWHERE = "none"
_SEEN = 0.0005  # of a share: what a table shows


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


def headline(found: Sequence[Frontier], everyone: Sequence[Contender]) -> Finding:
    """At each skip the trained rival that validation chooses, then what only rivals reach.

    Thresholds are named where they do better. ``everyone``: those that do not train too.
    """
    every = sides(found)
    if not every:
        return Finding("No network trains." if everyone else "No run has a result.", NONE)
    met = [met_by_trained(one) for one in every]
    known = [lead for those in met if (lead := lead_of(those)).n]
    told = [_best_rival(one, those, everyone) for one, those in zip(every, met, strict=True)]
    told += _only_rivals(every)
    return Finding(" ".join(told), known[-1] if known else NONE)


def by_others(found: Sequence[Frontier], again: Sequence[Frontier]) -> Finding:
    """The headline's leads by nested selection, and what it says where that is something else."""
    opening = "With the learning rate of each seed chosen by the other seeds alone"
    every = sides(again)
    met = [those for one in every if (those := met_by_trained(one))]
    if not met:
        return Finding(f"{opening}, the leads are not known: that takes more seeds or runs.", NONE)
    leads = [lead_of(those) for those in met]
    numbers = " and ".join(
        f"{points(lead)} {with_skip(those[0].ours.skip)}"
        for lead, those in zip(leads, met, strict=True)
    )
    same = [_gist(one) for one in every] == [_gist(one) for one in sides(found)]
    told = (_meeting(one, those) for one in every if (those := met_by_trained(one)))
    rest = ", the verdicts the same." if same else f". Then: {' '.join(told)}"
    return Finding(
        f"{opening} (rival and setting still by all), the rival leads by {numbers}{rest}", leads[-1]
    )


def met_by_trained(one: Sides) -> list[Duel]:
    """The best trained rival at levels that both sides have, else one with more zeros than ours."""
    return duels(one.ours, one.trained) or outdone(one.ours, one.trained)


def in_detail(found: Sequence[Frontier], everyone: Sequence[Contender]) -> Iterator[Finding]:
    """Each rival against ours, the levels that only rivals reach, and what the skip adds."""
    for one in sides(found):
        for rival in one.rivals:
            yield from _one_rival(one, rival)
        yield from _beyond(one, everyone)
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
        "Rival less ours, points (in brackets the zeros of both, where they are more)",
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


def _best_rival(one: Sides, those: Sequence[Duel], everyone: Sequence[Contender]) -> str:
    if not those:
        return f"{with_skip(one.skip).capitalize()}, {_missing(one, everyone)}."
    return _meeting(one, those)


def _meeting(one: Sides, those: Sequence[Duel]) -> str:
    told = f"{_where(one.skip, those)}, {_with_zeros(those)} {_verdict(those)}"
    return f"{told}{_cut(one, those)}{_wins_above(one, those)}."


def _wins_above(one: Sides, those: Sequence[Duel]) -> str:
    """A rival that wins with more zeros than ours, where none does at equal zeros."""
    above = outdone(one.ours, one.trained)
    if lead_of(those).low > 0 or not lead_of(above).low > 0:
        return ""
    levels = percents([met.zeros for met in above])
    return f"; with more zeros than ours at {levels}, {_with_zeros(above)} {_verdict(above)}"


def _where(skip: float, those: Sequence[Duel]) -> str:
    levels = percents([duel.zeros for duel in those])
    if those[0].level:
        return f"{with_skip(skip).capitalize()}, at {levels} zeros"
    return f"{with_skip(skip).capitalize()}, with more zeros than ours at {levels}"


def _with_zeros(those: Sequence[Duel]) -> str:
    """The rivals of duels, with their zeros where they have more than were asked for."""
    named: dict[str, list[str]] = {}
    for met in those:
        told = named.setdefault(name_of(met.rival), [])
        if met.stands[1].zeros >= met.zeros + MARGIN:
            zeros = f"with {100 * met.stands[1].zeros:.1f} %"
            told.append(f"at {100 * met.zeros:g} % {zeros}" if met.level else zeros)
    return " or ".join(
        f"{name} ({', '.join(dict.fromkeys(told))})" if told else name
        for name, told in named.items()
    )


def _missing(one: Sides, everyone: Sequence[Contender]) -> str:
    """Why none of ours meets a trained rival."""
    for name, there, ours in (
        ("a clipped network", one.ours, True),
        ("a trained rival", one.trained, False),
    ):
        if there:
            continue
        tried = [each for each in everyone if (each.skip, each.ours) == (one.skip, ours)]
        return f"no run of {name} {'trains' if tried else 'has a result'}"
    return f"no trained rival has as many zeros as a clipped network at {percents(LEVELS, 'or')}"


def _cut(one: Sides, those: Sequence[Duel]) -> str:
    """Thresholds at the same levels, where they do better than what was trained for zeros."""
    levels = [duel.zeros for duel in those]
    cut = [rival for rival in one.rivals if rival.method == THRESHOLDS]
    theirs = [duel for duel in duels(one.ours, cut) if duel.zeros in levels]
    lead, trained = lead_of(theirs), lead_of(those)
    if len(theirs) < len(those) or not lead.estimate > trained.estimate:
        return ""
    if points(lead) == points(trained):  # below what they cut off, they are the dense network
        return ""
    return f"; {name_of(cut[0])} {_verdict(theirs)}"


def _gist(one: Sides) -> tuple[object, ...]:
    """What the headline says at a skip, but for its numbers."""
    those = met_by_trained(one)
    lead = lead_of(those)
    met = tuple((duel.zeros, duel.ours.method, duel.rival.method) for duel in those)
    return one.skip, met, lead.known, lead.low > 0, lead.high < 0, bool(_wins_above(one, those))


def _one_rival(one: Sides, rival: Frontier) -> Iterator[Finding]:
    """At the levels that both have, and apart from them where the rival has more zeros."""
    found = [those for those in (duels(one.ours, [rival]), outdone(one.ours, [rival])) if those]
    for those in found:
        lead = lead_of(those)
        yield Finding(
            f"{_where(one.skip, those)}, {_with_zeros(those)} {_verdict(those)} "
            f"({seeds(lead.n)}, paired).",
            lead,
        )
    if not found:
        yield Finding(
            f"{with_skip(one.skip).capitalize()}, {name_of(rival)} is not compared with "
            f"ours, for want of equal zeros: {_reach(rival)}.",
            NONE,
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


def _only(one: Sides) -> list[tuple[float, Frontier, Stand]]:
    """The levels that a trained rival reaches and none of ours does, and the best rival there."""
    levels = [zeros for zeros in LEVELS if best(one.ours, zeros) is None]
    found = [(zeros, best(one.trained, zeros)) for zeros in levels]
    return [(zeros, *there) for zeros, there in found if there]


def _only_rivals(every: Sequence[Sides]) -> list[str]:
    """What only rivals reach, at the most zeros of them; nothing where ours reach as far."""
    told = [_only_there(one) for one in every if one.ours and _only(one)]
    return [f"Only rivals reach {'; and '.join(told)}."] if told else []


def _only_there(one: Sides) -> str:
    found = _only(one)
    zeros, rival, stand = found[-1]
    more = f" with {100 * stand.zeros:.1f} %" if stand.zeros >= zeros + MARGIN else ""
    return (
        f"{percents([each for each, *_ in found])} {with_skip(one.skip)} (ours: at most "
        f"{_most(one)} in every seed), where {name_of(rival)}{more} has "
        f"{stand.accurate().show(100)} % accuracy{f' at {100 * zeros:g} %' if found[1:] else ''}"
    )


def _beyond(one: Sides, everyone: Sequence[Contender]) -> Iterator[Finding]:
    """The best trained rival at each level that none of ours reaches."""
    asked = [each.knob for each in everyone if each.ours and each.skip == one.skip]
    for zeros, rival, stand in _only(one) if asked else []:
        accuracy = stand.accurate()
        more = f" with {100 * stand.zeros:.1f} % zeros" if stand.zeros >= zeros + MARGIN else ""
        most = f"the most: {_most(one)}; " if one.ours else "none trains; "
        yield Finding(
            f"{with_skip(one.skip).capitalize()}, at {percents([zeros])} zeros, the best trained "
            f"rival, {name_of(rival)}{more}, has {accuracy.show(100)} % test accuracy "
            f"({seeds(accuracy.n)}); no clipped network run here that trains ends with as many "
            f"zeros in every seed ({most}asked for at most s = {max(asked):g}; sparser ones: "
            "[frontier](frontier.md)).",
            accuracy,
        )


def _most(one: Sides) -> str:
    return f"{100 * max(each.most for each in one.ours):.1f} %"


def _skip_adds(found: Sequence[Frontier]) -> Iterator[Finding]:
    """Each method with its largest skip against itself without, at equal zeros."""
    for method in dict.fromkeys(one.method for one in found):
        line = sorted((one for one in found if one.method == method), key=lambda one: one.skip)
        those = duels(line[:1], line[-1:]) if line[1:] else []
        if those:
            effect = lead_of(those)
            yield Finding(
                f"{with_skip(line[-1].skip).capitalize()} in place of {_less(line[0].skip)}, at "
                f"{percents([duel.zeros for duel in those])} zeros, test accuracy of "
                f"{name_of(line[0])} {change(effect)}: {points(effect)} ({seeds(effect.n)}, "
                f"paired){_without_more(those)}.",
                effect,
            )


def _without_more(those: Sequence[Duel]) -> str:
    """Where what is without the skip has more zeros than with it."""
    more = [met for met in those if -met.more >= MARGIN]
    told = [f"{100 * met.stands[0].zeros:.1f} % at {100 * met.zeros:g} %" for met in more]
    return f"; without it zeros are {' and '.join(told)}" if told else ""


def _less(skip: float) -> str:
    return f"{skip:g}" if skip else "none"


def name_of(one: Frontier) -> str:
    """A method in a sentence."""
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
    return f"{found} ({100 * stand.zeros:.1f})" if stand.zeros >= zeros + _SEEN else found


def _leads(every: Sides, rival: Frontier) -> tuple[str, ...]:
    met = [duel(zeros, every.ours, [rival]) for zeros in LEVELS]
    most = max((each.lead.n for each in met if each), default=0)
    return (shown(every.skip), rival.method, *map(_lead_cell, met), str(most))


def _lead_cell(met: Duel | None) -> str:
    """The lead, and the zeros of both, the rival's first, where they are not those asked for."""
    if met is None or not met.lead.n:
        return _NOWHERE
    told = points(met.lead).removesuffix(" points")
    shares = [100 * stand.zeros for stand in met.stands]
    if all(share < 100 * (met.zeros + MARGIN) for share in shares):
        return told
    return f"{told} ({shares[1]:.1f} against {shares[0]:.1f})"
