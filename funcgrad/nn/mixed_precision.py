"""Training in half precision: which dtype is stored, computed in and returned, and losses scaled so that gradients survive.

A :class:`Policy` names three dtypes and casts trees to them. float16 ends at 6e-8: gradients below it are lost. Hence the
loss is multiplied by a scale before it is differentiated, and the gradients are divided by it, in float32
(Micikevicius et al., arXiv:1710.03740, section 3.2). :class:`DynamicLossScale` finds the scale: it grows while gradients
are finite, and shrinks when they are not, a step that is not taken. Scales are pytrees, and nothing here changes in place:

>>> import numpy as np
>>> import funcgrad as fg
>>> policy, scale = Policy.parse("params=float32,compute=float16,output=float32"), DynamicLossScale.init(2.0**10)
>>> def loss(w, x):
...     w, x = policy.cast_to_compute((w, x))
...     return fnp.mean(policy.cast_to_output(w * x) ** 2)
>>> @fg.jit
... def step(w, scale, x):
...     grad = scale.unscale(fg.grad(lambda w: scale.scale(loss(w, x)))(w))
...     finite = all_finite(grad)
...     return select(finite, w - np.float32(0.5) * grad, w), scale.adjust(finite)
>>> step(np.float32(1.0), scale, np.ones(2, np.float32))
(np.float32(0.0), DynamicLossScale(value=np.float32(1024.0), good_steps=np.int32(1)))
>>> step(np.float32(1.0), scale, np.full(2, 300, np.float32))  # the gradients overflow
(np.float32(1.0), DynamicLossScale(value=np.float32(512.0), good_steps=np.int32(0)))
"""

from __future__ import annotations

import dataclasses
import math
from functools import reduce
from typing import Any

import numpy as np

import funcgrad.numpy as fnp
from funcgrad import tree
from funcgrad.core.errors import OperandError, OperandTypeError
from funcgrad.core.types import aval_of, is_inexact

from ._arrays import dtype_of, wide
from ._module import static

__all__ = ["DynamicLossScale", "Policy", "StaticLossScale", "all_finite", "select"]


@dataclasses.dataclass(frozen=True)
class Policy:
    """Three dtypes: of the parameters, of the computation, and of what is returned; each float16, float32 or float64.

    Raises OperandTypeError for other dtypes; bfloat16 is one, which the functions of ``nn`` do not compute with yet.

    >>> Policy(compute="float16").cast_to_compute({"w": fnp.ones(2), "label": 3})
    {'w': array([1., 1.], dtype=float16), 'label': 3}
    """

    param: Any = np.float32
    compute: Any = np.float32
    output: Any = np.float32

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            object.__setattr__(self, field.name, _real(field.name, getattr(self, field.name)))

    @classmethod
    def parse(cls, text: str) -> Policy:
        """The policy of a text: one dtype for all, or ``params=``, ``compute=`` and ``output=``, separated by commas.

        The parts that are not named are float32. Names may be shortened: f16, f32, f64. Raises OperandError for other parts.

        >>> Policy.parse("compute=f16")
        Policy(param=dtype('float32'), compute=dtype('float16'), output=dtype('float32'))
        """
        if "=" not in text:
            return cls(*[text.strip()] * 3)
        names = {"params": "param", "param": "param", "compute": "compute", "output": "output"}
        given: dict[str, str] = {}
        for part in text.split(","):
            name, _, dtype = (s.strip() for s in part.partition("="))
            if names.get(name, name) not in names.values() or names[name] in given:
                raise OperandError(
                    f"nn.mixed_precision.Policy.parse: {part.strip()!r} in {text!r}; write each of params=, compute= and "
                    f"output= at most once, as in 'params=float32,compute=float16,output=float32'"
                )
            given[names[name]] = dtype
        return cls(**given)

    def cast_to_param(self, values: Any) -> Any:
        """The tree with its real floating leaves in the dtype of the parameters; other leaves as they are."""
        return _cast(values, self.param)

    def cast_to_compute(self, values: Any) -> Any:
        """The tree with its real floating leaves in the dtype of the computation. Its transpose casts gradients back."""
        return _cast(values, self.compute)

    def cast_to_output(self, values: Any) -> Any:
        """The tree with its real floating leaves in the dtype of what is returned."""
        return _cast(values, self.output)


def _real(what: str, dtype: Any) -> np.dtype[Any]:
    short = {"f16": "float16", "f32": "float32", "f64": "float64"}
    try:
        found = np.dtype(short.get(dtype, dtype) if isinstance(dtype, str) else dtype)
    except TypeError:
        found = None
    if found is None or found.name not in short.values():
        raise OperandTypeError(
            f"nn.mixed_precision.Policy: {what} must be float16, float32 or float64, not {found.name if found else dtype}"
        )
    return found


