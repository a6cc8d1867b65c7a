"""After a fork the child computes the right answers, on one thread, and does not hang.

The scenes run in processes of their own, which fork: this process keeps its threads.
"""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")

STAGE = """
import os, sys, torch, warnings
warnings.simplefilter("ignore")
from engine.models import MODELS, batch_for
from sparsefield.engine import accelerate, dispatch
from sparsefield.engine.native import kernels

seconds = dispatch.seconds
dispatch.seconds = lambda calls, budget=0.0: seconds(calls, 0.0)
torch.set_num_threads(2)

NAMES = ["dnn with a skip", "cnn with a skip"]
models = {name: MODELS[name]() for name in NAMES}
inputs = {name: batch_for(name, 40) for name in NAMES}
expected = {name: model(inputs[name]).detach() for name, model in models.items()}

def warm():
    "Starts PyTorch's pool of threads."
    torch.randn(500, 500) @ torch.randn(500, 500)
    torch.randn(2_000_000).exp()

def check(engines):
    for (name, _), engine in engines.items():
        y = expected[name]
        assert (engine(inputs[name]) - y).abs().max() <= 1e-5 * y.abs().max(), name

def made():
    return {
        (name, way): accelerate(models[name], inputs[name], dispatch=way)
        for name in NAMES for way in ("sparse", "dense")
    }

def child(work):
    "Forks; the status of the child that does the work."
    pid = os.fork()
    if pid == 0:
        try:
            work()
        except BaseException as error:
            print(repr(error), file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
"""

UNUSED_BEFORE = """
engines = {("dnn with a skip", "sparse"): 0}
def work():
    (name, way), = engines
    engines[name, way] = accelerate(models[name], inputs[name], dispatch=way)
    check(engines)

assert child(work) == 0
work()
expected["dnn with a skip"] += 0.01
assert child(lambda: check(engines)) == 1, "a wrong answer in the child is not seen"
"""

USED_BEFORE = """
import tempfile, threading
from concurrent.futures import ThreadPoolExecutor
from sparsefield.engine import load_engine, save_engine

warm()
engines = made()
for _ in range(3): check(engines)
path = tempfile.mkdtemp() + "/engine"
save_engine(engines["dnn with a skip", "sparse"], path)

def engines_before():
    assert child(lambda: check(engines)) == 0
    check(engines)
    assert torch.get_num_threads() == 2

def an_engine_made_in_the_child():
    def work():
        check(made())
        assert torch.get_num_threads() == 1
    assert child(work) == 0

def threads_set_in_the_child():
    def work():
        torch.set_num_threads(2)
        check(engines)
    assert child(work) == 0

def a_grandchild():
    def work():
        check(engines)
        assert child(lambda: check(engines)) == 0
        check(engines)
    assert child(work) == 0

def from_a_thread():
    status = []
    def work():
        check(engines)
        status.append(child(lambda: check(engines)))
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert status == [0]

def threads_in_the_child():
    def work():
        with ThreadPoolExecutor(4) as pool:
            for done in [pool.submit(check, engines) for _ in range(8)]:
                done.result()
    assert child(work) == 0

def a_file_read_in_the_child():
    assert child(lambda: check({("dnn with a skip", "sparse"): load_engine(path)})) == 0

def multiprocessing():
    from multiprocessing import get_context
    context = get_context("fork")
    queue = context.Queue()
    def work():
        check(engines)
        queue.put("right")
    workers = [context.Process(target=work) for _ in range(2)]
    for worker in workers: worker.start()
    assert [queue.get(timeout=30) for _ in workers] == ["right", "right"]
    for worker in workers: worker.join(30)
    assert [worker.exitcode for worker in workers] == [0, 0]

for scene in (
    engines_before, an_engine_made_in_the_child, threads_set_in_the_child, a_grandchild,
    from_a_thread, threads_in_the_child, a_file_read_in_the_child, multiprocessing,
):
    print(scene.__name__, flush=True)
    scene()
check(engines)
"""


# idle threads sleep: others may be at work on this machine
THREADS = {"OMP_NUM_THREADS": "2", "OMP_WAIT_POLICY": "passive"}


def play(script: str, seconds: float = 90.0) -> None:
    """Run a script in a new session, which is ended as a whole if it does not come to its end."""
    process = subprocess.Popen(
        [sys.executable, "-c", script],
        env={**os.environ, **THREADS, "PYTHONPATH": str(Path(__file__).parents[1])},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        said, _ = process.communicate()
        raise AssertionError(f"hangs for {seconds} s: {said}") from None
    assert process.returncode == 0, said


def test_no_threads_before():
    play(STAGE + UNUSED_BEFORE)


def test_threads_before():
    play(STAGE + USED_BEFORE)


def test_a_hang_is_seen():
    with pytest.raises(AssertionError, match="hangs for 0.5 s"):
        play("import os, time; os.fork(); time.sleep(60)", seconds=0.5)
