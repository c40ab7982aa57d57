"""The LLVM back end: the op table, derivatives and control flow as native code against NumPy's values."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from ops import PRIMITIVES, TABLE, Op, special_arguments
from test_ops import UNSIGNED_ZEROS, assert_same, quietly

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad.testing import check_backend

pytest.importorskip("llvmlite", reason="the LLVM back end needs llvmlite")
pytest.importorskip("scipy_openblas32", reason="the LLVM back end needs an OpenBLAS")


def native(f: Any) -> Any:
    """f, compiled by the LLVM back end."""
    compiled = fg.jit(f)

    def call(*args: Any, **kwargs: Any) -> Any:
        with fg.use_backend("llvm"):
            return compiled(*args, **kwargs)

    return call


def program_of(f: Any, *args: Any) -> Any:
    """The compiled program of f for these arguments."""
    with fg.use_backend("llvm") as backend:
        return backend.compile(fg.make_jaxpr(f)(*args))


def test_it_conforms():
    check_backend("llvm")


@pytest.mark.parametrize("op", TABLE, ids=str)
def test_the_op_table(op: Op) -> None:
    compiled = native(op.function)
    for dtype, shape in itertools.product(op.dtypes, op.shapes):
        args = op.sample(dtype, shape)
        kept = [x.copy() for x in args]
        assert_same(quietly(compiled, *args), quietly(op.function, *args), op.ulps)
        for x, before in zip(args, kept, strict=True):
            np.testing.assert_array_equal(x, before, err_msg="an argument was changed")


@pytest.mark.parametrize("op", [op for op in PRIMITIVES if op.special], ids=str)
def test_special_values(op: Op) -> None:
    for dtype in op.dtypes:
        kind = np.dtype(dtype).kind
        if kind == "c" or (np.dtype(dtype).itemsize == 2 and len(op.args) > 1):
            continue
        args = special_arguments(op, dtype)
        if kind in "iu" and op.primitive == "pow":
            args = [x[(args[1] >= 0) & (args[1] <= 3)] for x in args]
        signs = kind == "f" and op.primitive not in UNSIGNED_ZEROS
        assert_same(quietly(native(op.function), *args), quietly(op.function, *args), op.ulps, signs)
