"""The verification ledger: what every formula was checked against, and the worst error found.

A pytest plugin. Tests record into the rows declared here; ``pytest --ledger FILE`` runs those tests
alone and writes FILE. There, and in every full run of the suite, a row that no test recorded fails
the session.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest


@dataclass(frozen=True)
class Row:
    """What is checked. ``unit`` of the error: "relative", "absolute" or "z-score"."""

    formula: str
    source: str
    against: str
    unit: str
    bound: float

    def __post_init__(self) -> None:
        assert self.unit in ("relative", "absolute", "z-score"), self.unit


MPMATH = "mpmath, 160 digits"
MPMATH_30 = "nested integrals in mpmath"
JOINT = "mpmath: nested integrals, or the arc-cosine kernel"

ROWS: dict[str, Row] = {
    "second_moment": Row(
        r"$\mathbb E[\phi(\sqrt q Z)^2]$", "[P24] variance map", MPMATH, "relative", 1e-10
    ),
    "gain": Row(r"$\mathbb E[\phi'(\sqrt q Z)^2]$", r"[P24] $\chi_1$", MPMATH, "relative", 1e-10),
    "slope": Row(
        r"$\mathbb E[x \phi \phi'] / q$, the kinks' deltas included",
        "[P24] $V'$",
        MPMATH,
        "relative",
        1e-10,
    ),
    "curvature": Row(
        r"$\mathbb E[x \phi \phi' (z^2 - 3)] / (2 q^2)$",
        "[DT26] $V''$",
        MPMATH,
        "relative",
        1e-10,
    ),
    "fourth_moment": Row(
        r"$\mathbb E[\phi(\sqrt q Z)^4]$", "[DT26] finite width", MPMATH, "relative", 1e-10
    ),
    "sparsity": Row(r"$P(\phi(\sqrt q Z) = 0)$", "[P24] sparsity", MPMATH, "relative", 1e-10),
    "solve": Row(
        r"$\tau, \sigma_w^2, \sigma_b^2, V', V''$ at $q^\ast$",
        "[P24], [DT26] edge of chaos",
        MPMATH,
        "relative",
        1e-10,
    ),
    "scale_identity": Row(
        r"$\phi_{c\tau, cm}(c x) = c\,\phi_{\tau, m}(x)$",
        "ours",
        "the same network in other units",
        "relative",
        1e-10,
    ),
    "closed_form": Row(
        r"$\sigma_w^2, \sigma_b^2, V', V'', \chi_1', \kappa$ by Mills' ratio",
        "[P24], [DT26] edge of chaos",
        MPMATH,
        "relative",
        1e-12,
    ),
    "covariance": Row(
        r"$\mathbb E[\phi(x) \phi(y)]$", "[P24] covariance map", JOINT, "relative", 1e-10
    ),
    "derivative_covariance": Row(
        r"$\mathbb E[\phi'(x) \phi'(y)]$", "[P24] $R'$", JOINT, "relative", 1e-10
    ),
    "deficit": Row(
        r"$\mathbb E[\phi^2] - \mathbb E[\phi(x) \phi(y)]$ at $\rho = 1 - \delta$",
        "ours",
        JOINT,
        "relative",
        1e-10,
    ),
    "kappa": Row(
        r"$1 - R(1 - \delta) = \chi_1 \delta - \kappa \delta^{3/2} + \dots$",
        "ours",
        "the deficit, extrapolated to $\\delta = 0$",
        "relative",
        1e-8,
    ),
    "correlation_fixed_point": Row(
        r"$R(\rho) = \rho$", "[P24] correlation map", JOINT, "relative", 1e-9
    ),
    "correlation_power_law": Row(
        r"$(1 - \rho)^{-1/2}$ grows by $\kappa / 2$ a layer at the edge",
        "ours",
        "the map, iterated",
        "relative",
        1e-3,
    ),
    "correlation_networks": Row(
        r"$R(\rho)$", "[P24] correlation map", "random layers of 2000 units", "z-score", 4.5
    ),
    "fixed_points": Row(
        "$V(q) - q$ at every point found", "[P24] variance map", "the map", "relative", 1e-9
    ),
    "chain_networks": Row(
        r"$Q \leftarrow \sigma_b^2 + \sigma_w^2 \frac1n \sum_i \phi(\sqrt Q z_i)^2$",
        "ours",
        "random networks with explicit weights",
        "z-score",
        5.0,
    ),
    "chain_skip_networks": Row(
        "the chain of $Q$ with a skip", "ours", "random networks with a skip", "z-score", 5.0
    ),
    "gram_networks": Row(
        "the chain of Gram matrices", "ours", "explicit random networks", "z-score", 5.0
    ),
    "operator_draws": Row(
        "law of $Q$ by the transfer operator", "ours", "draws of the chain", "z-score", 5.0
    ),
    "operator_tail": Row(
        "escape of one unit, from 1e-2 down to 1e-9", "ours", MPMATH_30, "relative", 5e-3
    ),
    "operator_rare": Row(
        "probabilities of escape that no sample sees",
        "ours",
        "importance sampling of the chain",
        "z-score",
        4.5,
    ),
    "gradient_chain_networks": Row(
        "the backward chain", "ours", "gradients of random networks", "z-score", 5.0
    ),
    "batch_gradient_networks": Row(
        "the backward chain of correlated inputs",
        "ours",
        "gradients of random networks",
        "z-score",
        5.0,
    ),
    "gradient_rates": Row(
        "growth of squared gradients a layer", "ours", "the backward chain", "z-score", 5.0
    ),
    "spatial_variance": Row(
        "$q(p)$ of an image, layer by layer", "ours", "a plain loop over pixels",
        "relative", 1e-11,
    ),
    "spatial_networks": Row(
        "$q(p)$: padding, strides, skip",
        "ours", "random `nn.Conv2d` networks", "z-score", 7.0,
    ),
    "smooth_moments": Row(
        r"$\mathbb E[\phi^2]$, its slope and $\mathbb E[\phi'^2]$ for smooth $\phi$",
        "ours", "mpmath, 25 digits", "relative", 1e-10,
    ),
    "jump": Row(
        "$V'$ of a $\\phi$ that jumps", "ours", "mpmath, 25 digits", "relative", 1e-9
    ),
    "winners": Row(
        r"top-k: $\kappa = a\,p(a) + 1 - \Phi(a)$ and $\chi_1 = (1 - s) / \kappa$", "ours",
        "mpmath, 60 digits", "relative", 1e-10,
    ),
    "winners_width": Row(
        r"top-k: $\kappa$ at a finite width", "ours", "mpmath, 25 digits", "relative", 1e-10
    ),
    "winners_networks": Row(
        r"top-k: $V$, and gradients across and along $h$", "ours", "random networks", "z-score",
        4.5,
    ),
}  # fmt: skip


class Ledger:
    """The worst error and the number of checks of each row, over one session."""

    def __init__(self, rows: Mapping[str, Row]) -> None:
        self.rows = rows
        self.worst: dict[str, float] = {}
        self.checks: Counter[str] = Counter()

    def record(self, row: str, error: float, n: int = 1) -> None:
        """Note ``n`` checks with this error at worst; beyond the row's bound the test fails."""
        assert row in self.rows, f"ledger: no row {row!r}; declare it in tests/ledger.py"
        size, bound = abs(float(error)), self.rows[row].bound
        assert size <= bound, f"ledger: {row} is off by {size:.3g}, beyond its bound {bound:g}"
        self.worst[row] = max(size, self.worst.get(row, 0.0))
        self.checks[row] += n

    def merge(self, worst: Mapping[str, float], checks: Mapping[str, int]) -> None:
        """Take over what another process recorded."""
        for row, error in worst.items():
            self.record(row, error, checks[row])

    @property
    def missing(self) -> list[str]:
        """Declared rows that nothing was recorded in."""
        return sorted(set(self.rows) - set(self.worst))

    def page(self) -> str:
        """The page of the documentation."""
        lines = (
            f"{left} {self._worst(name)} | {self.checks[name]} |"
            for name, left in declared(self.rows).items()
        )
        return HEAD + "\n".join(lines) + "\n"

    def _worst(self, name: str) -> str:
        return f"{self.worst[name]:.{2 if self.rows[name].unit == 'z-score' else 1}g}"


