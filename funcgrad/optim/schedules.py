"""Schedules: functions from the number of updates made so far to a learning rate, or to another hyper-parameter.

A schedule is any function of an integer, which is traced under ``jit``; these are the usual ones, with Optax's names and
arguments. They are ordinary functions: combine them with arithmetic, ``vmap`` them over counts to draw them.

>>> import numpy as np
>>> import funcgrad as fg
>>> fg.vmap(warmup_cosine_decay_schedule(0.0, 1.0, warmup_steps=2, decay_steps=6))(np.arange(7)).round(3)
array([0.   , 0.5  , 1.   , 0.854, 0.5  , 0.146, 0.   ])
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import accumulate
from typing import Any

import funcgrad.numpy as fnp

__all__ = [
    "Schedule",
    "constant_schedule",
    "cosine_decay_schedule",
    "cosine_onecycle_schedule",
    "exponential_decay",
    "join_schedules",
    "linear_onecycle_schedule",
    "linear_schedule",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "polynomial_schedule",
    "sgdr_schedule",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
]

Schedule = Callable[[Any], Any]


def constant_schedule(value: float) -> Schedule:
    """``value``, always.

    >>> constant_schedule(0.1)(7)
    0.1
    """
    return lambda count: value


def polynomial_schedule(
    init_value: float, end_value: float, power: float, transition_steps: int, transition_begin: int = 0
) -> Schedule:
    """From ``init_value`` to ``end_value`` along ``end + (init - end) (1 - x)^power``.

    ``x`` goes from 0 at ``transition_begin`` to 1 after ``transition_steps`` more.

    >>> float(polynomial_schedule(1.0, 0.0, power=2, transition_steps=10)(5))
    0.25
    """
    _check_positive("polynomial_schedule", transition_steps=transition_steps)

    def schedule(count: Any) -> Any:
        done = fnp.clip(_real(count) - transition_begin, 0.0, float(transition_steps)) / transition_steps
        return end_value + (init_value - end_value) * (1 - done) ** power

    return schedule


def linear_schedule(init_value: float, end_value: float, transition_steps: int, transition_begin: int = 0) -> Schedule:
    """From ``init_value`` to ``end_value`` in ``transition_steps`` equal steps; upwards it is a warm-up.

    >>> float(linear_schedule(0.0, 1.0, transition_steps=4)(1))
    0.25
    """
    return polynomial_schedule(init_value, end_value, 1, transition_steps, transition_begin)


def piecewise_constant_schedule(
    init_value: float, boundaries_and_scales: Mapping[int, float] | None = None
) -> Schedule:
    """``init_value``, multiplied by a factor at each boundary: steps.

    >>> steps = piecewise_constant_schedule(1.0, {3: 0.5, 6: 0.1})
    >>> [float(steps(count)) for count in (0, 2, 3, 6)]
    [1.0, 1.0, 0.5, 0.05]
    """
    boundaries, values = _pieces("piecewise_constant_schedule", init_value, boundaries_and_scales)

    def schedule(count: Any) -> Any:
        return _choose(count, boundaries, [fnp.asarray(value, dtype=fnp.float64) for value in values])

    return schedule


def piecewise_interpolate_schedule(
    interpolate_type: str, init_value: float, boundaries_and_scales: Mapping[int, float] | None = None
) -> Schedule:
    """As ``piecewise_constant_schedule``, but moving from one value to the next, ``"linear"`` or ``"cosine"``.

    >>> ramp = piecewise_interpolate_schedule("linear", 1.0, {4: 3.0, 8: 0.0})
    >>> [float(ramp(count)) for count in (0, 2, 4, 6, 9)]
    [1.0, 2.0, 3.0, 1.5, 0.0]
    """
    if interpolate_type not in ("linear", "cosine"):
        raise ValueError(f"piecewise_interpolate_schedule interpolates 'linear' or 'cosine', not {interpolate_type!r}")
    boundaries, values = _pieces("piecewise_interpolate_schedule", init_value, boundaries_and_scales)
    starts = [0, *boundaries]

    def schedule(count: Any) -> Any:
        pieces = []
        for start, end, first, last in zip(starts, boundaries, values, values[1:]):
            done = (_real(count) - start) / max(end - start, 1)
            if interpolate_type == "cosine":
                done = (1 - fnp.cos(fnp.pi * done)) / 2
            pieces.append(first + (last - first) * done)
        return _choose(count, boundaries, [*pieces, fnp.asarray(values[-1], dtype=fnp.float64)])

    return schedule


def exponential_decay(
    init_value: float,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> Schedule:
    """``init_value decay_rate^((count - transition_begin) / transition_steps)``; a step schedule with ``staircase``.

    Args:
        staircase: take the whole part of the exponent: the value is multiplied every ``transition_steps`` updates.
        end_value: the value is never beyond this one.

    >>> [float(exponential_decay(1.0, 10, 0.5, staircase=True)(count)) for count in (0, 9, 10, 25)]
    [1.0, 1.0, 0.5, 0.25]
    """
    _check_positive("exponential_decay", transition_steps=transition_steps, decay_rate=decay_rate)

    def schedule(count: Any) -> Any:
        exponent = fnp.maximum(_real(count) - transition_begin, 0.0) / transition_steps
        value = init_value * decay_rate ** (fnp.floor(exponent) if staircase else exponent)
        if end_value is not None:
            value = (fnp.maximum if decay_rate < 1 else fnp.minimum)(value, float(end_value))
        return value

    return schedule


def cosine_decay_schedule(init_value: float, decay_steps: int, alpha: float = 0.0, exponent: float = 1.0) -> Schedule:
    """From ``init_value`` to ``alpha init_value`` along half a cosine, in ``decay_steps`` updates.

    The cosine, between 1 and 0, is raised to ``exponent``.

    Source: I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, equation 5.

    >>> float(cosine_decay_schedule(1.0, 10)(5).round(12))
    0.5
    """
    _check_positive("cosine_decay_schedule", decay_steps=decay_steps)

    def schedule(count: Any) -> Any:
        done = fnp.minimum(_real(count), float(decay_steps)) / decay_steps
        cosine = (1 + fnp.cos(fnp.pi * done)) / 2
        return init_value * ((1 - alpha) * cosine**exponent + alpha)

    return schedule


def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Schedule:
    """One schedule after another: the next begins at each boundary, and counts from there.

    >>> joined = join_schedules([linear_schedule(0.0, 1.0, 2), exponential_decay(1.0, 1, 0.5)], [2])
    >>> [float(joined(count)) for count in range(5)]
    [0.0, 0.5, 1.0, 0.5, 0.25]
    """
    if len(boundaries) != len(schedules) - 1:
        raise ValueError(
            f"join_schedules: {len(schedules)} schedules have {len(schedules) - 1} boundaries between them, "
            f"but {len(boundaries)} were given"
        )

    def schedule(count: Any) -> Any:
        return _choose(count, boundaries, [s(count - start) for s, start in zip(schedules, [0, *boundaries])])

    return schedule


def warmup_constant_schedule(init_value: float, peak_value: float, warmup_steps: int) -> Schedule:
    """Linear warm-up from ``init_value`` to ``peak_value``, which then stays.

    >>> float(warmup_constant_schedule(0.0, 1.0, 10)(100))
    1.0
    """
    return linear_schedule(init_value, peak_value, warmup_steps)


def warmup_cosine_decay_schedule(
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    decay_steps: int,
    end_value: float = 0.0,
    exponent: float = 1.0,
) -> Schedule:
    """Linear warm-up to ``peak_value``, then ``cosine_decay_schedule`` to ``end_value``.

    ``decay_steps`` counts all updates, the warm-up's too. With ``warmup_steps=0`` it starts at the peak.

    >>> float(warmup_cosine_decay_schedule(0.0, 1.0, 10, 110, end_value=0.1)(110).round(12))
    0.1
    """
    if warmup_steps >= decay_steps:
        raise ValueError(
            f"warmup_cosine_decay_schedule: decay_steps={decay_steps} counts the warm-up too, so it must be more than "
            f"warmup_steps={warmup_steps}"
        )
    alpha = end_value / peak_value if peak_value else 0.0
    decay = cosine_decay_schedule(peak_value, decay_steps - warmup_steps, alpha, exponent)
    return _after_warmup(init_value, peak_value, warmup_steps, decay)


def warmup_exponential_decay_schedule(
    init_value: float,
    peak_value: float,
    warmup_steps: int,
    transition_steps: int,
    decay_rate: float,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: float | None = None,
) -> Schedule:
    """Linear warm-up to ``peak_value``, then ``exponential_decay``, whose arguments count from the end of the warm-up.

    >>> float(warmup_exponential_decay_schedule(0.0, 1.0, 10, 5, 0.5)(15))
    0.5
    """
    decay = exponential_decay(peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value)
    return _after_warmup(init_value, peak_value, warmup_steps, decay)


def linear_onecycle_schedule(
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    pct_final: float = 0.85,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """Up to the peak and down again in straight lines, then to almost nothing.

    From ``peak_value / div_factor`` to the peak at ``pct_start`` of ``transition_steps``, back at ``pct_final``, and at
    the end to that divided by ``final_div_factor``.

    Source: L. N. Smith and N. Topin, "Super-Convergence: Very Fast Training of Neural Networks Using Large Learning
    Rates", 2018, section 3.

    >>> float(linear_onecycle_schedule(100, 1.0)(30))
    1.0
    """
    _check_positive("linear_onecycle_schedule", transition_steps=transition_steps)
    scales = {
        int(pct_start * transition_steps): div_factor,
        int(pct_final * transition_steps): 1 / div_factor,
        transition_steps: 1 / final_div_factor,
    }
    return piecewise_interpolate_schedule("linear", peak_value / div_factor, scales)


def cosine_onecycle_schedule(
    transition_steps: int,
    peak_value: float,
    pct_start: float = 0.3,
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
) -> Schedule:
    """Up to the peak along half a cosine, and down along another, to ``1 / (div_factor final_div_factor)``
    of the peak.

    From ``peak_value / div_factor`` to the peak at ``pct_start`` of ``transition_steps``.

    Source: as ``linear_onecycle_schedule``; with cosines, fast.ai's and PyTorch's form.

    >>> float(cosine_onecycle_schedule(100, 1.0)(30))
    1.0
    """
    _check_positive("cosine_onecycle_schedule", transition_steps=transition_steps)
    scales = {int(pct_start * transition_steps): div_factor, transition_steps: 1 / (div_factor * final_div_factor)}
    return piecewise_interpolate_schedule("cosine", peak_value / div_factor, scales)


def sgdr_schedule(cosine_kwargs: Iterable[Mapping[str, Any]]) -> Schedule:
    """Cosine decay with warm restarts: one ``warmup_cosine_decay_schedule`` after another, one for each of these dicts
    of its arguments.

    Source: I. Loshchilov and F. Hutter, "SGDR: Stochastic Gradient Descent with Warm Restarts", ICLR 2017, section 3.

    >>> cycle = {"init_value": 1.0, "peak_value": 1.0, "warmup_steps": 0, "decay_steps": 10}
    >>> restarts = sgdr_schedule([cycle, cycle | {"decay_steps": 20}])
    >>> [float(restarts(count).round(2)) for count in (0, 9, 10, 20)]
    [1.0, 0.02, 1.0, 0.5]
    """
    cycles = list(cosine_kwargs)
    ends = list(accumulate(cycle["decay_steps"] for cycle in cycles))
    return join_schedules([warmup_cosine_decay_schedule(**cycle) for cycle in cycles], ends[:-1])


# The parts ------------------------------------------------------------------------------------------------------------


def _real(count: Any) -> Any:
    return fnp.asarray(count, dtype=fnp.float64)


def _choose(count: Any, boundaries: Sequence[int], values: Sequence[Any]) -> Any:
    """The value of the interval that ``count`` is in."""
    chosen = values[0]
    for boundary, value in zip(boundaries, values[1:]):
        chosen = fnp.where(count < boundary, chosen, value)
    return chosen


def _after_warmup(init_value: float, peak_value: float, warmup_steps: int, decay: Schedule) -> Schedule:
    if warmup_steps == 0:
        return decay
    return join_schedules([linear_schedule(init_value, peak_value, warmup_steps), decay], [warmup_steps])


def _pieces(name: str, init_value: float, scales: Mapping[int, float] | None) -> tuple[list[int], list[float]]:
    """The boundaries in order, and the value before, between and after them."""
    ordered = sorted((scales or {}).items())
    for boundary, factor in ordered:
        if factor < 0:
            raise ValueError(
                f"{name}: the factor at {boundary} is {factor}; a hyper-parameter does not change its sign"
            )
    return [boundary for boundary, _ in ordered], list(
        accumulate((f for _, f in ordered), lambda v, f: v * f, initial=init_value)
    )


def _check_positive(schedule: str, **values: float) -> None:
    for name, value in values.items():
        if not value > 0:
            raise ValueError(f"{schedule}: {name} must be positive, not {value}")
