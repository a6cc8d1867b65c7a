"""One run in memory: built, stepped, recorded, saved and restored."""

from __future__ import annotations

import math
import time
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch.optim.lr_scheduler import LambdaLR

from sparsefield.data import Dataset, split
from sparsefield.errors import InvalidInput
from sparsefield.monitor import Monitor
from sparsefield.nn.threshold import fatrelus, threshold_
from sparsefield.theory import Point
from sparsefield.train.batches import Batches
from sparsefield.train.budget import steps_of
from sparsefield.train.checkpoint import State, save_checkpoint
from sparsefield.train.config import TrainConfig, default_epochs
from sparsefield.train.environment import commit, hardware, versions
from sparsefield.train.evaluate import Evaluation, evaluate
from sparsefield.train.network import build, expectation, save_model, shape_for
from sparsefield.train.optimizer import cut_step, make_optimizer, schedule_factor
from sparsefield.train.penalty import Penalty
from sparsefield.train.progress import Silent
from sparsefield.train.record import CHECKPOINT, Result, Row, write_result, write_tables
from sparsefield.train.runtime import Runtime, autocast, from_main
from sparsefield.train.verdict import chance, failure
from sparsefield.train.ways import ways_of


class Training:
    """One run in memory: what :func:`train` builds, steps, saves and restores.

    Parameters
    ----------
    config, point
        Resolved, and solved from it; see :meth:`TrainConfig.solved`.
    runtime
        Where it runs.
    directory
        Of the record.
    dataset
        What it learns.
    """

    def __init__(
        self,
        config: TrainConfig,
        point: Point,
        runtime: Runtime,
        directory: Path,
        dataset: Dataset,
    ) -> None:
        self.config, self.runtime, self.directory = config, runtime, directory
        self.digest = dataset.digest
        self.shape = shape_for(config, dataset)
        device, world = runtime.device, runtime.world_size
        self.test = dataset.test_x.to(device), dataset.test_y.to(device)
        images, labels = dataset.train_x.to(device), dataset.train_y.to(device)
        chosen, held_out = split(len(labels), config.validation)
        self._kept_apart = images[held_out], labels[held_out]
        self.batches = Batches(
            images,
            labels,
            chosen,
            batch=config.batch,
            seed=config.seed,
            rank=runtime.global_rank,
            world=world,
        )
        self.epochs = config.epochs or default_epochs(self.batches.per_epoch)
        self.total = steps_of(config, self.batches.per_epoch)
        moment = dataset.input_moment
        self.model = build(config, self.shape, point=point, input_moment=moment).to(device)
        self.ways = ways_of(config, point, self.model, runtime, self.total, directory)
        self.forward = runtime.setup_module(self.ways.module)  # the model, as a step calls it
        fuses = config.grad_clip is None and world == 1  # nobody else reads the gradients
        engine = self.ways.whole if fuses else None
        self.optimizer = make_optimizer(config, self.model.named_parameters(), engine)
        self.ways.updated_by(self.optimizer)
        self.autocast = partial(autocast, config.precision, device)
        self.factor = partial(schedule_factor, config, self.total)
        self.scheduler = LambdaLR(self.optimizer, self.factor)
        self.monitor = Monitor(
            self.model,
            every=config.monitor_every if runtime.is_global_zero else 0,
            expectation=expectation(config, point, self.shape, moment),
            grad_scale=1 / world,
        )
        self.penalty = Penalty(
            config,
            self.model,
            runs=self.ways.module,
            reduce=runtime.all_reduce,
        )
        self.step, self.metrics = 0, list[Row]()
        self.tally, self.tallied = torch.zeros((), device=device), 0
        self.sparsity_init: tuple[float, ...] = ()
        self.cut: dict[str, Any] | None = None
        self.evaluation: Evaluation | None = None
        self.evaluated_at = -1
        self.seconds, self._since = 0.0, time.monotonic()

    def begin(self) -> None:
        """Look at the network as it is before the first step."""
        if not self.sparsity_init:
            self.sparsity_init = self.evaluate().sparsity
            self.ways.look(0, self.sparsity_init)

    @property
    def ended(self) -> bool:
        """Whether all steps are made, or the latest row's loss is not finite."""
        diverged = bool(self.metrics) and not math.isfinite(self.metrics[-1]["loss"])
        return self.step >= self.total or diverged

    def advance(self) -> None:
        """One optimiser step."""
        if self.step == cut_step(self.config, self.total):
            self.raise_thresholds()
        begun = time.perf_counter()
        images, labels = self.batches.at(self.step)
        self.ways.take(self.step, seen=self.penalty.watches or self.monitor.due(self.step))
        with self.monitor.at(self.step):
            with self.autocast(), self.penalty.watching():
                loss = cross_entropy(self.forward(images), labels)
            # Freed any earlier, this memory goes to the activations or back to the system, and
            # the backward pass faults new pages in: 10 % of a step at depth 30.
            self.optimizer.zero_grad()
            self.runtime.backward(self.penalty.added_to(loss))
        if self.config.grad_clip is not None:
            nn.utils.clip_grad_norm_(self.model.parameters(), self.config.grad_clip)
        self.optimizer.step()
        self.scheduler.step()
        self.tally += loss.detach()
        self.tallied += 1
        self.ways.took(self.step, time.perf_counter() - begun)
        self.step += 1

    def raise_thresholds(self) -> None:
        """Cut the network's activations off, by what the batch of this step gives them.

        Each process has its share of the batch, and all have the mean of their thresholds.
        """
        before, sample = self.evaluate().accuracy, self.batches.at(self.step)[0]
        threshold_(self.model, sample, zeros=self.config.threshold or 0.0)
        for part in fatrelus(self.model).values():
            own = torch.tensor(part.tau, dtype=torch.float64, device=self.runtime.device)
            part.tau = float(self.runtime.all_reduce(own))
        self.evaluation = None
        self.cut = {"step": self.step, "before": before, "after": self.evaluate().accuracy}

    def record(self, shown: Silent) -> None:
        """Add a row of metrics, if this step has one; evaluate at the end of an epoch."""
        shown.advance()
        epoch_ends = self.step % self.batches.per_epoch == 0 or self.step == self.total
        if not epoch_ends and self.step % self.config.log_every:
            return
        loss = float(self.runtime.all_reduce(self.tally / self.tallied))
        self.tally, self.tallied = torch.zeros_like(self.tally), 0
        accuracy = zeros = math.nan
        if epoch_ends:
            accuracy = self.evaluate().accuracy
            zeros = self.evaluate().sparsity_mean
            self.ways.look(self.step, self.evaluate().sparsity)
        self.metrics.append(
            {
                "step": self.step,
                "epoch": math.ceil(self.step / self.batches.per_epoch),
                "loss": loss,
                "lr": self.lr_of(self.step - 1),
                "test_accuracy": accuracy,
                "seconds": self.elapsed(),
                "zeros": zeros,
                **self.penalty.row(),
            }
        )
        seen = self.evaluation  # none yet in a resumed run
        shown.report(self.metrics[-1], seen.sparsity_mean if seen else math.nan)

    def finish(self) -> Result:
        """Save the last state, write every file of the record, ``result.json`` last."""
        self.save()
        evaluation = self.evaluate()
        loss = last_epoch_loss(self.metrics)
        reason = failure(
            loss,
            evaluation.accuracy,
            chance(self.test[1]),
            step=self.step,
            lr=self.lr_of(self.step - 1),
        )
        result = Result(
            test_accuracy=evaluation.accuracy,
            validation_accuracy=self.validation_accuracy(),
            train_loss=loss,
            sparsity_mean=evaluation.sparsity_mean,
            sparsity_per_layer=evaluation.sparsity,
            failed=reason is not None,
            reason=reason,
            steps=self.step,
            seconds=self.elapsed(),
            seed=self.config.seed,
            versions=versions(),
            commit=commit(),
            engine=self.ways.told(self.step),
            threshold=self.cut,
            sparsity_init=self.sparsity_init,
            hardware=hardware(self.runtime.world_size, self.runtime.device),
            data_digest=self.digest,
            dead_share=evaluation.dead_share,
        )
        from_main(self.runtime, lambda: self._write(result))
        return result

    def _write(self, result: Result) -> None:
        write_tables(self.directory, self.metrics, self.monitor.rows)
        save_model(self.directory, self.model, self.shape)
        write_result(self.directory, result)

    def save(self) -> None:
        """Write the checkpoint, in the first process."""
        if self.runtime.is_global_zero:
            save_checkpoint(self.directory / CHECKPOINT, self.config, self.digest, self.state())

    def state(self) -> State:
        """Everything that the rest of the run depends on or will be recorded."""
        return {
            "step": self.step,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scheduler": self.scheduler.state_dict(),
            "tally": self.tally,
            "tallied": self.tallied,
            "metrics": self.metrics,
            "layers": self.monitor.rows,
            "sparsity_init": list(self.sparsity_init),
            "seconds": self.elapsed(),
            "threads": torch.get_num_threads(),
            "ways": self.ways.state(),
            "cut": self.cut,
            "hold": self.penalty.state(),
            **self.place(),
        }

    def place(self) -> dict[str, Any]:
        """Where the run runs, as far as its last bits depend on it."""
        return {"processes": self.runtime.world_size, "device": self.runtime.device.type}

    def restore(self, state: State | None) -> None:
        """Go on from a state; None leaves the run at its beginning."""
        if state is None:
            return
        for name, here in self.place().items():
            if state[name] != here:
                raise InvalidInput(
                    f"{self.directory}: was run with {name}={state[name]}, here {here}: the end "
                    "would differ; resume as it was begun, or give another directory"
                )
        torch.set_num_threads(state["threads"])  # sums depend on it to the last bit
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.scheduler.load_state_dict(state["scheduler"])
        self.ways.restore(state.get("ways", {}))  # none in those of before there was a choice
        self.penalty.restore(state.get("hold"))
        self.step, self.tallied = state["step"], state["tallied"]
        self.tally = state["tally"].to(self.runtime.device)
        self.metrics, self.monitor.rows = state["metrics"], state["layers"]
        self.sparsity_init = tuple(state["sparsity_init"])
        self.seconds = state["seconds"]
        self.cut = state.get("cut")

    def evaluate(self) -> Evaluation:
        """Accuracy and sparsity on the test set as of now."""
        if self.evaluation is None or self.evaluated_at != self.step:
            self.evaluation = self._evaluate_on(*self.test)
            self.evaluated_at = self.step
        return self.evaluation

    def validation_accuracy(self) -> float | None:
        """Accuracy on the images kept apart, as of now; None where there are none."""
        if not len(self._kept_apart[1]):
            return None
        return self._evaluate_on(*self._kept_apart).accuracy

    def _evaluate_on(self, images: Tensor, labels: Tensor) -> Evaluation:
        """By the way of the step before, whose zeros lists know."""
        forward = self.ways.take(self.step - 1, seen=True)
        return evaluate(self.model, images, labels, self.runtime, self.autocast, forward)

    def lr_of(self, step: int) -> float:
        """The learning rate of a step (from 0)."""
        return (self.config.lr or 0.0) * self.factor(step)

    def elapsed(self) -> float:
        """Seconds of this run up to now, earlier parts included."""
        return self.seconds + time.monotonic() - self._since


def last_epoch_loss(metrics: list[Row]) -> float:
    """Mean loss over the batches of the last epoch: rows weighted by the steps they stand for."""
    total, steps, before = 0.0, 0, 0
    for row in metrics:
        if row["epoch"] == metrics[-1]["epoch"]:
            total += row["loss"] * (row["step"] - before)
            steps += row["step"] - before
        before = row["step"]
    return total / steps
