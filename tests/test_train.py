"""fit: means of metrics, early stopping, and a training that goes on after a break as if there had been none."""

import math
import subprocess
import sys
import textwrap

import numpy as np
import pytest

import funcgrad as fg
from funcgrad import optim
from funcgrad.data import DataLoader
from funcgrad.errors import SerializationError, TrainingError
from funcgrad.train import EarlyStopping, fit


@fg.jit
def step(state, batch):
    x, y = batch
    loss, grads = fg.value_and_grad(lambda w: ((x @ w - y) ** 2).mean())(state["w"])
    updates, opt = optim.adam(0.05).update(grads, state["opt"], state["w"])
    return {"w": optim.apply_updates(state["w"], updates), "opt": opt}, {"loss": loss}


@pytest.fixture
def problem():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(40, 3))
    state = {"w": np.zeros(3), "opt": optim.adam(0.05).init(np.zeros(3))}
    return DataLoader((x, x @ np.array([1.0, -2.0, 3.0])), batch_size=8, key=fg.random.key(1)), state


def test_equals_the_loop_written_out(problem):
    loader, state = problem
    result = fit(step, state, loader.epoch, epochs=3, evaluate=lambda s: {"norm": np.linalg.norm(s["w"])})
    assert not result.stopped_early and len(result.history) == 3
    for epoch in range(3):
        losses = []
        for batch in loader.epoch(epoch):
            state, metrics = step(state, batch)
            losses.append(float(metrics["loss"]))
        assert result.history[epoch]["loss"] == pytest.approx(np.mean(losses), rel=1e-14)
        assert result.history[epoch]["eval_norm"] == np.linalg.norm(state["w"])
    np.testing.assert_array_equal(result.state["w"], state["w"])
    assert result.history[2]["loss"] < result.history[0]["loss"]


@pytest.mark.parametrize("every", [None, 2])
@pytest.mark.parametrize("break_at", [1, 4, 5, 7, 11])
def test_goes_on_after_a_break(problem, tmp_path, every, break_at):
    loader, state = problem
    straight = fit(step, state, loader.epoch, epochs=3)
    calls = 0

    def interrupted(state, batch):
        nonlocal calls
        calls += 1
        if calls > break_at:
            raise KeyboardInterrupt
        return step(state, batch)

    file = tmp_path / "checkpoint"
    with pytest.raises(KeyboardInterrupt):
        fit(interrupted, state, loader.epoch, epochs=3, checkpoint=file, checkpoint_every=every)
    resumed = fit(step, state, loader.epoch, epochs=3, checkpoint=file, checkpoint_every=every)
    np.testing.assert_array_equal(resumed.state["w"], straight.state["w"])
    assert resumed.history == straight.history


def test_goes_on_after_a_kill(tmp_path):
    """The process dies without a chance to clean up, in the middle of an epoch."""
    script = textwrap.dedent("""
        import os, sys, numpy as np, funcgrad as fg
        from funcgrad.data import DataLoader
        from funcgrad.train import fit
        loader = DataLoader(np.linspace(0, 1, 12), batch_size=2, key=fg.random.key(0))
        deadly, count = int(sys.argv[2]), 0
        def step(state, x):
            global count
            if count == deadly:
                os.kill(os.getpid(), 9)
            count += 1
            key, noise = fg.random.split(state["key"])
            g = fg.grad(lambda w: ((w - x - fg.random.normal(noise)) ** 2).mean())(state["w"])
            return {"w": state["w"] - 0.1 * g, "key": key}, {"loss": g ** 2}
        result = fit(step, {"w": np.array(3.0), "key": fg.random.key(5)}, loader.epoch, epochs=3,
                     checkpoint=sys.argv[1], checkpoint_every=1)
        print(repr(float(result.state["w"])), result.history)
    """)

    def run(file, deadly):
        return subprocess.run(
            [sys.executable, "-c", script, str(file), str(deadly)], capture_output=True, text=True, check=False
        )

    want = run(tmp_path / "straight", -1)
    assert want.returncode == 0, want.stderr
    assert run(tmp_path / "broken", 9).returncode == -9
    assert run(tmp_path / "broken", 4).returncode == -9
    assert run(tmp_path / "broken", -1).stdout == want.stdout


