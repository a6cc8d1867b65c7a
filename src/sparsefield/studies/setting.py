"""What the runs of a record were, in one line: data, size, activation, training, choice, seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from sparsefield.studies.arms import Arm, arms
from sparsefield.studies.labels import family, phrase
from sparsefield.studies.reading import headed, seeds
from sparsefield.studies.record import Record
from sparsefield.train import TrainConfig

_DATA = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
_OPTIMISERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}


def setting(record: Record) -> str:
    """The setting of a study, without which its findings say little.

    Where a field varies its values or their range are named, and a part by name where it was
    trained for longer or shorter, chosen from more or less, or over more or fewer seeds than most.
    """
    parts = {part: arms(record, part) for part in record.parts}
    every = [arm for found in parts.values() for arm in found]
    names = dict.fromkeys(("lr", *record.tuned))
    free = [name for name in names if any(arm.tried(name)[1:] for arm in every)]
    choices = [[name] for name in names if name not in free] + ([free] if free else [])
    told = (
        _data(every),
        _size(every),
        ", ".join(dict.fromkeys(map(_activation, every))),
        f"{_optimiser(every)}, {_of_parts(parts, _length)}",
        ", ".join(f"{_named(some)} {_of_parts(parts, partial(_choice, some))}" for some in choices),
        _of_parts(parts, _seeds),
    )
    return f"{'; '.join(told)}."


def _of_parts(parts: Mapping[str, Sequence[Arm]], tell: Callable[[Sequence[Arm]], str]) -> str:
    """What most parts have, and in brackets the parts that have something else."""
    told = {part: tell(found) for part, found in parts.items()}
    usual, _ = Counter(told.values()).most_common(1)[0]
    others = [f"part {part}: {text}" for part, text in told.items() if text != usual]
    return f"{usual} ({'; '.join(others)})" if others else usual


def _data(found: Sequence[Arm]) -> str:
    return " and ".join(_DATA.get(name, name) for name in _values(found, "data"))


def _size(found: Sequence[Arm]) -> str:
    kinds = _values(found, "network")
    wide = f"{_range(_values(found, 'depth'))} hidden layers of {_range(_values(found, 'width'))}"
    units = {"dnn": "units", "cnn": "channels (convolutional)"}
    return f"{wide} {' or '.join(units[kind] for kind in kinds)}"


def _activation(arm: Arm) -> str:
    penalty = f" with {phrase('penalty', arm['penalty'])}" if arm["penalty"] != "none" else ""
    return f"{family(TrainConfig(**arm.config))}{penalty}"


def _optimiser(found: Sequence[Arm]) -> str:
    names = " or ".join(_OPTIMISERS[name] for name in _values(found, "optimizer"))
    return f"{names}, batches of {_range(_values(found, 'batch'))}"


def _length(found: Sequence[Arm]) -> str:
    steps, epochs = _values(found, "steps"), _values(found, "epochs")
    return f"{_range(steps)} steps" if steps else f"{_range(epochs)} epochs"


def _choice(names: Sequence[str], found: Sequence[Arm]) -> str:
    """Of how many values these fields were chosen together, or what they were."""
    several = names[1:]
    tried = {len(arm.candidates if several else arm.tried(names[0])) for arm in found}
    if tried != {1}:
        return f"chosen of {_range(tried)}{' combinations' if several else ''}"
    values = _values(found, names[0])
    if several:
        return "not chosen"
    return f"one an arm, {_range(values)}" if values[1:] else _range(values) or "none"


def _named(names: Sequence[str]) -> str:
    *some, last = map(headed, names)
    return f"{', '.join(some)} and {last}" if some else last


def _seeds(found: Sequence[Arm]) -> str:
    counts = {len({row.seed for row in arm.rows}) for arm in found}
    return seeds(counts.pop()) if len(counts) == 1 else f"{_range(counts)} seeds"


def _values(found: Sequence[Arm], field: str) -> list[Any]:
    """The values of a field, each once."""
    return list(dict.fromkeys(arm[field] for arm in found if arm[field] is not None))


def _range(values: Iterable[Any]) -> str:
    """One value or two, else the lowest and the highest.

    >>> _range([30, 5, 100]), _range([300, 100]), _range([200])
    ('5 to 100', '100 or 300', '200')
    """
    ordered = sorted(values)
    if len(ordered) > 2:
        ordered, word = [ordered[0], ordered[-1]], " to "
    else:
        word = " or "
    return word.join(f"{value:g}" if isinstance(value, float) else str(value) for value in ordered)
