"""What the runs say, in words computed from them; nothing is said that they do not show."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import astuple
from typing import Any

import numpy as np

from sparsefield.pictures.arms import Arm
from sparsefield.pictures.labels import differing, phrase
from sparsefield.pictures.prediction import at_start, gradient_profile
from sparsefield.studies.tables import family
from sparsefield.sweep.spread import spread
from sparsefield.train import TrainConfig

_CONFIDENCE = 0.95


def headline(arms: Sequence[Arm]) -> str:
    """One sentence: what is best, and what fails."""
    if len(arms) == 1:
        return f"{_trained(arms[0])} {_kept(arms[0])}"
    if all(arm.failed == arm.n for arm in arms):
        return f"Every run of {len(arms)} arms failed."
    best = max(arms, key=lambda arm: arm.accuracy.mean)
    sentence = (
        f"Best of {len(arms)} arms: {best.label}, with {best.accuracy.percent()} test accuracy at "
        f"{best.sparsity_end.percent()} zeros in its hidden layers."
    )
    return " ".join([sentence, *_fates(arms)])


def effects(arms: Sequence[Arm]) -> tuple[str, list[str]]:
    """Sentences on what one choice changes: the arms that differ from a reference in one choice.

    The reference is the arm with the most such neighbours. The first item names it; with no
    neighbours anywhere there is nothing to say.
    """
    counts = [len(_neighbours(arm, arms)) for arm in arms]
    if not any(counts):
        return "", []
    reference = arms[int(np.argmax(counts))]
    opening = (
        f"Beside {reference.label}, which reaches {reference.accuracy.percent()}, "
        "one choice at a time, seeds paired:"
    )
    return opening, [_effect(reference, arm) for arm in _neighbours(reference, arms)]


def differences(one: Arm, other: Arm) -> list[float]:
    """Test accuracy of ``other`` less that of ``one``, for each seed that both have."""
    first = {run.config.seed: run.result.test_accuracy for run in one.runs}
    second = {run.config.seed: run.result.test_accuracy for run in other.runs}
    return [second[seed] - first[seed] for seed in sorted(first.keys() & second.keys())]


def verdict(found: Sequence[float]) -> str:
    """Whether paired differences tell their mean from zero, at 95 % (Student's t).

    >>> verdict([-0.5, -0.48, -0.52])
    'clearly lower'
    >>> verdict([0.03, -0.02, 0.08])
    'higher in 2 of 3 seeds, not told apart from no difference'
    """
    from scipy.special import stdtrit

    mean, sd, n = astuple(spread(found))
    word = "higher" if mean > 0 else "lower"
    if n > 1 and abs(mean) > stdtrit(n - 1, (1 + _CONFIDENCE) / 2) * sd / math.sqrt(n):
        return f"clearly {word}"
    agreeing = sum(value * mean > 0 for value in found)
    return f"{word} in {agreeing} of {n} seeds, not told apart from no difference"


def initial_state(arm: Arm) -> list[str]:
    """Sentences on the variance, the zeros and the gradient of an arm before its first step."""
    if not len(at_start(arm.runs[0], "q")):
        return ["The layers were not measured (monitor_every = 0)."]
    return [_stability(arm.config), _variance(arm), _gradient(arm), _kept(arm)]


def _trained(arm: Arm) -> str:
    runs = f"{arm.n} seed{'s' if arm.n > 1 else ''}"
    opening = f"{arm.label}: {arm.accuracy.percent()} test accuracy over {runs}."
    if arm.n == 1 and arm.failed:
        return f"{opening} The run failed: {arm.runs[0].result.reason}."
    return " ".join([opening, *_fates([arm])])


def _fates(arms: Sequence[Arm]) -> list[str]:
    """What fails: the arms that always do in one sentence, then those that sometimes do."""
    always = [arm.label for arm in arms if arm.failed == arm.n]
    listed = " and ".join(["; ".join(always[:-1]), always[-1]] if always[1:] else always)
    verb = "fail" if always[1:] else "fails"
    first = [_capital(f"{listed} {verb} in every seed.")] if always else []
    sometimes = [arm for arm in arms if 0 < arm.failed < arm.n]
    return first + [_capital(f"{a.label} fails in {a.failed} of {a.n} seeds.") for a in sometimes]


def _neighbours(reference: Arm, arms: Sequence[Arm]) -> list[Arm]:
    return [
        arm
        for arm in arms
        if len(differing(reference.config, arm.config)) == 1 and differences(reference, arm)
    ]


def _effect(reference: Arm, arm: Arm) -> str:
    found = differences(reference, arm)
    points = f"{spread(found).show(100.0)} points".replace("-", "−")
    sign = "+" if np.mean(found) > 0 else ""
    failed = f"; {arm.failed} of {arm.n} fail" if arm.failed else ""
    choice = _choice(reference.config, arm.config)
    return f"{choice}: {sign}{points} ({verdict(found)}{failed})."


def _choice(reference: TrainConfig, config: TrainConfig) -> str:
    (name,) = differing(reference, config)
    if name == "family":
        return (
            f"{_capital(family(config.model_dump()))} in place of {family(reference.model_dump())}"
        )
    old, new = getattr(reference, name), getattr(config, name)
    return f"{_capital(phrase(name, new))} in place of {phrase(name, old)}"


def _stability(config: TrainConfig) -> str:
    point = config.point()
    if config.init == "torch":
        return (
            f"PyTorch's default draws weights with σ_w² = 1/3, where {_aim(config)} of this "
            f"activation needs {point.sigma_w2:.3g}."
        )
    slope = config.skip + (1 - config.skip) * point.slope
    if slope > 1 - 1e-6:
        return (
            f"The slope V′(q*) is 1 with V″ = {point.curvature:.2g}: nothing pulls the variance "
            "back to q*, and what drifts above it runs away."
            if point.curvature > 0
            else "The slope V′(q*) is 1: nothing pulls the variance back to q*."
        )
    others = len(point.fixed_points) - 1
    alone = "its only fixed point" if not others else f"beside {others} other fixed points"
    return (
        f"The slope V′(q*) is {slope:.3g}: each layer keeps that share of a deviation from "
        f"q* = {point.q:g}, {alone}."
    )


def _aim(config: TrainConfig) -> str:
    return "a level variance" if config.family == "topk" else "the edge of chaos"


def _variance(arm: Arm) -> str:
    q = np.array([at_start(run, "q") for run in arm.runs])
    theory = at_start(arm.runs[0], "q_theory")
    return (
        f"Measured q runs from {_number(q[:, 0].mean())} in layer 1 to "
        f"{_number(q[:, -1].mean())} in layer {q.shape[1]} (mean over seeds), between "
        f"{_number(q.min())} and {_number(q.max())} over all layers and seeds; theory: "
        f"{_number(theory[0])} to {_number(theory[-1])}."
    )


def _gradient(arm: Arm) -> str:
    rms = np.array([at_start(run, "grad_rms") for run in arm.runs])
    if not (rms[:, 0] > 0).all():
        none = "any layer" if not (rms > 0).any() else "the first layer in every seed"
        return f"No gradient reaches {none}."
    ratio = float(np.exp(np.log(rms[:, 0] / rms[:, -1]).mean()))
    return (
        f"From the last layer back to the first, the rms gradient changes by a factor "
        f"{_number(ratio)} (theory, at infinite width: {_number(gradient_profile(arm)[0])})."
    )


def _kept(arm: Arm) -> str:
    start, end = arm.sparsity_init.percent(), arm.sparsity_end.percent()
    return (
        f"Zeros in the hidden layers: {start} before the first step, {end} after the last; "
        f"the target is "
        f"{100 * arm.config.sparsity:g} %."
    )


def _number(value: Any) -> str:
    return f"{float(value):.3g}"


def _capital(text: str) -> str:
    """A capital at the start, unless a symbol such as q* stands there."""
    return text[0].upper() + text[1:] if text[:2].isalpha() else text