def test_a_finished_training_is_not_run_again(problem, tmp_path):
    loader, state = problem
    first = fit(step, state, loader.epoch, epochs=2, checkpoint=tmp_path / "c")
    again = fit(lambda *_: pytest.fail("no step is left"), state, loader.epoch, epochs=2, checkpoint=tmp_path / "c")
    assert again.history == first.history
    np.testing.assert_array_equal(again.state["w"], first.state["w"])


def record(*losses, name="loss"):
    return [{name: x} for x in losses]


@pytest.mark.parametrize(
    ("rule", "history", "stops"),
    [
        (EarlyStopping(patience=2), record(3, 2, 1), False),
        (EarlyStopping(patience=2), record(3, 2, 2, 2.5), True),
        (EarlyStopping(patience=2), record(3, 2, 2.5, 1), False),
        (EarlyStopping(patience=2, min_delta=0.5), record(3, 2.8, 2.6), True),
        (EarlyStopping("eval_accuracy", 1, mode="max"), record(0.5, 0.6, name="eval_accuracy"), False),
        (EarlyStopping("eval_accuracy", 1, mode="max"), record(0.5, 0.5, name="eval_accuracy"), True),
        (EarlyStopping(), [], False),
    ],
)
def test_early_stopping(rule, history, stops):
    assert rule.stops(history) is stops


def test_fit_stops_early():
    losses = iter([3.0, 2.0, 2.0, 2.0, 1.0])
    result = fit(
        lambda s, _: (s, {"loss": next(losses)}),
        0.0,
        lambda epoch: [None],
        epochs=5,
        early_stopping=EarlyStopping(patience=2),
    )
    assert result.stopped_early and [r["loss"] for r in result.history] == [3.0, 2.0, 2.0, 2.0]


def test_progress_bar(problem, capsys):
    loader, state = problem
    fit(step, state, loader.epoch, epochs=1, progress=True)
    assert "epoch 1" in capsys.readouterr().err
    fit(step, state, loader.epoch, epochs=1)
    assert capsys.readouterr().err == ""  # no terminal, no bar


def losses(*values):
    it = iter(values)
    return lambda state, batch: (state, {"loss": next(it)})


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite(value):
    with pytest.raises(TrainingError, match=rf"loss is {value} at step 1 of epoch 2 .*debug_nans=True"):
        fit(losses(1.0, 1.0, 1.0, 1.0, 1.0, value), 0.0, lambda epoch: range(2), epochs=4)


def test_errors(problem, tmp_path):
    loader, state = problem
    with pytest.raises(TrainingError, match="epoch 1 has no batches; batches"):
        once = iter(list(loader.epoch(0)))
        fit(step, state, lambda epoch: once, epochs=2)
    with pytest.raises(
        TrainingError, match=r"step 1 of epoch 0 .* returned the metrics \['b'\], those before it \['a'\]"
    ):
        names = iter("ab")
        fit(lambda s, _: (s, {next(names): 1.0}), 0.0, lambda epoch: range(2), epochs=1)
    with pytest.raises(TrainingError, match="there is no metric 'eval_loss'; there are: loss"):
        fit(losses(1.0, 1.0), 0.0, lambda epoch: range(1), epochs=2, early_stopping=EarlyStopping("eval_loss"))
    with pytest.raises(TrainingError, match="mode is 'min' or 'max', not 'low'"):
        EarlyStopping(mode="low")
    with pytest.raises(TrainingError, match="patience is at least 1"):
        EarlyStopping(patience=0)
    with pytest.raises(TrainingError, match="epochs is at least 0"):
        fit(step, state, loader.epoch, epochs=-1)
    fg.save(tmp_path / "model", {"w": np.zeros(3)})
    with pytest.raises(TrainingError, match="model is no checkpoint of a training"):
        fit(step, state, loader.epoch, epochs=1, checkpoint=tmp_path / "model")
    fit(step, state, loader.epoch, epochs=1, checkpoint=tmp_path / "c")
    other = {**state, "w": np.zeros(4)}
    with pytest.raises(SerializationError, match=r"\['state'\]\['w'\] is float64\[3\], like has float64\[4\]"):
        fit(step, other, loader.epoch, epochs=2, checkpoint=tmp_path / "c")
