"""What the runs of a record were, in one line: data, size, activation, training, choice, seeds."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from sparsefield.experiments.labels import family, phrase
from sparsefield.experiments.studies.arms import Arm, arms
from sparsefield.experiments.studies.reading import headed, seeds
from sparsefield.experiments.studies.record import Record
from sparsefield.train import TrainConfig

_DATA = {"mnist": "MNIST", "cifar10": "CIFAR-10"}
_OPTIMISERS = {"sgd": "SGD", "adam": "Adam", "adamw": "AdamW"}


def setting(record: Record) -> str:
    """The setting of a study, without which its findings say little.

    Where a field varies its values or their range are named, and a part by name where it differs
    from most others.
    """
    told: tuple[Callable[[Sequence[Arm]], str], ...] = (_data, _size, _training, _choice, _seeds)
    found = {part: arms(record, part) for part in record.parts}
    data, size, training, choice, seeded = (_of_parts(found, tell) for tell in told)
    activations = _activations(arm for those in found.values() for arm in those)
    return f"{data}; {size}; {activations}; {training}; {choice}; {seeded}."


def _of_parts(parts: dict[str, tuple[Arm, ...]], tell: Callable[[Sequence[Arm]], str]) -> str:
    """What most parts have, and in brackets the parts that have something else."""
    told = {part: tell(found) for part, found in parts.items()}
    usual, _ = Counter(told.values()).most_common(1)[0]
    others = [
        f"{text} in part {' and '.join(part for part in told if told[part] == text)}"
        for text in dict.fromkeys(told.values())
        if text != usual
    ]
    return f"{usual} ({'; '.join(others)})" if others else usual


def _data(found: Sequence[Arm]) -> str:
    return " and ".join(_DATA.get(name, name) for name in _values(found, "data"))


def _size(found: Sequence[Arm]) -> str:
    kinds = _values(found, "network")
    wide = f"{_range(_values(found, 'depth'))} hidden layers of {_range(_values(found, 'width'))}"
    units = {"dnn": "units", "cnn": "channels (convolutional)"}
    return f"{wide} {' or '.join(units[kind] for kind in kinds)}"


def _activations(found: Iterable[Arm]) -> str:
    return ", ".join(dict.fromkeys(_activation(arm) for arm in found))


def _activation(arm: Arm) -> str:
    penalty = f" with {phrase('penalty', arm['penalty'])}" if arm["penalty"] != "none" else ""
    return f"{family(TrainConfig(**arm.config))}{penalty}"


def _training(found: Sequence[Arm]) -> str:
    optimisers = " or ".join(_OPTIMISERS[name] for name in _values(found, "optimizer"))
    steps, epochs = _values(found, "steps"), _values(found, "epochs")
    length = f"{_range(steps)} steps" if steps else f"{_range(epochs)} epochs"
    return f"{optimisers}, {length} with batches of {_range(_values(found, 'batch'))}"


def _choice(found: Sequence[Arm]) -> str:
    """The tuned fields, and of how many values each was chosen; the learning rate always."""
    return ", ".join(_chosen(found, name) for name in dict.fromkeys(("lr", *found[0].tuned)))


def _chosen(found: Sequence[Arm], name: str) -> str:
    tried = _range(sorted({len(arm.tried(name)) for arm in found if name in arm.tuned}))
    if tried not in ("1", ""):
        return f"{headed(name)} chosen of {tried}"
    values = _range(_values(found, name))
    return f"{headed(name)} {values}{', not chosen' if ' ' in values else ''}"


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
