"""Every row of the op table against the laws of values: equal to its reference in value, dtype and shape, eager and
compiled; of the type that is derived without running it; and mapped, the loop over rows."""

from __future__ import annotations

import itertools
import threading
from typing import Any

import numpy as np
import pytest
from ops import ELEMENTWISE_SHAPES, EXCEPTIONS, PRIMITIVES, SURFACE, TABLE, Op, special_arguments

import funcgrad as fg
from funcgrad import primitives
from funcgrad.core.config import config
from funcgrad.core.trace import Primitive

rows = pytest.mark.parametrize("op", TABLE, ids=str)
_ROWS = 3


def leaves(result: Any) -> list[np.ndarray]:
    """The arrays of a result: one, or a tuple or list of them."""
    found = list(result) if isinstance(result, (tuple, list)) else [result]
    for x in found:
        assert isinstance(x, (np.ndarray, np.generic)), type(x)
    return [np.asarray(x) for x in found]


def quietly(f: Any, *args: Any) -> list[np.ndarray]:
    with np.errstate(all="ignore"):
        return leaves(f(*args))


def assert_same(got: Any, want: Any, ulps: float, signs: bool = False) -> None:
    """Equal shape and dtype; integers equal, inexact numbers within ``ulps`` roundings of the largest element."""
    assert len(got) == len(want)
    for x, y in zip(got, want, strict=True):
        x, y = np.asarray(x), np.asarray(y)
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        if x.dtype.kind not in "fc":
            np.testing.assert_array_equal(x, y)
            continue
        eps = ulps * float(np.finfo(x.dtype).eps)
        size = 0.0 if signs else float(np.max(np.abs(y), initial=0.0, where=np.isfinite(y)))
        small = float(np.finfo(x.dtype).smallest_subnormal)
        np.testing.assert_allclose(x, y, rtol=eps, atol=max(eps * size, 4 * small if x.dtype != np.float16 else small))
        if signs:
            x, y = (z.view(z.real.dtype) for z in (x, y))
            zero = (x == 0) & (y == 0)
            np.testing.assert_array_equal(np.signbit(x[zero]), np.signbit(y[zero]))


def test_the_table_covers_every_first_order_primitive() -> None:
    every = {x.name for x in vars(primitives).values() if isinstance(x, Primitive)}
    covered = {op.primitive for op in PRIMITIVES}
    assert covered | set(EXCEPTIONS) == every
    assert not covered & set(EXCEPTIONS)


def test_rows_have_names_of_their_own() -> None:
    assert len({op.name for op in TABLE}) == len(TABLE)


def test_the_ir_is_checked_in_all_tests_and_threads() -> None:
    found: list[bool] = [config.check_ir]
    thread = threading.Thread(target=lambda: found.append(config.check_ir))
    thread.start()
    thread.join()
    assert found == [True, True]


@rows
def test_value_and_type_equal_the_reference(op: Op) -> None:
    compiled = fg.jit(op.function)
    for dtype, shape in itertools.product(op.dtypes, op.shapes):
        args = op.sample(dtype, shape)
        kept = [x.copy() for x in args]
        want = [np.asarray(y) for y in quietly(op.reference, *args)]
        eager = quietly(op.function, *args)
        assert_same(eager, want, op.ulps)
        assert_same(quietly(compiled, *args), want, op.ulps)
        static = fg.eval_shape(op.function, *args)
        static = static if isinstance(static, (tuple, list)) else [static]
        assert [(s.shape, s.dtype) for s in static] == [(y.shape, y.dtype) for y in eager]
        for x, before in zip(args, kept, strict=True):
            np.testing.assert_array_equal(x, before, err_msg="an argument was changed")


@rows
def test_compiled_equals_eager(op: Op) -> None:
    # Another sample than that of the test above, and rank-0 operands next to arrays where the row is elementwise.
    dtype = op.dtypes[-1]
    args = op.sample(dtype, seed=1)
    assert_same(quietly(fg.jit(op.function), *args), quietly(op.function, *args), 8)
    if op.shapes == ELEMENTWISE_SHAPES and len(args) > 1:
        for i in range(len(args)):
            mixed = [np.asarray(x).ravel()[0] if i == k else x for k, x in enumerate(args)]
            want = quietly(op.reference, *[np.broadcast_to(x, (2, 3)) for x in mixed])
            assert_same(quietly(op.function, *mixed), want, op.ulps)
            assert_same(quietly(fg.jit(op.function), *mixed), want, op.ulps)


@rows
def test_results_do_not_alias_arguments(op: Op) -> None:
    args = op.sample(op.dtypes[-1])
    for y in quietly(fg.jit(op.function), *args):
        assert y.size == 0 or y.ndim == 0 or (y.flags.writeable and not any(np.shares_memory(y, x) for x in args))


@rows
def test_vmap_equals_the_stacked_loop(op: Op) -> None:
    count = len(op.args)
    every = [tuple(i == k for k in range(count)) for i in range(count)] + [(True,) * count]
    for dtype in {op.dtypes[-1], "float64" if "float64" in op.dtypes else op.dtypes[0]}:
        samples = [op.sample(dtype, seed=10 + i) for i in range(_ROWS)]
        for mapped in dict.fromkeys(every):
            if op.name.startswith("np.index") and not mapped[0]:
                continue  # a plain array asks a traced index for its value: fnp.take is the function for that
            args = [np.stack([s[k] for s in samples]) if m else samples[0][k] for k, m in enumerate(mapped)]
            axes = tuple(0 if m else None for m in mapped)
            loop = [
                quietly(op.function, *[x[i] if m else x for x, m in zip(args, mapped, strict=True)])
                for i in range(_ROWS)
            ]
            want = [np.stack(column) for column in zip(*loop, strict=True)]
            batched = fg.vmap(op.function, in_axes=axes)
            assert_same(quietly(batched, *args), want, op.ulps)
            if all(mapped):
                assert_same(quietly(fg.jit(batched), *args), want, op.ulps)


