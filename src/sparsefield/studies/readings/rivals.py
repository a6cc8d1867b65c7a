"""Who is most accurate with as many zeros: the clipped activation, or a rival; failures of each."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from sparsefield.pictures.plotting import styled
from sparsefield.studies.arms import Arm, arms
from sparsefield.studies.contenders import (
    DENSE,
    MARGIN,
    Contender,
    Match,
    as_sparse,
    contenders,
    cut_off,
    method_of,
    preferred,
)
from sparsefield.studies.contrasts import failing, rows_of
from sparsefield.studies.equal_zeros import Frontier, frontiers
from sparsefield.studies.reading import (
    Finding,
    Reading,
    Table,
    arm_table,
    points,
    seeds,
    shown,
)
from sparsefield.studies.readings.rivals_equal_zeros import (
    by_others,
    headline,
    in_detail,
    met_by_trained,
    sides,
    tables,
    with_skip,
)
from sparsefield.studies.readings.rivals_figure import CAPTION, draw
from sparsefield.studies.record import Record
from sparsefield.sweep.statistics import NONE, Interval

FIELDS = ("family", "penalty", "penalty_weight", "sparsity", "skip")
_SLACK = f"less {100 * MARGIN:g} point"


@dataclass(frozen=True)
class Field:
    """All that compete: our arms, the rivals', and the dense networks cut off at levels."""

    ours: tuple[Contender, ...]
    rivals: tuple[Contender, ...]
    cut: tuple[Contender, ...]
    skips: tuple[float, ...]

    def at(self, skip: float) -> list[Contender]:
        """Our arms with this skip."""
        return [one for one in self.ours if one.skip == skip]


def read(record: Record) -> Reading:
    """Accuracy at as many zeros, from our side and from the rivals', without and with the skip."""
    found = arms(record)
    everyone = contenders(found)
    field = Field(
        tuple(one for one in everyone if one.ours),
        tuple(one for one in everyone if not one.ours),
        cut_off(found),
        tuple(sorted({arm["skip"] for arm in found})),
    )
    lines = frontiers(everyone, field.cut)
    findings = [
        headline(lines, everyone),
        *_by_others(found, lines),
        *in_detail(lines, everyone),
        *(_from_theirs(field, skip) for skip in field.skips),
        *(_price(field, skip) for skip in field.skips),
        *(_failing(found, method) for method in dict.fromkeys(map(method_of, found))),
    ]
    return Reading(
        tuple(findings),
        (
            *tables(lines),
            arm_table("Every arm", found, FIELDS, "zeros_end", "zeros_end_last"),
            *_tables(field),
        ),
        lambda: styled(lambda: draw(everyone, field.cut, field.skips)),
        CAPTION,
    )


def _by_others(found: Sequence[Arm], lines: Sequence[Frontier]) -> Iterator[Finding]:
    """The headline where each seed's rates are chosen by the other seeds, if they are chosen."""
    if any(arm.candidates[1:] for arm in found) and any(
        met_by_trained(one) for one in sides(lines)
    ):
        nested = [arm.nested() for arm in found]
        yield by_others(lines, frontiers(contenders(nested), cut_off(nested)))


def _from_theirs(field: Field, skip: float) -> Finding:
    """Each rival's arm against ours with at least as many zeros as it has."""
    matches, alone = _their_side(field, skip)
    where = with_skip(skip).capitalize()
    if not matches:
        count = f"; {len(alone)} rival networks have more" if alone else ""
        return Finding(f"{where}, no rival network meets a clipped one as sparse{count}.", NONE)
    ahead = sum(match.lead.low > 0 for match in matches)
    behind = sum(match.lead.high < 0 for match in matches)
    most = max(matches, key=lambda match: (match.lead.low > 0, match.lead.estimate))
    return Finding(
        f"{where}, of {len(matches) + len(alone)} rival networks {len(matches)} can be met "
        f"by a clipped one run here with at least as many zeros ({_SLACK}): "
        f"{ahead} win, {behind} lose, {len(matches) - ahead - behind} not told apart. "
        f"First is {most.rival.name} ({_percent(most.rival.sparse())} % zeros) beside "
        f"{most.ours.name} ({_percent(most.ours.sparse())} %): {points(most.lead)}{_n(most.lead)}.",
        most.lead,
    )


