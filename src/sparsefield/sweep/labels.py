"""Short names for configs: what each of them is, and wherein it differs from the others."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from sparsefield.train import TrainConfig

FAMILIES = {
    **{"crelu": "CReLU", "cst": "CST", "relu": "shifted ReLU", "st": "soft threshold"},
    "topk": "top-k",
}
_PENALTIES = {"l1": "L1", "hoyer": "Hoyer"}
_SYMBOLS = {"q": "q* =", "sparsity": "s =", "penalty_weight": "penalty weight"}


def labels(configs: Sequence[TrainConfig]) -> list[str]:
    """A label for each config: its activation, and the fields in which it stands out.

    Two configs that differ get different labels.

    >>> labels([TrainConfig(q=0.25), TrainConfig(), TrainConfig(skip=0.9)])
    ['CReLU, q* = 0.25', 'CReLU, q* = 4', 'CReLU, q* = 4, skip 0.9']
    """
    usual = _usual(configs)
    found = [_label(config, usual) for config in configs]
    repeated = {label for label, count in Counter(found).items() if count > 1}
    return [
        f"{label} ({number})" if label in repeated else label
        for number, label in enumerate(found, start=1)
    ]


def family(config: Mapping[str, Any]) -> str:
    """The name of a config's activation; ReLU at sparsity 0.5 has no shift."""
    dense = config["family"] == "relu" and config["sparsity"] == 0.5
    return "dense ReLU" if dense else FAMILIES[config["family"]]


def phrase(name: str, value: object) -> str:
    """A field and its value, in words.

    >>> phrase("skip", 0.9), phrase("init", "torch"), phrase("depth", 30)
    ('skip 0.9', "PyTorch's default initialisation", 'depth 30')
    """
    if name == "skip" and not value:
        return "no skip"
    if name == "init":
        return "solved initialisation" if value == "eoc" else "PyTorch's default initialisation"
    if name == "penalty":
        return "no penalty" if value == "none" else f"{_PENALTIES[str(value)]} penalty"
    shown = f"{value:g}" if isinstance(value, float) else str(value)
    return f"{_SYMBOLS.get(name, name)} {shown}"


def _usual(configs: Sequence[TrainConfig]) -> dict[str, object]:
    """The most common value of each field; the first of those that are equally common."""
    tables = [config.model_dump() for config in configs]
    return {
        name: Counter(str(table[name]) for table in tables).most_common(1)[0][0]
        for name in tables[0]
    }


def _label(config: TrainConfig, usual: dict[str, object]) -> str:
    values = config.model_dump()
    odd = [name for name, value in values.items() if str(value) != usual[name]]
    # PyTorch's default initialisation knows no q*, which then only scales the activation.
    always = ["q"] if config.init == "eoc" else []
    names = always + [name for name in odd if name not in (*always, "seed", "family")]
    told = [phrase(name, values[name]) for name in names if values[name] is not None]
    return ", ".join([family(values), *told])
