"""The studies as plain questions, in the order in which a reader with ten minutes asks them."""

from __future__ import annotations

from collections.abc import Iterable

from sparsefield.studies.record import Record

FIRST = {
    "qstar-mechanism": "What does a larger q* do?",
    "clip-rule": "How high may the clip be?",
    "depth-width": "What is it about the skip that trains deep sparse networks?",
    "frontier": "How sparse can a network be?",
    "rivals": "Is a rival more accurate with as many zeros?",
}
THEN = {
    "dt26-dnn": "Is a network more accurate with a larger q*, and how sparse must it be for that?",
    "dt26-cnn": "Is a convolutional network more accurate with a larger q*?",
    "p24-dnn": "What do activation, sparsity and clip make of accuracy?",
    "p24-cnn": "What do activation, sparsity and clip make of it in convolutional networks?",
    "drift": "How far does training move the zeros, and what holds them?",
}


def question(record: Record) -> str:
    """What a study asks, in a line; its title where nobody has put it plainly."""
    return {**FIRST, **THEN}.get(record.study, record.title)


def first(names: Iterable[str]) -> list[str]:
    """Those of these studies that come first, in order."""
    there = set(names)
    return [name for name in FIRST if name in there]


def others(names: Iterable[str]) -> list[str]:
    """The rest, those without a plain question last."""
    rest = [name for name in names if name not in FIRST]
    known = [name for name in THEN if name in rest]
    return known + [name for name in rest if name not in THEN]