@pytest.mark.parametrize("op", [op for op in TABLE if op.shapes == ELEMENTWISE_SHAPES], ids=str)
def test_vmap_of_rank_0_operands_and_no_rows(op: Op) -> None:
    dtype = op.dtypes[-1]
    scalars = [op.sample(dtype, (), seed=i) for i in range(_ROWS)]
    vector = op.sample(dtype, (4,))
    for k in range(len(op.args)):
        # One operand is a scalar a row, the others are arrays that all rows share.
        args = [np.stack([s[k] for s in scalars]) if i == k else x for i, x in enumerate(vector)]
        if len(args) > 1:
            want = [
                op.reference(*[np.broadcast_to(x[j] if i == k else x, (4,)) for i, x in enumerate(args)])
                for j in range(_ROWS)
            ]
        else:
            want = [op.reference(args[0][j]) for j in range(_ROWS)]
        axes = tuple(0 if i == k else None for i in range(len(args)))
        assert_same(quietly(fg.vmap(op.function, in_axes=axes), *args), [np.stack(want)], op.ulps)
    none = [np.zeros((0, 4), x.dtype) for x in vector]
    (y,) = quietly(fg.vmap(op.function), *none)
    assert y.shape == (0, 4)


#: Where the sign of a zero is not compared, and why.
UNSIGNED_ZEROS = {
    "max": "max(0, -0) may be either",
    "min": "min(0, -0) may be either",
    "fmod": "the reference, sign(x) (|x| mod |y|), loses the sign of -0",
}


@pytest.mark.parametrize("op", [op for op in PRIMITIVES if op.special], ids=str)
def test_special_values(op: Op) -> None:
    for dtype in op.dtypes:
        kind = np.dtype(dtype).kind
        if kind == "c" or (np.dtype(dtype).itemsize == 2 and len(op.args) > 1):
            continue
        args = special_arguments(op, dtype)
        if kind in "iu":
            bits = 8 * np.dtype(dtype).itemsize
            if op.primitive in ("floor_divide", "remainder", "fmod"):
                args = [x[args[1] != 0] for x in args]
            elif op.primitive == "pow":
                args = [x[(args[1] >= 0) & (args[1] <= 3)] for x in args]
            elif op.primitive in ("shift_left", "shift_right"):
                args = [x[(args[1] >= 0) & (args[1] < bits)] for x in args]
        want = quietly(op.reference, *args)
        signs = kind == "f" and op.primitive not in UNSIGNED_ZEROS
        assert_same(quietly(op.function, *args), want, op.ulps, signs)
        assert_same(quietly(fg.jit(op.function), *args), want, op.ulps, signs)


def test_there_are_no_complex_numbers_of_half_precision() -> None:
    half = np.ones(2, np.float16)
    with pytest.raises(TypeError, match="no complex numbers of dtype float16"):
        fg.eval_shape(primitives.complex_, half, half)


def test_erf_and_logistic_equal_scipys() -> None:
    special = pytest.importorskip("scipy.special", reason="SciPy is the oracle of erf and expit")
    x = np.concatenate([np.linspace(-7, 7, 501), [0.0, -0.0, 1e-300, 40.0, -745.0, np.inf, -np.inf, np.nan]])
    np.testing.assert_allclose(primitives.erf(x), special.erf(x), rtol=4e-16)
    np.testing.assert_allclose(fg.jit(primitives.logistic)(x), special.expit(x), rtol=1e-15, atol=1e-323)
    assert np.signbit(primitives.erf(np.float64(-0.0)))


def test_convolution_equals_scipys() -> None:
    signal = pytest.importorskip("scipy.signal", reason="SciPy is the oracle of convolution")
    rng = np.random.default_rng(0)
    x, w = rng.standard_normal((1, 1, 9, 8)), rng.standard_normal((1, 1, 3, 4))
    got = fg.lax.conv_general_dilated(x, w, (1, 1), "VALID")[0, 0]
    np.testing.assert_allclose(got, signal.correlate(x[0, 0], w[0, 0], "valid"), rtol=1e-12)
    flipped = fg.lax.conv_general_dilated(x, w[..., ::-1, ::-1], (1, 1), [(2, 2), (3, 3)])[0, 0]
    np.testing.assert_allclose(flipped, signal.convolve(x[0, 0], w[0, 0], "full"), rtol=1e-12)


#: Not of float64, or with arguments that reach NumPy inside a list or as a shape.
_UNSEEN = ("meshgrid", "linspace", "block", "interp")
PROTOCOL = [op for op in SURFACE if "float64" in op.dtypes and not any(n in op.name for n in _UNSEEN)]


@pytest.mark.parametrize("op", PROTOCOL, ids=str)
def test_numpys_own_function_takes_traced_values(op: Op) -> None:
    """``np.f`` on a traced value is ``fnp.f``: NumPy hands over through its protocols."""
    args = op.sample()
    assert_same(quietly(fg.jit(op.reference), *args), quietly(op.reference, *args), op.ulps)
