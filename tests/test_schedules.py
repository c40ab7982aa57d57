"""Schedules: against Optax, under the transforms, and their messages."""

import numpy as np
import pytest

import funcgrad as fg
from funcgrad import optim

CYCLE = {"init_value": 0.1, "peak_value": 1.0, "warmup_steps": 3, "decay_steps": 10, "end_value": 0.05}

CASES = {
    "constant": lambda o: o.constant_schedule(0.3),
    "polynomial": lambda o: o.polynomial_schedule(1.0, 0.1, 2.5, 12, 4),
    "linear": lambda o: o.linear_schedule(0.0, 1.0, 8),
    "linear_late": lambda o: o.linear_schedule(1.0, 0.2, 8, transition_begin=5),
    "piecewise_constant": lambda o: o.piecewise_constant_schedule(2.0, {9: 0.1, 4: 0.5}),
    "piecewise_none": lambda o: o.piecewise_constant_schedule(2.0),
    "piecewise_linear": lambda o: o.piecewise_interpolate_schedule("linear", 1.0, {5: 3.0, 12: 0.1}),
    "piecewise_cosine": lambda o: o.piecewise_interpolate_schedule("cosine", 1.0, {5: 3.0, 12: 0.1}),
    "exponential": lambda o: o.exponential_decay(1.0, 4, 0.5),
    "step": lambda o: o.exponential_decay(1.0, 4, 0.5, staircase=True),
    "exponential_bounded": lambda o: o.exponential_decay(1.0, 4, 0.5, transition_begin=3, end_value=0.2),
    "exponential_growth": lambda o: o.exponential_decay(1.0, 4, 2.0, end_value=3.0),
    "cosine": lambda o: o.cosine_decay_schedule(2.0, 15, alpha=0.1, exponent=1.5),
    "warmup": lambda o: o.warmup_constant_schedule(0.0, 1.0, 5),
    "warmup_cosine": lambda o: o.warmup_cosine_decay_schedule(0.0, 1.0, 4, 18, 0.05),
    "warmup_exponential": lambda o: o.warmup_exponential_decay_schedule(0.0, 1.0, 4, 3, 0.7, end_value=0.1),
    "linear_onecycle": lambda o: o.linear_onecycle_schedule(20, 1.0),
    "cosine_onecycle": lambda o: o.cosine_onecycle_schedule(20, 1.0),
    "restarts": lambda o: o.sgdr_schedule([CYCLE, CYCLE | {"peak_value": 0.5}, CYCLE]),
    "joined": lambda o: o.join_schedules([o.linear_schedule(0, 1, 4), o.constant_schedule(0.5)], [6]),
}
COUNTS = np.arange(40)


@pytest.mark.parametrize("case", CASES)
def test_the_values_are_those_of_optax(case):
    optax = pytest.importorskip("optax", reason="Optax is the reference of the schedules (extra bench)")
    jax = pytest.importorskip("jax")
    schedule = CASES[case](optim)
    with jax.enable_x64(True):
        reference = CASES[case](optax)
        expected = [float(reference(jax.numpy.asarray(int(count)))) for count in COUNTS]
    np.testing.assert_allclose([float(schedule(np.int64(c))) for c in COUNTS], expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("case", CASES)
def test_under_jit_and_vmap(case):
    schedule = CASES[case](optim)
    expected = [float(schedule(int(count))) for count in COUNTS]
    np.testing.assert_allclose([float(fg.jit(schedule)(count)) for count in COUNTS[::8]], expected[::8], rtol=1e-14)
    np.testing.assert_allclose(np.broadcast_to(fg.vmap(schedule)(COUNTS), COUNTS.shape), expected, rtol=1e-14)


def test_the_rate_of_a_schedule_differentiates():
    """Of init_value decay^(count / steps) with respect to decay."""
    slope = fg.grad(lambda decay: optim.exponential_decay(1.0, 4, decay)(6))
    assert optim.exponential_decay(1.0, 4, 0.5)(6) == 0.5**1.5
    with pytest.raises(Exception, match="decay_rate"):
        optim.exponential_decay(1.0, 4, 0.0)
    assert slope(0.5) == pytest.approx(1.5 * 0.5**0.5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.linear_schedule(0, 1, 0), "polynomial_schedule: transition_steps must be positive, not 0"),
        (lambda: optim.exponential_decay(1, -1, 0.5), "exponential_decay: transition_steps must be positive, not -1"),
        (lambda: optim.cosine_decay_schedule(1, 0), "cosine_decay_schedule: decay_steps must be positive"),
        (lambda: optim.linear_onecycle_schedule(0, 1), "linear_onecycle_schedule: transition_steps must be positive"),
        (lambda: optim.cosine_onecycle_schedule(0, 1), "cosine_onecycle_schedule: transition_steps must be positive"),
        (lambda: optim.warmup_cosine_decay_schedule(0, 1, 5, 5), "decay_steps=5 counts the warm-up too"),
        (lambda: optim.piecewise_constant_schedule(1.0, {3: -1.0}), "the factor at 3 is -1.0"),
        (lambda: optim.piecewise_interpolate_schedule("cubic", 1.0), "'linear' or 'cosine', not 'cubic'"),
        (lambda: optim.join_schedules([abs, abs], []), "2 schedules have 1 boundaries between them, but 0 were given"),
    ],
)
def test_messages(make, message):
    with pytest.raises(ValueError, match=message):
        make()
