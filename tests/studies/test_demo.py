import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from sparsefield.errors import InvalidInput, MissingExtra
from sparsefield.studies.demo import demo, table
from sparsefield.train import read_run

TINY = {"depth": 3, "width": 20, "epochs": 2, "seeds": 2}
ARMS = ["1-small-q", "2-large-q", "3-unclipped", "4-torch-default", "5-skip"]
RUN = "from sparsefield.studies.demo import demo\nif __name__ == '__main__': demo({!r}, {})"


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The folder of a tiny demo in a process of its own, and what it wrote."""
    folder = tmp_path_factory.mktemp("demo") / "out"
    return folder, run_script(folder, **TINY)


def run_script(folder, **sizes):
    script = folder.parent / "script.py"
    arguments = ", ".join(f"{name}={size}" for name, size in sizes.items())
    script.write_text(RUN.format(str(folder), arguments))
    return subprocess.run(
        [sys.executable, "-W", "error", str(script)],
        capture_output=True,
        text=True,
        check=True,
        timeout=900,
    )


def results(folder):
    return {path: path.read_bytes() for path in sorted(folder.glob("*/*/result.json"))}


def test_every_arm_has_the_same_seeds_and_sizes(shown):
    folder, _ = shown
    found = [path.relative_to(folder).parent for path in results(folder)]
    assert found == [Path(arm) / f"seed-{seed}" for arm in ARMS for seed in (0, 1)]
    configs = {arm: read_run(folder / arm / "seed-1").config for arm in ARMS}
    shared = [
        config.model_dump(exclude={"q", "family", "clip", "init", "skip"})
        for config in configs.values()
    ]
    assert all(config == shared[0] for config in shared)


def test_the_default_initialisation_has_the_same_activation(shown):
    folder, _ = shown
    solved, default = (read_run(folder / arm / "seed-0").config for arm in (ARMS[1], ARMS[3]))
    assert default == solved.model_copy(update={"init": "torch"})
    assert (default.point().tau, default.point().m) == (solved.point().tau, solved.point().m)


def test_the_table_and_the_report_are_said_on_stdout(shown):
    folder, done = shown
    assert f"report: {folder / 'report.html'}" in done.stdout
    assert "CReLU, q* = 0.25" in done.stdout
    assert "2 of 2" in done.stdout
    for path in results(folder):
        result = json.loads(path.read_text())
        assert f"seed {result['seed']}: accuracy {result['test_accuracy']:.1%}" in done.stderr
    assert (folder / "report.html").exists()


def test_finished_runs_are_kept(shown, capsys):
    folder, _ = shown
    before = results(folder)
    assert demo(folder, progress=False, **TINY) == folder / "report.html"
    assert results(folder) == before
    assert capsys.readouterr() == ("", "")


def test_other_sizes_are_refused(shown):
    folder, _ = shown
    with pytest.raises(InvalidInput, match="another config .*width=20 there, 21 here"):
        demo(folder, progress=False, workers=1, **{**TINY, "width": 21})


def test_an_interrupted_demo_ends_its_workers(tmp_path):
    folder = tmp_path / "out"
    script = tmp_path / "script.py"
    script.write_text(RUN.format(str(folder), "depth=3, width=20, epochs=10_000_000, seeds=1"))
    running = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
    )
    wait_for(lambda: len(list(folder.glob("*/*/config.yaml"))) == 2)
    running.send_signal(signal.SIGINT)
    assert running.wait(600) != 0
    wait_for(lambda: not group(running.pid))
    assert not results(folder)


def wait_for(happens):
    for _ in range(12_000):
        if happens():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen within ten minutes")


def group(leader):
    """Whether any process of a group is left."""
    try:
        os.killpg(leader, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.mark.parametrize("name", ["depth", "width", "epochs", "seeds", "workers"])
def test_sizes_below_one(tmp_path, name):
    with pytest.raises(InvalidInput, match=f"{name}=-1: must be at least 1"):
        demo(tmp_path / "out", **{name: -1})
    assert not (tmp_path / "out").exists()


def test_what_is_missing_is_said_before_training(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(MissingExtra, match="jinja2"):
        demo(tmp_path / "out", progress=False)
    assert not (tmp_path / "out").exists()


def test_the_table_has_a_row_an_arm(runs):
    from sparsefield.pictures.arms import read_arms

    assert table(read_arms(runs)).row_count == 5
