"""What a page says against its own findings: how values were chosen, and what a share assumes."""

from __future__ import annotations

from collections.abc import Sequence

from sparsefield.studies.arms import Arm, arms
from sparsefield.studies.contrasts import tells_failures
from sparsefield.studies.reading import Finding, Reading, change, headed, points, seeds
from sparsefield.studies.record import Record

_NAMES = {"lr": ("learning rate", "learning rates")}
_WILSON = (
    "The interval of a share of runs that fail is Wilson's: it takes every run as independent of "
    "the others, also those of one arm or of one seed."
)


def caveats(record: Record, reading: Reading) -> list[str]:
    """The sentences, each where it applies."""
    found = arms(record)
    shares = any(tells_failures(finding.sentence) for finding in reading.findings)
    told = [
        *(nested_choice(finding) for finding in reading.findings[:1]),
        *(edges(found, name) for name in dict.fromkeys(("lr", *record.tuned))),
        _WILSON if shares else "",
    ]
    return [sentence for sentence in told if sentence]


def otherwise(finding: Finding) -> str:
    """What nested selection says of a difference, where that is not what the finding says."""
    found = finding.nested
    if found is None or not found.n or change(found) == change(finding.interval):
        return ""
    apart = f"{'' if found.excludes(0.0) else 'not '}told apart from no change"
    return (
        " With the values of each seed chosen by the other seeds alone the difference is "
        f"{points(found)}, {apart if found.known else 'too few seeds for a verdict'}."
    )


def nested_choice(finding: Finding) -> str:
    """A finding by nested selection beside itself; nothing where nothing was chosen."""
    found = finding.nested
    if found is None:
        return ""
    start = (
        "Validation chose on the same seeds that are reported. Chosen for each seed by the other "
        "seeds alone (nested selection), the difference of the first finding is "
    )
    if not found.n:
        return f"{start}not known: that takes more seeds."
    if found == finding.interval:
        return f"{start}the same."
    return (
        f"{start}{points(found)} ({seeds(found.n)}, paired), in place of "
        f"{points(finding.interval)}."
    )


def edges(found: Sequence[Arm], name: str) -> str:
    """In how many arms the value chosen of a field is the lowest or the highest tried."""
    one, several = _NAMES.get(name, (headed(name), f"values of {headed(name)}"))
    chosen = [arm for arm in found if arm.tried(name)[1:]]
    if not chosen:
        return f"No arm had several {several} to choose from."
    low, high = (sum(arm.edge(name) == end for arm in chosen) for end in ("lowest", "highest"))
    two = sum(not arm.tried(name)[2:] for arm in chosen)
    count = "all" if two == len(chosen) else f"{two} of them"
    had = f"; {count} had two, of which either is an end" if two else ""
    rest = len(found) - len(chosen)
    none = f"; {rest} more had one only" if rest else ""
    return (
        f"The {one} chosen is the lowest tried in {low} and the highest in {high} of {len(chosen)} "
        f"arm{'' if len(chosen) == 1 else 's'} with several to choose from{had}{none}."
    )
