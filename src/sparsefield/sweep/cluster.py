"""Runs as tasks of a Ray cluster; what they leave is what a sweep on one machine leaves."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import tempfile
import threading
import uuid
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, cast

from sparsefield.errors import InvalidInput, SparsefieldError, require
from sparsefield.sweep import workers
from sparsefield.sweep.failure import Failure, killed
from sparsefield.sweep.grid import NamedConfig
from sparsefield.sweep.no_rocm import without_amdsmi
from sparsefield.sweep.workers import End, Steps, make
from sparsefield.train import TrainConfig
from sparsefield.train.atomic import write_bytes
from sparsefield.train.progress import Silent
from sparsefield.train.record import RESULT

Files = dict[str, bytes]


def load_ray() -> ModuleType:
    """Import Ray, without its usage reports."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    with without_amdsmi():
        return require("ray", "ray")


class Cluster:
    """A Ray cluster, which runs each on as many CPUs as its config has threads.

    A node that sees the file ``token`` in the sweep directory makes the run there; another in a
    folder of its own, from what the run's directory holds at the start, and the files come back.
    """

    def __init__(self, ray: Any, jobs: int | None, token: str) -> None:
        self._ray, self._jobs, self._token = ray, jobs, token
        # By reference: every node has the package.
        self._task = ray.remote(max_retries=0)(make_here)
        self._under_way: dict[Any, tuple[NamedConfig, Path]] = {}

    def room(self, run: NamedConfig) -> bool:
        """Whether the cluster, as it is now, holds one more such run: nodes come and go."""
        cpus = int(self._ray.cluster_resources().get("CPU", 1))
        return len(self._under_way) < (self._jobs or max(1, cpus // (run.config.threads or 1)))

    def start(self, run: NamedConfig, directory: Path) -> None:
        """Make the run on one of the nodes."""
        target, (cpus, gpus) = directory.absolute(), _needs(run)
        task = self._task.options(num_cpus=cpus, num_gpus=gpus, name=run.name)
        given = run.config, target, self._token, _files(target), Path.cwd()
        self._under_way[task.remote(*given)] = run, target

    def ended(self) -> Iterator[End]:
        """The runs that end within a moment."""
        for done in self._ray.wait(list(self._under_way), timeout=workers.POLL)[0]:
            run, target = self._under_way.pop(done)
            yield run, self._received(done, run, target)

    def steps(self) -> Steps:
        """Unknown."""
        return {}

    def cancel(self) -> None:
        """End what is under way, as Ctrl-C would: a run saves a checkpoint first."""
        tasks = list(self._under_way)
        for task in tasks:
            self._ray.cancel(task)
        if tasks:
            self._ray.wait(tasks, num_returns=len(tasks), timeout=workers.PATIENCE)

    def _received(self, done: Any, run: NamedConfig, target: Path) -> Failure | None:
        ray = self._ray.exceptions
        lost = ray.WorkerCrashedError, ray.NodeDiedError, ray.LocalRayletDiedError
        try:
            failure, files = self._ray.get(done)
        except (*lost, ray.ObjectLostError, ray.OutOfMemoryError):
            return killed(run.name)
        except ray.RayError as error:  # the package is missing on a node, say
            return Failure(" ".join(str(error).split())[-500:], "raised")
        _write(target, files)
        return cast("Failure | None", failure)


@contextlib.contextmanager
def cluster(
    directory: Path, runs: Iterable[NamedConfig], *, address: str | None, jobs: int | None
) -> Iterator[Cluster]:
    """The cluster at ``address`` as workers of the sweep of ``runs`` in ``directory``.

    None: that of ``RAY_ADDRESS``, or one of this machine alone.

    Raises
    ------
    MissingExtra, SparsefieldError
        Ray is not installed; no cluster at that address; a run that none of its nodes can hold.
    """
    ray = load_ray()
    # A part: what a killed sweep leaves of it is removed with the other parts.
    token = directory / f".storage-{uuid.uuid4().hex}.part"
    with _connected(ray, address):
        _check_fit(ray.nodes(), runs)
        made = Cluster(ray, jobs, token.name)
        token.touch()
        try:
            yield made
        except BaseException:
            made.cancel()
            raise
        finally:
            token.unlink(missing_ok=True)


def _needs(run: NamedConfig) -> tuple[int, int]:
    """CPUs and GPUs of one node."""
    return run.config.threads or 1, int(run.config.device == "cuda")


def _check_fit(nodes: list[dict[str, Any]], runs: Iterable[NamedConfig]) -> None:
    """Ray would wait for a node that is large enough, however long."""
    found = [node["Resources"] for node in nodes if node["Alive"]]
    for run in runs:
        cpus, gpus = _needs(run)
        if not any(one.get("CPU", 0) >= cpus and one.get("GPU", 0) >= gpus for one in found):
            raise InvalidInput(
                f"run {run.name}: needs {cpus} CPUs and {gpus} GPUs, and no node of the cluster "
                "has as many; give it fewer threads or another device, or add such a node"
            )


def make_here(
    config: TrainConfig, directory: Path, token: str, begun: Files, folder: Path
) -> tuple[Failure | None, Files]:
    """The task, on a node: what the run raised, and its files unless they are in place already."""
    with contextlib.ExitStack() as held:
        if folder.is_dir():  # relative paths of data are the user's
            held.enter_context(contextlib.chdir(folder))
        if (directory.parents[1] / token).is_file():
            return make(config, directory, Silent()), {}
        own = Path(held.enter_context(tempfile.TemporaryDirectory())) / directory.name
        _write(own, begun)
        return make(config, own, Silent()), _files(own)


def _files(directory: Path) -> Files:
    found = directory.iterdir() if directory.is_dir() else ()
    return {path.name: path.read_bytes() for path in found if path.is_file()}


def _write(directory: Path, files: Files) -> None:
    """The result last, as everywhere: it says that the others are there."""
    directory.mkdir(parents=True, exist_ok=True)
    for name in sorted(files, key=lambda name: name == RESULT):
        write_bytes(directory / name, files[name])


@contextlib.contextmanager
def _connected(ray: Any, address: str | None) -> Iterator[None]:
    if ray.is_initialized():  # the caller's cluster, and the caller's to leave
        yield
        return
    # Not the last that was started here, which Ray would look for where no address is given.
    address = address or os.environ.get("RAY_ADDRESS") or "local"
    try:
        _check_answers(address)
        with _own_handler(), without_amdsmi():
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


def _check_answers(address: str) -> None:
    """Ray itself gives up on a host and port after minutes."""
    host, _, port = address.rpartition(":")
    if host and port.isdecimal() and "/" not in host:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()


@contextlib.contextmanager
def _own_handler() -> Iterator[None]:
    """Termination stays the caller's to answer: Ray's handler would end the process without it."""
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        if before is not None and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, before)
