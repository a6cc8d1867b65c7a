"""A Ray cluster of two nodes on this machine, one of which is killed in the middle."""

import time

import pytest

from sparsefield.errors import MissingExtra, SparsefieldError
from sparsefield.sweep import read_plan, sweep
from sparsefield.sweep.folder import place
from sparsefield.sweep.ray_engine import load_ray, run_ray
from sparsefield.sweep.table import rows

try:
    ray = load_ray()
except MissingExtra as error:
    pytest.skip(str(error), allow_module_level=True)

# Ray's own warnings, about its environment variables and unclosed sockets.
pytestmark = [pytest.mark.filterwarnings("ignore"), pytest.mark.slow]
CPUS = {"num_cpus": 1, "object_store_memory": 100_000_000}


@pytest.fixture
def cluster():
    """Two nodes of one CPU each."""
    from ray.cluster_utils import Cluster

    made = Cluster(
        initialize_head=True,
        head_node_args={**CPUS, "include_dashboard": False},
        shutdown_at_exit=False,
    )
    made.second = made.add_node(**CPUS)
    yield made
    ray.shutdown()
    made.shutdown()


@pytest.fixture
def killing(hearing, cluster):
    """Kill the second node once both have a run under way."""
    busy = []

    def stepped(steps):
        if cluster.second is None or len(hearing.begun) < 2:
            return
        if ray.available_resources().get("CPU", 0) < 1:
            busy.append(time.monotonic())
        if busy and time.monotonic() - busy[0] > 6.0:
            hearing.notes.append(set(hearing.begun) - set(hearing.ends))
            cluster.remove_node(cluster.second, allow_graceful=False)
            cluster.second = None

    hearing.stepped = stepped
    return hearing


def table(directory, plan):
    """The rows, less the seconds."""
    return [
        {key: value for key, value in row.items() if key != "seconds"}
        for row in rows(directory, plan)
    ]


@pytest.mark.parametrize("shared", [None, False], ids=["shared storage", "no shared storage"])
def test_a_node_is_killed_and_its_runs_are_made_elsewhere(
    cluster, killing, small, tmp_path, shared
):
    content = small(qs=(1, 2, 4), epochs=100_000, steps=4000, checkpoint_every=0.2)
    plan, out = read_plan(content), tmp_path / "ray"
    out.mkdir()
    run_ray(plan.runs, out, killing, address=cluster.address, shared=shared)
    (under_way,) = killing.notes
    assert len(under_way) == 2  # one of them was the killed node's
    assert killing.ends == dict.fromkeys(run.name for run in plan.runs)
    sweep(content, out=tmp_path / "local", jobs=1, progress=False)
    assert table(out, plan) == table(tmp_path / "local", plan)
    for run in plan.runs:
        files = [{path.name for path in place(d, run).iterdir()} for d in (out, tmp_path / "local")]
        assert files[0] == files[1]
    assert not [path for path in out.iterdir() if path.name != "runs"]


def test_what_a_run_raises_is_recorded_and_what_had_begun_goes_on(cluster, small, tmp_path):
    content = small(qs=(1, 2))
    bad = tmp_path / "runs" / "q2-seed0"
    sweep(small(qs=(1,)), out=tmp_path, jobs=1, progress=False)
    bad.mkdir()
    (bad / "checkpoint").write_bytes(b"nonsense")
    found = sweep(content, out=tmp_path, engine="ray", address=cluster.address, progress=False)
    assert [row["steps_made"] for row in found.rows] == [30, None]
    assert found.rows[1]["reason"].startswith("q2-seed0/checkpoint: is truncated or damaged")


def test_no_cluster_is_one_line(plan, tmp_path, hearing):
    with pytest.raises(SparsefieldError, match="no Ray cluster answers there"):
        run_ray(plan.runs, tmp_path, hearing, address="127.0.0.1:1")
