"""How the runs of a sweep are made: the flags of each command that makes one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal


@dataclass(frozen=True)
class Making:
    """How the runs are made.

    Parameters
    ----------
    jobs
        how many at a time; by default as many as have their threads' cores to themselves
    workers
        processes of this machine, or tasks of a Ray cluster
    address
        of the Ray cluster; by default one of this machine alone
    retry_failed
        try the runs again that ended without a result
    dry_run
        say what it would cost, from a few measured steps, and make nothing
    """

    jobs: int | None = None
    workers: Literal["local", "ray"] = "local"
    address: str | None = None
    retry_failed: bool = False
    dry_run: bool = False

    @property
    def keywords(self) -> dict[str, Any]:
        """What a sweep is told."""
        return {**self.cost_keywords, **_picked(self, "workers", "address", "retry_failed")}

    @property
    def cost_keywords(self) -> dict[str, Any]:
        """What the estimate of a sweep is told."""
        return _picked(self, "jobs")


def lost(count: int) -> str:
    """What to do about runs without a result; nothing, if there are none."""
    if not count:
        return ""
    runs = "1 run has" if count == 1 else f"{count} runs have"
    return f"{runs} no result: see failed.json in their directories; --retry-failed tries again"


def _picked(making: Making, *names: str) -> dict[str, Any]:
    return {name: getattr(making, name) for name in names}