HEAD = """\
# Verification ledger

Every formula, where it comes from, what the tests check it against, the worst error they found and
in how many checks. The tests write this page (`make ledger`). A test that exceeds its bound fails;
so does a full run of the suite in which a row is missing. Relative errors are relative to the value
or, where it crosses zero or falls far below what it is made of, to the scale that its test states;
a z-score counts standard errors, and every test that has one has a twin, wrong on purpose, that
must fail.

| row | formula | source | checked against | error | bound | worst | n |
|---|---|---|---|---|---|---|---|
"""


def declared(rows: Mapping[str, Row]) -> dict[str, str]:
    """The part of each line of the table that no run changes, by row."""
    return {
        name: f"| `{name}` | {r.formula} | {r.source} | {r.against} | {r.unit} | {r.bound:g} |"
        for name, r in sorted(rows.items())
    }


# The plugin

LEDGER = pytest.StashKey[Ledger]()
# any of these makes a run a selected one
SELECTIONS = (
    "keyword", "markexpr", "deselect", "ignore", "ignore_glob", "lf", "stepwise", "collectonly",
)  # fmt: skip


@pytest.fixture(scope="session")
def ledger(request: pytest.FixtureRequest) -> Ledger:
    """Where a test records its worst error: ``ledger.record(row, error, n)``."""
    return request.config.stash[LEDGER]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--ledger", type=Path, help="run what records, and write the table to LEDGER")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[LEDGER] = Ledger(ROWS)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if config.option.ledger:
        records = {item: "ledger" in getattr(item, "fixturenames", ()) for item in items}
        config.hook.pytest_deselected(items=[item for item in items if not records[item]])
        items[:] = [item for item in items if records[item]]


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    config, ledger = session.config, session.config.stash[LEDGER]
    if hasattr(config, "workeroutput"):  # one of several processes: the first one judges
        config.workeroutput["ledger"] = (ledger.worst, dict(ledger.checks))
        return
    if _must_be_complete(config) and ledger.missing and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
    if config.option.ledger and session.exitstatus == pytest.ExitCode.OK:
        config.option.ledger.write_text(ledger.page())


@pytest.hookimpl(optionalhook=True)
def pytest_testnodedown(node: Any) -> None:
    """A process of pytest-xdist has ended; one that was lost leaves its rows missing."""
    if "ledger" in getattr(node, "workeroutput", {}):
        node.config.stash[LEDGER].merge(*node.workeroutput["ledger"])


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, exitstatus: int, config: pytest.Config
) -> None:
    missing = config.stash[LEDGER].missing
    ended = exitstatus in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED)
    if missing and ended and _must_be_complete(config):
        terminalreporter.write_line(f"ledger: no test recorded {', '.join(missing)}", red=True)


def _must_be_complete(config: pytest.Config) -> bool:
    everything = config.args_source is pytest.Config.ArgsSource.TESTPATHS
    selected = any(config.getoption(name, None) for name in SELECTIONS)
    return bool(config.option.ledger) or (everything and not selected)


def worst(errors: Iterable[float]) -> float:
    """The largest by size; NaN if one of them is."""
    return max((abs(float(e)) for e in errors), key=lambda e: (e != e, e))
