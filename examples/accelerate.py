"""Train a sparse network on the digits, and run it by the engine: same outputs, fewer products."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable

import torch

import sparsefield as sf
from sparsefield.engine import load_engine, save_engine
from sparsefield.train import load_model, train


def milliseconds(call: Callable[[], object], repeats: int = 30) -> float:
    """The median of some calls."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1e3 * sorted(times)[repeats // 2]


def main(depth: int = 10, width: int = 300, epochs: int = 10) -> None:
    """Train, accelerate, compare, save."""
    config = sf.TrainConfig(data="digits", depth=depth, width=width, skip=0.9, epochs=epochs)
    data = sf.load("digits")
    with tempfile.TemporaryDirectory() as directory:
        result = train(config, out=f"{directory}/run", progress=False)
        print(f"trained: sparsity {result.sparsity_mean:.2f}, accuracy {result.test_accuracy:.3f}")
        model = load_model(f"{directory}/run").eval()
        engine = sf.accelerate(model, data.test_x[:128])
        print(engine)
        save_engine(engine, f"{directory}/engine.safetensors")
        loaded = load_engine(f"{directory}/engine.safetensors")
    with torch.no_grad():
        logits = model(data.test_x)
        found, again = engine(data.test_x), loaded(data.test_x)
        error = (found - logits).abs().max() / logits.abs().max()
        same = (found.argmax(1) == logits.argmax(1)).float().mean()
        print(f"largest difference {error:.1e} of the largest logit; same decisions {same:.1%}")
        print(f"read from its file: {(again.argmax(1) == found.argmax(1)).float().mean():.1%}")
        print("batch   model ms   engine ms")
        for batch in (1, 128):
            x = data.test_x[:batch]
            before, after = milliseconds(lambda x=x: model(x)), milliseconds(lambda x=x: engine(x))
            print(f"{batch:<8}{before:<11.2f}{after:.2f}")


if __name__ == "__main__":
    main()