def _cast(values: Any, dtype: Any) -> Any:
    def cast(x: Any) -> Any:
        found = dtype_of(x)
        return x if found.kind != "f" or found == dtype else fnp.asarray(x, dtype=dtype)

    return tree.map(cast, values)


@tree.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class StaticLossScale:
    """A factor that stays. ``StaticLossScale(1.0)`` is no scaling.

    >>> scale = StaticLossScale(np.float32(1024))
    >>> scale.scale(np.float16(2.0)), scale.unscale(np.float16(2.0))
    (np.float32(2048.0), np.float32(0.001953125))
    """

    value: Any

    def scale(self, loss: Any) -> Any:
        """The loss (or a tree of losses) times the factor; float16 becomes float32, for 65504 is soon passed."""
        return tree.map(lambda x: _times(x, self.value), loss)

    def unscale(self, grads: Any) -> Any:
        """The gradients over the factor; float16 becomes float32, for what was scaled up would be lost again."""
        return tree.map(lambda g: _times(g, 1 / fnp.asarray(self.value, dtype=fnp.float32)), grads)

    def adjust(self, grads_finite: Any) -> Any:
        """The scale of the next step, given whether this step's gradients were finite."""
        return self


@tree.register_dataclass
@dataclasses.dataclass(frozen=True, eq=False)
class DynamicLossScale(StaticLossScale):
    """A factor that grows ``growth``-fold after ``interval`` finite steps in a row, and shrinks by ``backoff`` at every other.

    The rule and the defaults are those of ``torch.amp.GradScaler``; a growth that would overflow float32 is left out.
    ``value`` is never less than ``minimum``. Make one with :meth:`init`.
    """

    good_steps: Any
    interval: int = static(default=2000, repr=False)
    growth: float = static(default=2.0, repr=False)
    backoff: float = static(default=0.5, repr=False)
    minimum: float = static(default=0.0, repr=False)

    @classmethod
    def init(
        cls,
        value: float = 2.0**16,
        interval: int = 2000,
        growth: float = 2.0,
        backoff: float = 0.5,
        minimum: float = 0.0,
    ) -> DynamicLossScale:
        """The state before the first step. Raises OperandError for a number out of its range.

        >>> scale = DynamicLossScale.init(8.0, interval=2)
        >>> for finite in (True, True, True, False):
        ...     scale = scale.adjust(finite)
        ...     print(scale.value, scale.good_steps)
        8.0 1
        16.0 0
        16.0 1
        8.0 0
        """
        for what, number, ok, range_ in (
            ("value", value, 0 < value < math.inf, "positive and finite"),
            ("interval", interval, interval >= 1, "at least 1"),
            ("growth", growth, 1 < growth < math.inf, "above 1 and finite"),
            ("backoff", backoff, 0 < backoff < 1, "between 0 and 1"),
            ("minimum", minimum, 0 <= minimum <= value, "between 0 and value"),
        ):
            if not ok:
                raise OperandError(f"nn.mixed_precision.DynamicLossScale: {what} must be {range_}, not {number}")
        return cls(
            fnp.asarray(value, dtype=fnp.float32), fnp.asarray(0, dtype=fnp.int32), interval, growth, backoff, minimum
        )

    def adjust(self, grads_finite: Any) -> DynamicLossScale:
        """The scale of the next step, given whether this step's gradients were finite."""
        value = fnp.asarray(self.value, dtype=fnp.float32)
        steps = self.good_steps + np.int32(1)
        full = steps == self.interval
        # The factor is chosen, not the product, which would overflow.
        grows = full & (value <= np.finfo(np.float32).max / self.growth)
        grown = value * fnp.where(grows, np.float32(self.growth), np.float32(1))
        shrunk = fnp.maximum(value * np.float32(self.backoff), np.float32(self.minimum))
        return dataclasses.replace(
            self,
            value=fnp.where(grads_finite, grown, shrunk),
            good_steps=fnp.where(grads_finite & ~full, steps, np.int32(0)),
        )


def _times(x: Any, factor: Any) -> Any:
    if not is_inexact(aval_of(x).dtype):
        return x
    x = wide(x)
    return x * fnp.asarray(factor, dtype=dtype_of(x))


def all_finite(values: Any) -> Any:
    """Whether no element of a leaf of the tree is infinite or NaN; integers are finite.

    >>> all_finite({"w": np.ones(2), "b": np.array([1.0, np.inf])})
    np.False_
    """
    return reduce(fnp.logical_and, (fnp.all(fnp.isfinite(x)) for x in tree.leaves(values)), np.True_)


def select(condition: Any, first: Any, second: Any) -> Any:
    """The first tree where the condition (one boolean) holds, else the second: ``select(finite, new, old)``.

    Trees are model, optimizer state, whatever a skipped step leaves alone. Raises TreeError if they differ.

    >>> select(np.False_, {"w": np.nan}, {"w": 1.0})
    {'w': array(1.)}
    """
    return tree.map(lambda a, b: fnp.where(condition, a, b), first, second)
