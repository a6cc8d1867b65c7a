"""A Ray cluster of two nodes on this machine, one of which is killed in the middle."""

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from types import SimpleNamespace

import pytest

from sparsefield.errors import InvalidInput, SparsefieldError
from sparsefield.sweep import place, read_grid, sweep
from sparsefield.sweep.cluster import _connected, _own_handler, cluster, load_ray, make_here
from sparsefield.sweep.folder import opened
from sparsefield.sweep.no_rocm import FOLDER, amdsmi_breaks, without_amdsmi
from sparsefield.sweep.table import rows
from sparsefield.sweep.workers import make_all
from sparsefield.train.atomic import exclusive

needs_ray = pytest.mark.skipif(not importlib.util.find_spec("ray"), reason="Ray is not installed")
# Ray's own warnings, about its environment variables and unclosed sockets.
ray_warns = pytest.mark.filterwarnings("ignore")
CPUS = {"num_cpus": 1, "object_store_memory": 100_000_000}


def connect(ray, nodes):
    """Join the cluster as a caller would; Ray's handler of SIGTERM does not outlive it."""
    with _own_handler(), without_amdsmi():
        ray.init(address=nodes.address, log_to_driver=False, logging_level="ERROR")


@pytest.fixture(scope="module")
def nodes():
    """A cluster of one node with one CPU, whose runs have their own folders in ``temporary``."""
    # Not below pytest's folder: a socket's path may have 107 letters, no more.
    short = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    with short as temporary, pytest.MonkeyPatch.context() as patch:
        patch.setenv("TMPDIR", temporary)
        ray = load_ray()
        before = signal.getsignal(signal.SIGTERM)
        with without_amdsmi():
            from ray.cluster_utils import Cluster

            head = {**CPUS, "include_dashboard": False}
            made = Cluster(initialize_head=True, head_node_args=head, shutdown_at_exit=False)
            made.temporary = Path(temporary)
            yield made
        ray.shutdown()
        made.shutdown()
        assert signal.getsignal(signal.SIGTERM) == before  # later tests send it to this process


@pytest.fixture
def second(nodes, small, tmp_path):
    """A second node, to be killed; both have a process that has imported what runs need."""
    ray = load_ray()
    with without_amdsmi():
        node = nodes.add_node(**CPUS)
    connect(ray, nodes)
    (run,) = read_grid(small(qs=(1,), steps=1)).runs
    task = ray.remote(make_here).options(scheduling_strategy="SPREAD")
    given = run.config, tmp_path / "none" / "runs" / "a", "none", {}, tmp_path
    ray.get([task.remote(*given) for _ in range(2)])
    yield node
    ray.shutdown()


LONG = {"steps": 1500, "epochs": 100_000, "checkpoint_every": 0.05, "monitor_every": 0}


@pytest.fixture(scope="module")
def local(tmp_path_factory, small):
    """The directory of the same sweep, made here."""
    out = tmp_path_factory.mktemp("local")
    sweep(small(qs=(1, 2, 4), **LONG), out=out, jobs=2, progress=False)
    return out


@needs_ray
@ray_warns
@pytest.mark.slow
def test_a_node_is_killed_and_its_run_is_made_elsewhere_with_shared_storage_or_without(
    nodes, second, local, hearing, small, tmp_path, table
):
    """Two runs see the sweep's directory; when one is lost, storage is shared no more."""
    grid, out, ends, cut = read_grid(small(qs=(1, 2, 4), **LONG)), tmp_path / "a", {}, []
    (out / "runs").mkdir(parents=True)
    apart = set()  # runs seen in folders of a node's own

    def kill_once_two_are_in_their_midst(_):
        begun = set(hearing.begun) - set(ends)
        under_way = begun & {path.parent.name for path in (out / "runs").glob("*/checkpoint")}
        apart.update(path.parent.name for path in nodes.temporary.glob("**/checkpoint"))
        if not cut and len(under_way) == 2:
            assert not apart
            cut.extend(under_way)
            token.unlink()
            nodes.remove_node(second, allow_graceful=False)

    hearing.stepped = kill_once_two_are_in_their_midst
    with cluster(out, grid.runs, address=nodes.address, jobs=None) as workers:
        (token,) = out.glob(".storage-*")
        for run, failure in make_all(grid.runs, out, workers, hearing):
            ends[run.name] = failure
    assert ends == dict.fromkeys(run.name for run in grid.runs)
    assert len(cut) == 2  # one of them was the killed node's
    (again,) = {name for name in cut if hearing.begun.count(name) == 2}
    (third,) = set(ends) - set(cut)
    assert apart == {again, third}
    assert hearing.notes == [f"{again}: its process was killed; it is tried again"]
    assert table(rows(out, grid)) == table(rows(local, grid))
    for run in grid.runs:
        files = [{path.name for path in place(folder, run).iterdir()} for folder in (out, local)]
        assert files[0] - {".lock"} == files[1]  # of the process that was killed: held by none
    assert [path.name for path in out.iterdir()] == ["runs"]