def _price(field: Field, skip: float) -> Finding:
    """What the zeros cost: our best arm against the dense network."""
    best = preferred(field.at(skip))
    dense = preferred([one for one in field.rivals if (one.method, one.skip) == (DENSE, skip)])
    opening = f"{with_skip(skip).capitalize()}, the price of zeros"
    if best is None or dense is None:
        return Finding(f"{opening} is not known: a dense or a clipped network is missing.", NONE)
    lead = Match(best, dense).lead
    return Finding(
        f"{opening}: dense ReLU ({_percent(dense.sparse())} % zeros), beside the clipped network "
        f"that validation chooses ({best.name}, {_percent(best.sparse())} % zeros), "
        f"{_verdict(lead)}{_n(lead)}.",
        lead,
    )


def _failing(found: Sequence[Arm], method: str) -> Finding:
    told, rate = failing(rows_of(arm for arm in found if method_of(arm) == method))
    return Finding(f"{method}: at the learning rates chosen, {told}.", rate)


def _lowest_level(field: Field, ours: Contender) -> Match | None:
    levels = as_sparse(field.cut, ours)  # from low to high
    return Match(ours, levels[0]) if levels else None


def _their_matches(field: Field, skip: float) -> list[Match]:
    """Every rival's arm that trains against ours with as many zeros, where there is one."""
    rivals = [one for one in field.rivals if one.skip == skip and not one.failed]
    found = ((preferred(as_sparse(field.ours, one)), one) for one in rivals)
    return [Match(ours, rival) for ours, rival in found if ours is not None]


def _their_side(field: Field, skip: float) -> tuple[list[Match], list[Contender]]:
    """The same but for the dense network, whose zeros cost nothing; the arms that meet no one."""
    matches = [match for match in _their_matches(field, skip) if match.rival.method != DENSE]
    matches = [match for match in matches if match.lead.n]
    met = [match.rival for match in matches]
    trained = (one for one in field.rivals if one.method != DENSE and not one.failed)
    return matches, [one for one in trained if one.skip == skip and one not in met]


def _our_matches(field: Field, skip: float) -> Iterator[Match]:
    """Each of our arms against every rival method that has as many zeros."""
    for ours in field.at(skip):
        those = as_sparse(field.rivals, ours)
        for method in dict.fromkeys(one.method for one in those):
            rival = preferred([one for one in those if one.method == method])
            if rival is not None:
                yield Match(ours, rival)
        cut = _lowest_level(field, ours)
        if cut is not None:
            yield cut


def _tables(field: Field) -> Iterator[Table]:
    ours = [match for skip in field.skips for match in _our_matches(field, skip)]
    theirs = [match for skip in field.skips for match in _their_matches(field, skip)]
    yield _table(f"Each rival with at least as many zeros as ours, {_SLACK}", ours)
    alone = [one for skip in field.skips for one in _their_side(field, skip)[1]]
    beside = _table(f"Ours with at least as many zeros as each rival, {_SLACK}", theirs)
    yield replace(beside, rows=(*beside.rows, *map(_unmet, alone)))
    columns = ("skip α²", "level", "zeros, %", "test accuracy, %", "n")
    rows = tuple(
        (
            *(shown(one.skip), one.setting.removeprefix("level ")),
            *(one.sparse().show(100), one.accurate().show(100), str(one.accurate().n)),
        )
        for one in field.cut
    )
    yield Table(
        "Thresholds on the trained dense networks, the learning rate chosen without them",
        columns,
        rows,
    )


def _table(title: str, matches: Sequence[Match]) -> Table:
    columns = ("skip α²", "ours", "zeros, %", "rival", "zeros, %", "rival less ours, points", "n")
    rows = tuple(
        (
            shown(match.ours.skip),
            *(match.ours.name, _percent(match.ours.sparse())),
            *(match.rival.name, _percent(match.rival.sparse())),
            *(match.lead.show(100, signed=True).replace("-", "−"), str(match.lead.n)),
        )
        for match in matches
    )
    return Table(title, columns, rows)


def _unmet(rival: Contender) -> tuple[str, ...]:
    """A row for a rival that is sparser than all of ours."""
    zeros = _percent(rival.sparse())
    return (shown(rival.skip), "none as sparse", "none", rival.name, zeros, "none", "0")


def _verdict(lead: Interval) -> str:
    """What a rival's lead over ours says, with its interval."""
    if not lead.n:
        return "cannot be compared with ours, for want of runs of one seed"
    if not lead.known:
        return f"stands at {points(lead)} to ours, too few seeds for a verdict"
    if not lead.excludes(0.0):
        return f"is not told apart from ours: {points(lead)}"
    return f"{'wins' if lead.estimate > 0 else 'loses'}: {points(lead)}"


def _n(lead: Interval) -> str:
    return f" ({seeds(lead.n)}, paired)" if lead.n else ""


def _percent(found: Interval) -> str:
    return f"{100 * found.estimate:.1f}"
