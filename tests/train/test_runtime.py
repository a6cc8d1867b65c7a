import os
import socket
import subprocess
import sys

import numpy as np
import pytest
import torch

from sparsefield.errors import InvalidInput
from sparsefield.train import TrainConfig, read_run, train
from sparsefield.train import loop as loop_module
from sparsefield.train.configfile import dump_config
from sparsefield.train.runtime import Single, from_main, main_first, start_runtime

# Two processes add the same float32 numbers in another order: 2e-7 was seen, a wrong mean is 1e-2.
TOLERANCE = 1e-5

SCRIPT = """
import sys
from sparsefield.errors import InvalidInput
from sparsefield.train import load_config, train

config, out = load_config(sys.argv[1]), sys.argv[2]
result = train(config, out=out)
assert train(config, out=out, resume=True).train_loss == result.train_loss
for options in ({}, {"resume": True, "config": config.model_copy(update={"seed": 1})}):
    try:
        train(**{"config": config, "out": out, **options})
    except InvalidInput as error:
        print("refused:", error)
"""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def torchrun(script, *arguments):
    command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=1", "--nproc-per-node=2"]
    command += ["--master-addr=127.0.0.1", f"--master-port={free_port()}", script, *arguments]
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [str(part) for part in command],
        env=environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.fixture
def each_step(config):
    return config(log_every=1)


@pytest.fixture
def alone(each_step, tmp_path):
    """The losses of one process."""
    train(each_step, out=tmp_path / "alone", progress=False)
    return read_run(tmp_path / "alone")


def test_two_processes_reach_the_losses_of_one(each_step, alone, tmp_path):
    pytest.importorskip("lightning_fabric")
    (tmp_path / "config.yaml").write_text(dump_config(each_step))
    (tmp_path / "script.py").write_text(SCRIPT)
    done = torchrun(tmp_path / "script.py", tmp_path / "config.yaml", tmp_path / "pair")
    pair = read_run(tmp_path / "pair")
    assert pair.metrics["loss"] == pytest.approx(alone.metrics["loss"], rel=TOLERANCE)
    assert pair.result.sparsity_init == alone.result.sparsity_init
    assert pair.result.test_accuracy == pytest.approx(alone.result.test_accuracy, abs=0.01)
    assert pair.result.hardware["processes"] == 2
    # Measured on half a batch, but in units of the same loss.
    ratio = pair.layers["grad_rms"] / alone.layers["grad_rms"]
    assert np.exp(np.log(ratio).mean()) == pytest.approx(1.0, abs=0.2)
    assert done.stderr.count("epoch 1/2") == 1  # one process speaks
    assert done.stdout.count("refused:") == 4  # every process raises
    assert done.stdout.count("already holds a finished run") == 2
    assert done.stdout.count("seed=0 there, 1 here") == 2


def test_two_processes_on_lists_reach_the_losses_of_one(each_step, tmp_path):
    pytest.importorskip("lightning_fabric")
    lists = each_step.model_copy(update={"engine": "sparse", "epochs": 1, "steps": 8})
    train(lists, out=tmp_path / "alone", progress=False)
    (tmp_path / "config.yaml").write_text(dump_config(lists))
    (tmp_path / "script.py").write_text(SCRIPT)
    torchrun(tmp_path / "script.py", tmp_path / "config.yaml", tmp_path / "pair")
    alone, pair = read_run(tmp_path / "alone"), read_run(tmp_path / "pair")
    assert pair.metrics["loss"] == pytest.approx(alone.metrics["loss"], rel=TOLERANCE)
    assert pair.result.engine == alone.result.engine
    assert pair.result.engine["layers_on_lists"] == lists.depth


class Alone(Single):
    """The first of two processes, without the exchange of gradients."""

    world_size = 2


@pytest.mark.parametrize("engine", ["dense", "sparse"])
def test_a_process_that_does_not_exchange_gradients_does_not(
    each_step, alone, tmp_path, monkeypatch, engine
):
    monkeypatch.setattr(loop_module, "start_runtime", lambda _: Alone(torch.device("cpu")))
    lists = each_step.model_copy(update={"engine": engine})
    train(lists, out=tmp_path / "half", progress=False)
    half = read_run(tmp_path / "half").metrics["loss"]
    assert half != pytest.approx(alone.metrics["loss"], rel=1000 * TOLERANCE)


def test_auto_of_several_processes_is_dense(each_step, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(loop_module, "start_runtime", lambda _: Alone(torch.device("cpu")))
    result = train(each_step.model_copy(update={"engine": "auto"}), out=tmp_path)
    assert result.engine["layers_on_lists"] == 0
    assert capsys.readouterr().err.count("engine: dense, auto measures in one process alone") == 1


def test_a_batch_that_processes_cannot_share(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(InvalidInput, match=r"batch=128 over 3 processes: .* give a multiple of 3"):
        start_runtime(TrainConfig(batch=128))


def test_one_process_needs_no_fabric(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "1")
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    runtime = start_runtime(TrainConfig(device="cpu"))
    assert isinstance(runtime, Single)
    assert runtime.device == torch.device("cpu")


def test_fabric_has_every_name_of_one_process():
    fabric = pytest.importorskip("lightning_fabric").Fabric
    names = {name for name in vars(Single) if not name.startswith("_")}
    assert {"setup_module", "broadcast", "world_size"} < names <= set(dir(fabric))


class Second(Single):
    """The second of two processes, told what the first one found."""

    world_size, global_rank, is_global_zero = 2, 1, False

    def __init__(self, message):
        super().__init__(torch.device("cpu"))
        self.message = message

    def broadcast(self, obj):
        assert obj == (None, None)
        return self.message


def test_what_the_first_process_finds_reaches_the_others():
    def forbidden():
        raise AssertionError("only the first process acts")

    assert from_main(Second((5, None)), forbidden) == 5
    with pytest.raises(InvalidInput, match="^its error$"):
        from_main(Second((None, "its error")), forbidden)


def test_the_first_process_goes_first():
    order = []

    class Recording(Single):
        def broadcast(self, obj):
            order.append("broadcast")
            return obj

    first = Recording(torch.device("cpu"))
    main_first(first, lambda: order.append("action"))
    second = Recording(torch.device("cpu"))
    second.is_global_zero = False
    main_first(second, lambda: order.append("action"))
    assert order == ["action", "broadcast", "broadcast", "action"]


@pytest.mark.parametrize("error", [InvalidInput("no data"), OSError("no disk"), KeyError()])
def test_an_error_of_the_first_process_is_told_before_it_is_raised(error):
    told = []

    class Recording(Single):
        def broadcast(self, obj):
            told.append(obj)
            return obj

    def fail():
        raise error

    with pytest.raises(type(error)):
        main_first(Recording(torch.device("cpu")), fail)
    assert told[0][1]