def test_a_run_that_a_node_without_the_storage_loses_goes_on_from_what_was_sent(small, tmp_path):
    (run,) = read_grid(small(qs=(1,))).runs
    begun = {"checkpoint": b"nonsense"}
    failure, files = make_here(run.config, tmp_path / "runs" / "a", "none", begun, tmp_path)
    assert failure.reason.startswith("a/checkpoint: is truncated or damaged")
    assert files["checkpoint"] == b"nonsense"
    failure, files = make_here(run.config, tmp_path / "runs" / "a", "none", {}, tmp_path)
    assert failure is None
    assert "result.json" in files
    assert not list(tmp_path.iterdir())


@needs_ray
@ray_warns
def test_what_a_run_raises_is_recorded_and_what_had_begun_goes_on(nodes, small, tmp_path):
    sweep(small(qs=(1,)), out=tmp_path, jobs=1, progress=False)
    bad = tmp_path / "runs" / "q2-seed0"
    bad.mkdir()
    (bad / "checkpoint").write_bytes(b"nonsense")
    how = {"workers": "ray", "address": nodes.address, "progress": False}
    found = sweep(small(qs=(1, 2)), out=tmp_path, **how)
    assert [row["steps_made"] for row in found.rows] == [30, None]
    assert found.rows[1]["reason"].startswith("q2-seed0/checkpoint: is truncated or damaged")


@needs_ray
@ray_warns
def test_an_error_ends_our_tasks_and_leaves_the_callers_cluster(nodes, small, tmp_path, hearing):
    ray = load_ray()
    connect(ray, nodes)
    run, _ = runs = read_grid(small(steps=10_000_000, epochs=1_000_000, checkpoint_every=0.0)).runs
    checkpoint = place(tmp_path, run) / "checkpoint"

    def interrupt(_):
        if checkpoint.exists():
            raise KeyboardInterrupt

    hearing.stepped = interrupt
    with pytest.raises(KeyboardInterrupt), cluster(tmp_path, runs, address=None, jobs=2) as workers:
        list(make_all(runs, tmp_path, workers, hearing))
    assert ray.is_initialized()
    with exclusive(checkpoint.parent):  # the run has ended: it let its directory go
        assert ray.get(ray.remote(lambda: 1).remote(), timeout=60) == 1  # the one CPU is free
    ray.shutdown()


@needs_ray
def test_no_cluster_is_one_line(grid, tmp_path):
    with (
        pytest.raises(SparsefieldError, match="no Ray cluster answers there"),
        cluster(tmp_path, grid.runs, address="127.0.0.1:1", jobs=None),
    ):
        pass
    assert not list(tmp_path.iterdir())


BROKEN = 'print("no library"); {}["libamd_smi.so"]'


def loads(folder, path=()):
    """Whether a process finds Ray where amdsmi is as ``folder`` has it; ``path`` comes before."""
    found = os.pathsep.join(map(str, [*path, folder, os.environ.get("PYTHONPATH", "")]))
    done = subprocess.run(
        [sys.executable, "-c", "import ray"],
        env={**os.environ, "PYTHONPATH": found},
        capture_output=True,
        check=False,
    )
    return done.returncode == 0


@needs_ray
def test_ray_loads_beside_an_amdsmi_that_breaks(tmp_path):
    (tmp_path / "amdsmi.py").write_text(BROKEN)
    assert not loads(tmp_path)  # once this fails, Ray copes by itself, and no_rocm may go
    assert loads(tmp_path, path=[FOLDER])


