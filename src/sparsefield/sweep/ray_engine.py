"""Runs as tasks of a Ray cluster; what they leave is what a local sweep leaves."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import threading
import uuid
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from sparsefield.errors import MissingExtra, SparsefieldError, require
from sparsefield.sweep.engine import POLL, Listener, killed
from sparsefield.sweep.failure import Failure
from sparsefield.sweep.folder import place
from sparsefield.sweep.making import make
from sparsefield.sweep.plan import Planned
from sparsefield.train import TrainConfig
from sparsefield.train.atomic import write_bytes
from sparsefield.train.progress import Silent
from sparsefield.train.record import RESULT

NODE_LOSSES = 3  # a run moves to another node so often
Files = dict[str, bytes]


def run_ray(
    runs: Sequence[Planned],
    directory: Path,
    heard: Listener,
    *,
    address: str | None = None,
    jobs: int | None = None,
    shared: bool | None = None,
) -> None:
    """Make the runs on a Ray cluster, each on as many CPUs as its config has threads.

    A run whose node or process is lost is made elsewhere. Where a node sees the sweep directory,
    the run is made in it and goes on from its checkpoint; elsewhere it is made in a folder of the
    node, from the checkpoint that the sweep directory held when it was started, and its files
    come back as bytes.

    Parameters
    ----------
    address
        Of the cluster; None: ``RAY_ADDRESS``, or a cluster of this machine alone.
    jobs
        Runs at a time, at most; None: as many as the cluster has CPUs for.
    shared
        False: treat the nodes as not seeing the directory, even if they do.

    Raises
    ------
    MissingExtra
        Ray is not installed.
    SparsefieldError
        No cluster at that address.
    """
    ray = load_ray()
    with _connected(ray, address), _token(directory, wanted=shared is not False) as token:
        # By reference: every node has the package.
        task = ray.remote(max_retries=NODE_LOSSES)(make_here)
        _feed(ray, task, runs, directory.absolute(), heard, token, jobs)


def load_ray() -> ModuleType:
    """Import Ray, without its usage reports.

    Ray 2.60 asks amdsmi for GPUs, and lets through what amdsmi 7.0 raises where there is no ROCm.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        return require("ray", "ray")
    except (KeyError, OSError, AttributeError) as error:
        raise MissingExtra(
            f"ray is installed and does not load ({type(error).__name__}: {error}); if amdsmi is "
            "installed on a machine without ROCm, remove it: pip uninstall amdsmi"
        ) from error


def _feed(
    ray: Any,
    task: Any,
    runs: Sequence[Planned],
    directory: Path,
    heard: Listener,
    token: str,
    jobs: int | None,
) -> None:
    waiting, running = list(reversed(runs)), dict[Any, Planned]()
    while waiting or running:
        while waiting and len(running) < (jobs or _room(ray, waiting[-1])):
            run = waiting.pop()
            running[_submitted(task, run, directory, token)] = run
            heard.started(run)
        for done in ray.wait(list(running), timeout=POLL)[0]:
            run = running.pop(done)
            heard.ended(run, _received(ray, done, run, place(directory, run)))
        heard.stepped({})


def _room(ray: Any, run: Planned) -> int:
    """How many such runs the cluster holds as it is now: nodes come and go."""
    return max(1, int(ray.cluster_resources().get("CPU", 1)) // (run.config.threads or 1))


def _submitted(task: Any, run: Planned, directory: Path, token: str) -> Any:
    gpus = 1 if run.config.device == "cuda" else 0
    needs = task.options(num_cpus=run.config.threads or 1, num_gpus=gpus, name=run.name)
    target = place(directory, run)
    return needs.remote(
        run.config.model_dump(mode="json"), str(target), token, _files(target), str(Path.cwd())
    )


def make_here(
    config: dict[str, Any], target: str, token: str, begun: Files, folder: str
) -> tuple[str | None, Files]:
    """The task, on a node: what the run raised, and its files unless they are in place already."""
    chosen, directory = TrainConfig(**config), Path(target)
    with contextlib.ExitStack() as held:
        if Path(folder).is_dir():  # relative paths of data are the user's
            held.enter_context(contextlib.chdir(folder))
        if (directory.parents[1] / token).is_file():
            return make(chosen, directory, Silent()), {}
        own = Path(held.enter_context(tempfile.TemporaryDirectory())) / directory.name
        _write(own, begun)
        return make(chosen, own, Silent()), _files(own)


def _received(ray: Any, done: Any, run: Planned, directory: Path) -> Failure | None:
    lost = (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError)
    try:
        reason, files = ray.get(done)
    except (*lost, ray.exceptions.OutOfMemoryError):
        return killed(run, 1 + NODE_LOSSES)
    except ray.exceptions.RayError as error:  # the package is missing on a node, say
        return Failure(" ".join(str(error).split())[-500:], "raised")
    _write(directory, files)
    return Failure(reason, "raised") if reason else None


def _files(directory: Path) -> Files:
    if not directory.is_dir():
        return {}
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def _write(directory: Path, files: Files) -> None:
    """The result last, as everywhere: it says that the others are there."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key=lambda name: name == RESULT):
        write_bytes(directory / name, files[name])


@contextlib.contextmanager
def _token(directory: Path, *, wanted: bool) -> Iterator[str]:
    """The name of a file by which a node knows that it sees this very directory."""
    name = f".storage-{uuid.uuid4().hex}"
    if wanted:
        (directory / name).touch()
    try:
        yield name
    finally:
        (directory / name).unlink(missing_ok=True)


def _check_answers(address: str | None) -> None:
    """Ray itself gives up on a host and port after minutes."""
    host, _, port = (address or "").rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


@contextlib.contextmanager
def _own_handler() -> Iterator[None]:
    """Termination stays the caller's to answer: Ray's handler would end the process without it."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    if before is not None and threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, before)


@contextlib.contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    if ray.is_initialized():  # the caller's cluster, and the caller's to leave
        yield
        return
    try:
        _check_answers(address)
        with _own_handler():
            ray.init(address=address, log_to_driver=False, logging_level="ERROR")
    except (OSError, ValueError, RuntimeError, ray.exceptions.RayError) as error:
        raise SparsefieldError(
            f"address={address}: no Ray cluster answers there ({' '.join(str(error).split())}); "
            "start one with: ray start --head, and give its address"
        ) from None
    try:
        yield
    finally:
        ray.shutdown()