def test_only_an_amdsmi_that_breaks_is_hidden_and_only_meanwhile(tmp_path, monkeypatch, capsys):
    monkeypatch.delitem(sys.modules, "amdsmi", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", "own")
    (tmp_path / "amdsmi.py").write_text(BROKEN)
    assert amdsmi_breaks()
    with without_amdsmi():
        assert os.environ["PYTHONPATH"] == f"{FOLDER}{os.pathsep}own"
        with pytest.raises(ImportError):
            import amdsmi
    assert os.environ["PYTHONPATH"] == "own"
    assert "amdsmi" not in sys.modules
    (tmp_path / "amdsmi.py").write_text("works = True")
    importlib.invalidate_caches()
    assert not amdsmi_breaks()
    with without_amdsmi():
        assert os.environ["PYTHONPATH"] == "own"
        import amdsmi

        assert amdsmi.works
    assert capsys.readouterr().out == ""


class StandIn:
    """In place of Ray: one node with one CPU, where every run's process is killed."""

    exceptions = SimpleNamespace(
        **dict.fromkeys(("WorkerCrashedError", "NodeDiedError", "LocalRayletDiedError"), OSError),
        **dict.fromkeys(("ObjectLostError", "OutOfMemoryError"), OSError),
        RayError=RuntimeError,
    )

    def is_initialized(self):
        return False

    def init(self, **_):
        """Ray answers SIGTERM by a handler of its own."""
        signal.signal(signal.SIGTERM, lambda *_: None)

    def shutdown(self):
        pass

    def nodes(self):
        return [{"Alive": True, "Resources": {"CPU": 1.0}}, {"Alive": False, "Resources": {}}]

    def cluster_resources(self):
        return {"CPU": 1.0}

    def remote(self, **_):
        task = SimpleNamespace(remote=lambda *_: object())
        return lambda _: SimpleNamespace(options=lambda **_: task)

    def wait(self, tasks, **_):
        return tasks, []

    def get(self, _):
        raise OSError


@pytest.fixture
def stand_in(monkeypatch):
    """A cluster that is not there; SIGTERM is answered as before."""
    before = signal.getsignal(signal.SIGTERM)
    found = StandIn()
    monkeypatch.setattr("sparsefield.sweep.cluster.load_ray", lambda: found)
    yield found
    signal.signal(signal.SIGTERM, before)


def test_the_callers_handler_comes_back(stand_in):
    before = signal.getsignal(signal.SIGTERM)
    stand_in.init()
    assert signal.getsignal(signal.SIGTERM) != before  # the stand-in does take it
    signal.signal(signal.SIGTERM, before)
    with _connected(stand_in, None):
        assert signal.getsignal(signal.SIGTERM) == before


def test_the_callers_handler_comes_back_from_a_cluster_that_does_not_start(stand_in):
    before, take = signal.getsignal(signal.SIGTERM), stand_in.init

    def init(**how):
        take(**how)
        raise RuntimeError("no room")

    stand_in.init = init
    with pytest.raises(SparsefieldError, match="no room"), _connected(stand_in, None):
        pass
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_run_that_is_killed_twice_there_is_a_failure_too(stand_in, grid, tmp_path, hearing):
    with cluster(tmp_path, grid.runs, address=None, jobs=None) as workers:
        ends = dict(make_all(grid.runs, tmp_path, workers, hearing))
    first, second = grid.runs
    assert hearing.begun == [first.name] * 2 + [second.name] * 2
    assert {(end.kind, end.attempts) for end in ends.values()} == {("killed", 2)}


NEEDS = {"CPUs": {"threads": 2}, "GPUs": {"device": "cuda"}}


@pytest.mark.parametrize("needs", NEEDS.values(), ids=NEEDS)
def test_a_run_that_no_node_has_room_for_is_one_line(stand_in, small, tmp_path, needs):
    content = small(qs=(1,))
    content["list"] = [{"depth": 3}, {"depth": 2, **needs}]
    runs = read_grid(content).runs
    with (
        pytest.raises(InvalidInput, match=r"run depth2-.*: needs .*, and no node .*; give it"),
        cluster(tmp_path, runs, address=None, jobs=None),
    ):
        pass
    assert not list(tmp_path.iterdir())
    with cluster(tmp_path, runs[:1], address=None, jobs=None):
        pass


def test_what_a_killed_sweep_left_in_its_directory_is_removed(stand_in, grid, tmp_path):
    with opened(tmp_path, grid):
        pass
    with cluster(tmp_path, grid.runs, address=None, jobs=None):
        (token,) = tmp_path.glob(".storage-*")
    token.touch()
    with opened(tmp_path, grid):
        assert not token.exists()
