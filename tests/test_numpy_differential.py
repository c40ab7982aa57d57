"""Every function of ``funcgrad.numpy`` against NumPy's, on drawn operands: value, dtype, shape and the kind of error.

The table gives each function an expression. In it ``m`` is the module; small letters are operands (arrays of drawn dtypes and
shapes, empty ones and those of rank 0 among them, and Python scalars), which are traced; capitals are drawn static
arguments. An expression is evaluated with NumPy, and with this library eagerly, by ``jit`` and by ``vmap``.
"""

import os
import re
import warnings

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy_oracle import ALL, FLOATS, assert_same, flat

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.errors import ConcretizationError
from funcgrad.numpy._ufunc import Ufunc

EXAMPLES = int(os.environ.get("FUNCGRAD_EXAMPLES", "5"))

# Operands -------------------------------------------------------------------------------------------------------------

SPECIAL = [0.0, -0.0, 0.5, 1.0, -1.0, 2.0, -2.5, 3.0, np.inf, -np.inf, np.nan]


def elements(dtype, special=True):
    kind = np.dtype(dtype).kind
    if kind == "b":
        return st.booleans()
    if kind in "iu":
        return st.integers(-3 if kind == "i" else 0, 4)
    numbers = st.sampled_from(SPECIAL if special and kind == "f" else SPECIAL[:8])
    return numbers if kind == "f" else st.builds(complex, numbers, numbers)


def arrays(dtypes=ALL, shape=None, special=True, **dims):
    shapes = hnp.array_shapes(**({"min_dims": 0, "max_dims": 3, "min_side": 0, "max_side": 3} | dims))
    return st.sampled_from(dtypes).flatmap(
        lambda d: hnp.arrays(d, shapes if shape is None else shape, elements=elements(d, special))
    )


REAL = [d for d in ALL if not d.startswith("complex")]
WIDE = ["float32", "float64"]

#: By the letter: what is drawn, given the operands drawn before it.
OPERANDS = {
    "a": lambda o: arrays(),
    "b": lambda o: arrays(shape=hnp.broadcastable_shapes(o["a"].shape, max_dims=3, max_side=3)),
    "c": lambda o: arrays(shape=o["a"].shape),
    "r": lambda o: arrays(REAL),
    "d": lambda o: arrays(REAL[1:], special=False, min_side=1),
    "e": lambda o: arrays(min_side=1),
    "f": lambda o: arrays(FLOATS),
    "g": lambda o: arrays(WIDE, special=False, min_side=1, min_dims=1),
    "h": lambda o: arrays(WIDE, special=False, min_dims=1, max_dims=1, min_side=2, max_side=5),
    "i": lambda o: arrays(["int64", "int8", "uint8"], shape=hnp.array_shapes(min_dims=0, max_dims=2, max_side=3)),
    "j": lambda o: arrays(["bool", "int32", "uint8"]),
    "k": lambda o: arrays(["bool", "float64", "int32"], shape=o["a"].shape),
    "n": lambda o: arrays([d for d in ALL if d != "float16"], min_dims=0, max_dims=3),
    "s": lambda o: arrays(WIDE, shape=st.sampled_from([(2, 2), (3, 3), (2, 2, 2), (1, 1)]), special=False),
    "t": lambda o: arrays(min_dims=2, max_dims=3),
    "u": lambda o: arrays(special=False, min_dims=1, max_dims=1, max_side=4),
    "v": lambda o: arrays(special=False, min_dims=1, max_dims=1, max_side=4),
    "w": lambda o: arrays(WIDE, shape=(3,), special=False),
    "y": lambda o: arrays(["int64", "int32", "uint8"], shape=(4,)),
    "z": lambda o: st.sampled_from([2, 0.5, 3.0, 1j]),
}
AXIS = st.integers(-3, 2)
#: By the capital: static arguments.
STATIC = {
    # Where a traced Python integer does not fit the dtype beside it a program cannot see.
    "Z": st.sampled_from([-1, 300, -0.5, 0]),
    "AXIS": AXIS,
    "AXES1": st.one_of(st.none(), AXIS, st.just((0, 1))),
    "AXIS2": AXIS,
    "AXES": st.one_of(st.none(), AXIS, st.lists(AXIS, min_size=0, max_size=2).map(tuple)),
    "AXIS_": st.one_of(st.none(), AXIS),
    "FLAG": st.booleans(),
    "FLAG2": st.booleans(),
    "K": st.integers(-2, 2),
    "KIND": st.sampled_from([None, "quicksort", "stable", "mergesort", "s", "bogus"]),
    "N": st.integers(0, 4),
    "M": st.integers(1, 3),
    "SHAPE": hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3),
    "DTYPE": st.sampled_from([np.dtype(d) for d in ALL]),
    "WIDE": st.sampled_from([np.dtype(d) for d in WIDE]),
    "Q": st.sampled_from([0.0, 0.3, 0.5, 1.0, [0.25, 0.75], [[0.1], [0.9]]]),
    "SPLIT": st.sampled_from([1, 2, 3, [1], [0, 2], [2, 1], [-1]]),
    "WHERE": st.sampled_from([0, -1, 1, [0, 1], [1, 1], slice(0, 2), 5]),
    "MODE": st.sampled_from(["full", "same", "valid"]),
    "PAD": st.sampled_from([0, 1, (1, 2), ((0, 2),)]),
    "PADDING": st.sampled_from(["constant", "edge", "reflect", "symmetric", "wrap", "linear_ramp", "maximum", "mean"]),
    "SIDE": st.sampled_from(["left", "right"]),
    "CLIP": st.sampled_from(["raise", "wrap", "clip"]),
    "METHOD": st.sampled_from(["linear", "lower", "higher", "midpoint", "nearest"]),
}

# Expressions ----------------------------------------------------------------------------------------------------------

TABLE = {}


def rows(expression, *names):
    """The same expression for several functions; ``NAME`` stands for the function."""
    for name in names:
        TABLE.setdefault(name, []).append(expression.replace("NAME", f"m.{name}"))


UFUNCS = [name for name in fnp.__all__ if isinstance(getattr(fnp, name), Ufunc)]
for name in UFUNCS:
    if getattr(fnp, name).nin == 1:
        # Of the integer 0 there is no reciprocal, and NumPy's is whatever the processor gives.
        rows("NAME(a + (a == 0))" if name == "reciprocal" else "NAME(a)", name)
        rows("NAME(z)", name)
    else:
        rows("NAME(a, b)", name)
        # Roots of minus infinity are NaN or infinity, by the loop that NumPy takes.
        rows("NAME(abs(a), z)" if "pow" in name else "NAME(a, z)", name)
        rows("NAME(z, a)", name)
        if np.power is not getattr(np, name):
            rows("NAME(a, Z)", name)

rows("NAME(a)", "angle", "real", "imag", "isreal", "iscomplex", "isneginf", "isposinf", "fix", "nan_to_num", "sinc",
     "atleast_1d", "atleast_2d", "atleast_3d", "copy", "array", "asarray", "asanyarray", "ascontiguousarray",
     "matrix_transpose", "fliplr", "flipud", "diagflat", "zeros_like", "ones_like", "sort_complex", "ravel", "i0",
     "isrealobj", "iscomplexobj", "ndim", "shape", "size", "isscalar", "iterable", "real_if_close", "asarray_chkfinite",
     "diag_indices_from", "min_scalar_type" , "common_type", "tril_indices_from", "triu_indices_from")  # fmt: skip
rows("NAME(z)", "real", "imag", "isreal", "asarray", "atleast_1d", "nan_to_num", "isscalar", "ones_like")
rows("NAME(a, axis=AXES, keepdims=FLAG)", "sum", "prod", "max", "min", "amax", "amin", "any", "all", "mean", "var", "std",
     "ptp", "count_nonzero", "nansum", "nanprod", "nanmax", "nanmin", "nanmean", "nanvar", "nanstd")  # fmt: skip
rows("NAME(a, axis=AXIS_, keepdims=FLAG)", "argmax", "argmin")
rows("NAME(d, axis=AXIS_, keepdims=FLAG)", "nanargmax", "nanargmin")
rows("NAME(a, axis=AXIS_, dtype=WIDE)", "sum", "mean", "cumsum", "cumprod", "nancumsum", "nancumprod")
rows("NAME(a, axis=AXIS_)", "cumsum", "cumprod", "nancumsum", "nancumprod", "cumulative_sum", "cumulative_prod", "sort",
     "argsort", "flip", "squeeze")  # fmt: skip
rows("NAME(a, axis=AXIS_, kind=KIND)", "sort", "argsort")
rows("NAME(a, axis=AXIS_, stable=FLAG)", "sort", "argsort")
rows("NAME(a, axis=AXIS, include_initial=FLAG)", "cumulative_sum", "cumulative_prod")
rows("NAME(r, axis=AXES1, keepdims=FLAG)", "median", "nanmedian")
rows("NAME(d, Q, axis=AXES1, method=METHOD, keepdims=FLAG)", "quantile")
rows("NAME(d, [0.2, 0.7], axis=AXES1, keepdims=FLAG)", "nanquantile")
rows("NAME(d, 50, axis=AXES1)", "percentile", "nanpercentile")
rows("NAME(a, axis=AXES, keepdims=FLAG)", "average")
rows("NAME(a, axis=AXIS_, weights=(c != 0) + 1)", "average")
rows("NAME(a, b)", "isclose", "allclose", "array_equal", "array_equiv", "broadcast_arrays", "kron", "outer", "inner",
     "result_type")  # fmt: skip
rows("NAME(a, z)", "isclose", "array_equal", "full_like", "result_type")
rows("NAME(a, K)", "round", "around", "diag")
rows("NAME(a, z, b)", "clip", "where")
rows("NAME(a, b, z)", "where")
rows("NAME(a, 1, None)", "clip")
rows("NAME(a, max=z)", "clip")
rows("NAME(a, DTYPE)", "astype", "zeros_like", "ones_like", "can_cast", "result_type")
rows("NAME(a.dtype, DTYPE)", "promote_types", "issubdtype", "can_cast")
rows("NAME(DTYPE, ('integral', 'bool'))", "isdtype")
rows("NAME(a, SHAPE)", "reshape", "broadcast_to", "resize")
rows("NAME(a, (-1, M))", "reshape")
rows("NAME(a, -1)", "reshape")
rows("NAME(a)", "transpose", "permute_dims")
rows("NAME(a, (AXIS, AXIS2))", "transpose", "permute_dims")
rows("NAME(a, AXIS, AXIS2)", "swapaxes", "moveaxis", "rollaxis")
rows("NAME(a, AXES)", "expand_dims", "squeeze", "flip")
rows("NAME(t, K, axes=(AXIS, AXIS2))", "rot90")
rows("NAME(a, K, AXES)", "roll")
rows("NAME(a, K)", "tril", "triu")
rows("NAME(t, K, AXIS, AXIS2)", "diagonal", "trace")
rows("NAME(a, M)", "tile", "repeat")
rows("NAME(a, SHAPE)", "tile")
rows("NAME(a, M, axis=AXIS)", "repeat")
rows("NAME(v, [1, 0, 2], axis=0)", "repeat")
rows("NAME([a, c], axis=AXIS_)", "concatenate", "concat")
rows("NAME([a, b], axis=AXIS)", "concatenate", "concat")
rows("NAME([a, c], axis=AXIS)", "stack")
rows("NAME([a, c])", "hstack", "vstack", "dstack", "column_stack", "block")
rows("NAME([[a, c], [c, a]])", "block")
rows("NAME(a, b, axis=AXIS_)", "append")
rows("NAME(a, WHERE, z, axis=AXIS_)", "insert")
rows("NAME(a, WHERE, axis=AXIS_)", "delete")
rows("NAME(a, SPLIT, axis=AXIS)", "split", "array_split")
rows("NAME(a, SPLIT)", "hsplit", "vsplit", "dsplit")
rows("NAME(a, axis=AXIS)", "unstack")
rows("NAME(a, PAD, mode=PADDING)", "pad")
rows("NAME(a, 1, constant_values=z)", "pad")
rows("NAME(a, i, axis=AXIS_, mode=CLIP)", "take")
rows("NAME(a, m.argsort(a, axis=AXIS), axis=AXIS)", "take_along_axis")
rows("IN_PLACE(NAME, a, m.argmax(a, axis=AXIS, keepdims=True), a.dtype.type(1), AXIS)", "put_along_axis")
rows("NAME([True, False], e, axis=AXIS_)", "compress")
rows("NAME([k, c], [a, c], z)", "select")
rows("NAME([k != 0, a == 1], [a, c], 0)", "select")
rows("NAME(i, [v, 2 * v, v], mode=CLIP)", "choose")
rows("NAME(a, [a > 1, a < 0], [lambda x: x * 2, 2])", "piecewise")
rows("NAME(a, N, axis=AXIS)", "diff")
rows("NAME(a, 1, prepend=z)", "diff")
rows("NAME(a)", "ediff1d")
rows("NAME(a, to_end=z)", "ediff1d")
rows("NAME(g, axis=AXIS)", "gradient")
rows("NAME(g, 2.0)", "gradient")
rows("NAME(a, dx=0.5, axis=AXIS)", "trapezoid")
rows("NAME(a, c, axis=AXIS)", "trapezoid")
rows("NAME(f, axis=AXIS)", "unwrap")
rows("NAME(a, v)", "dot", "matmul", "inner", "matvec", "vecdot")
rows("NAME(v, a)", "dot", "matmul", "vecmat")
rows("NAME(t, m.swapaxes(t, -1, -2))", "matmul", "dot")
rows("NAME(a, b)", "dot", "matmul", "vdot", "tensordot")
rows("NAME(a, c, axis=AXIS)", "vecdot")
rows("NAME(t, m.swapaxes(t, -1, -2), axes=1)", "tensordot")
rows("NAME(s, s[..., 0])", "matvec")
rows("NAME(s[..., 0], s)", "vecmat")
rows("NAME(w, w + 1, axis=AXIS)", "cross")
rows("NAME('ij,kj->ki', t, t)", "einsum")
rows("NAME('...i,...i', a, c)", "einsum")
rows("NAME('ij,kj->ki', t, t, optimize='greedy')[0]", "einsum_path")
rows("NAME(v, u, mode=MODE)", "convolve", "correlate")
rows("NAME(m.sort(h), v, side=SIDE)", "searchsorted")
rows("NAME(m.sort(u), a, side=SIDE)", "searchsorted")
rows("NAME(r, [-1.0, 0.5, 2.0], right=FLAG)", "digitize")
rows("NAME(w, m.sort(h), m.cumsum(h))", "interp")
rows("NAME(a, M, axis=AXIS)", "partition", "argpartition")
rows("NAME((v, v * 2))", "lexsort")
rows("NAME(a, v, invert=FLAG)", "isin")
rows("NAME(y)", "bincount")
rows("NAME(y, minlength=6)", "bincount")
rows("NAME(g)", "cov", "corrcoef")
rows("NAME(g, rowvar=FLAG, ddof=1)", "cov")
rows("NAME(h, bins=M, density=FLAG)", "histogram")
rows("NAME(h, bins=[-2.0, 0.0, 2.0])", "histogram")
rows("NAME(h, h, bins=2)", "histogram2d")
rows("NAME(h[:, None], bins=3)[0]", "histogramdd")
rows("NAME(h, bins=N)", "histogram_bin_edges")
rows("NAME(j, axis=AXIS_)", "packbits")
rows("NAME(m.packbits(y), count=7)", "unpackbits")
rows("NAME(m.packbits(j, axis=AXIS), axis=AXIS)", "unpackbits")
rows("NAME(v)", "polyder", "polyint", "vander")
rows("NAME(h)", "poly")
rows("NAME(v, u)", "polyadd", "polysub", "polymul", "polyval")
rows("NAME(v, a)", "polyval")
rows("NAME(v, N, increasing=FLAG)", "vander")
rows("NAME(h + 10, w[:2] + 9)", "polydiv")
rows("NAME(m.arange(5.0), h[:1] * m.arange(5.0) ** 2, 2)", "polyfit")
rows("m.sort_complex(NAME(m.asarray([1.0, 0.0, -4.0]) * (h[0] + 9)))", "roots")
rows("NAME(v, u)", "union1d", "intersect1d", "setdiff1d", "setxor1d")
rows("m.sort(NAME(v))", "unique_values")
rows("NAME(v)", "unique", "unique_all", "unique_counts", "unique_inverse", "trim_zeros", "nonzero",
     "flatnonzero", "argwhere")  # fmt: skip
rows("NAME(a, return_index=FLAG, return_inverse=FLAG2, return_counts=True)", "unique")
rows("NAME(a, axis=AXIS, return_counts=FLAG)", "unique")
rows("m.sort(NAME(v, sorted=FLAG))", "unique")
rows("NAME(a)", "nonzero", "flatnonzero", "argwhere")
rows("NAME(a > 0, a)", "extract")
rows("NAME(y, y[1:])", "ix_")
rows("NAME(v, u, sparse=FLAG, indexing='ij')", "meshgrid")
rows("NAME(v, u, v)", "meshgrid")
rows("NAME(lambda x: m.cumsum(x), AXIS, s)", "apply_along_axis")
rows("NAME(m.sum, t, [M - 1])", "apply_over_axes")
rows("NAME(lambda x: 2 * x + 1)(w)", "vectorize")
rows("NAME(lambda i, j: i * 2 + j, (M, N))", "fromfunction")
rows("IN_PLACE(NAME, s, 2.5)", "fill_diagonal")
rows("NAME((y[:2] % 2, y[2:] % 2), (3, 2))", "ravel_multi_index")
rows("NAME(abs(y) % 6, (3, 2))", "unravel_index")
rows("NAME(N)", "arange", "bartlett", "blackman", "hamming", "hanning", "identity", "eye", "zeros", "ones", "tri")
rows("NAME(N, M, K)", "eye", "tri")
rows("NAME(K, N, 0.5, DTYPE)", "arange")
rows("NAME(N, 3.5)", "kaiser")
rows("NAME(SHAPE, z)", "full")
rows("NAME(SHAPE, DTYPE)", "zeros", "ones")
rows("NAME(SHAPE, DTYPE).shape", "empty")
rows("NAME(a, DTYPE).dtype", "empty_like")
rows("NAME(SHAPE, sparse=FLAG)", "indices")
rows("NAME(N, K, M)", "tril_indices", "triu_indices")
rows("NAME(M, 2)", "diag_indices")
rows("NAME(N, m.triu)", "mask_indices")
rows("NAME(SHAPE, (1, 3))", "broadcast_shapes")
rows("NAME(a, b, N)", "linspace")
rows("NAME(z, a, N, endpoint=FLAG, axis=AXIS)", "linspace")
rows("NAME(g, 2.0, N)", "logspace")
rows("NAME(abs(g) + 1, 9.0, M + 1)", "geomspace")
rows("NAME(a)", "from_dlpack")

#: Results whose shape depends on values: programs need a size.
DYNAMIC = {
    "unique", "unique_values", "unique_all", "unique_counts", "unique_inverse", "union1d", "intersect1d", "setdiff1d",
    "setxor1d", "nonzero", "flatnonzero", "argwhere", "extract", "trim_zeros", "bincount", "polymul", "polydiv", "roots",
    "real_if_close", "asarray_chkfinite", "mask_indices",
}  # fmt: skip

#: Results that are no arrays, or that are not defined: a program has nothing to return, and only the eager call is made.
PYTHON_VALUES = {"ndim", "shape", "size", "isscalar", "iterable", "isrealobj", "iscomplexobj", "result_type", "can_cast",
                 "promote_types", "issubdtype", "isdtype", "min_scalar_type", "common_type", "broadcast_shapes",
                 "einsum_path", "from_dlpack", "empty_like"}  # fmt: skip

SUPPORTED = [
    n for n in fnp.__all__ if callable(getattr(fnp, n)) and hasattr(np, n) and not isinstance(getattr(np, n), type)
]


def test_every_function_has_a_row():
    assert set(SUPPORTED) - {"vectorize"} - set(TABLE) == set()
    assert set(TABLE) - set(SUPPORTED) - {"vectorize"} == set()


# The comparison -------------------------------------------------------------------------------------------------------

ERRORS = (IndexError, OverflowError, ZeroDivisionError, ValueError, TypeError)


def outcome(function, *args):
    """The result of a call, or the kind of its error."""
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        try:
            return function(*args), None
        except ConcretizationError:
            raise
        except ERRORS as error:
            return error, tuple(e for e in ERRORS if isinstance(error, e))


#: Where NumPy's error is an accident of how it is written.
ACCIDENTS = (
    "tri()",
    "invalid entry in choice array",
    "not enough values to unpack",
    "index -1 is out of bounds",
    "division by zero",
    "cannot reshape array of size 0",
    "tuple index out of range",
)


def same(got, want, what):
    """Equal results, or errors of one kind."""
    (y, kinds), (reference, theirs) = got, want
    if theirs is not None:
        if kinds is None and any(a in str(reference) for a in ACCIDENTS):
            return
        assert kinds is not None, f"{what}: NumPy raises {reference!r}, and this is {y!r}"
        alike = set(kinds) & set(theirs) or any(a in str(reference) for a in ACCIDENTS)
        assert alike, f"{what}: NumPy raises {reference!r}, and this {y!r}"
        return
    assert kinds is None, f"{what}: NumPy has {reference!r}, and this raises {type(y).__name__}: {y}"
    compare(y, reference, what)


def compare(y, reference, what):
    if isinstance(reference, (tuple, list)) and not isinstance(y, np.ndarray):
        assert len(y) == len(reference), what
        for one, other in zip(y, reference):
            compare(one, other, what)
    elif isinstance(reference, (np.ndarray, np.generic, bool, int, float, complex)) and not isinstance(
        reference, np.dtype
    ):
        if np.result_type(reference).kind == "c":
            assert np.result_type(y) == np.result_type(reference), what
            y, reference = (
                tuple(np.ascontiguousarray(part) for part in (np.real(x), np.imag(x))) for x in (y, reference)
            )
        try:
            assert_same(y, reference)
        except AssertionError as error:
            raise AssertionError(f"{what}: {error}") from None
    else:
        assert y == reference, what


def in_place(function, x, *args):
    """The array that a function of NumPy's leaves behind; of this library it is the result."""
    if function.__module__.startswith("numpy"):
        x = x.copy()
        function(x, *args)
        return x
    return function(x, *args)


@st.composite
def cases(draw, name):
    """An expression of the table, its operands and its static arguments."""
    expression = draw(st.sampled_from(TABLE[name]))
    operands, static = {}, {}
    for word in sorted(set(re.findall(r"(?<![\w.'])[a-z](?![\w'=])", expression)) & set(OPERANDS)):
        operands[word] = draw(OPERANDS[word](operands))
    for word in re.findall(r"\b[A-Z_]+\d?\b", expression):
        if word in STATIC:
            static[word] = draw(STATIC[word])
    return expression, operands, static


@pytest.mark.parametrize("name", TABLE)
def test_as_numpy(name):
    @settings(max_examples=EXAMPLES, suppress_health_check=list(HealthCheck))
    @given(cases(name))
    def run(case):
        expression, operands, static = case
        code = compile(expression, "<row>", "eval")

        def call(module, *values):
            return eval(code, {"m": module, "IN_PLACE": in_place, **static, **dict(zip(operands, values))})

        values = list(operands.values())
        what = f"{expression} of {operands} with {static}"
        want = outcome(call, np, *values)
        ours = lambda *xs: call(fnp, *xs)
        same(outcome(ours, *values), want, f"eager {what}")
        if name in PYTHON_VALUES:
            return
        try:
            same(outcome(fg.jit(ours), *values), want, f"jit {what}")
        except ConcretizationError:
            assert name in DYNAMIC, what
            return
        if want[1] is None and values and all(isinstance(v, np.ndarray) for v in values):
            others = [np.roll(v, 1) for v in values]
            second = outcome(call, np, *others)
            if second[1] is None:
                stacked = [np.stack(pair) for pair in zip(values, others)]
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore")
                    by_rows = fg.vmap(lambda *xs: list(flat(ours(*xs))))(*stacked)
                for i, row in enumerate((want, second)):
                    compare([y[i] for y in by_rows], [np.asarray(y) for y in flat(row[0])], f"vmap {what}")

    run()


#: What differed when the table was first run.
FOUND = {
    "argmax of a scalar": (lambda m, a: m.argmax(a, axis=0), np.array(2.0)),
    "argsort of a scalar": (lambda m, a: m.argsort(a, axis=-1), np.array(2.0)),
    "take from a scalar": (lambda m, a: m.take(a, [0, 0], axis=0), np.array(2.0)),
    "repeat of a scalar": (lambda m, a: m.repeat(a, 3, axis=0), np.array(2.0)),
    "squeeze of a scalar": (lambda m, a: m.squeeze(a, axis=0), np.array(2.0)),
    "nanmean of a scalar": (lambda m, a: m.nanmean(a, axis=0), np.array(2.0)),
    "trapezoid of nothing": (lambda m, a: m.trapezoid(a), np.zeros(0)),
    "roll along no axis": (lambda m, a: m.roll(a, 1, ()), np.arange(3)),
    "partition of nothing": (lambda m, a: m.partition(a, 3, axis=0), np.zeros(0)),
    "nanmedian of nothing": (lambda m, a: m.nanmedian(a), np.zeros(0)),
    "nanmedian of infinities": (lambda m, a: m.nanmedian(a), np.array([np.inf, np.inf, np.nan])),
    "quantile of nothing": (lambda m, a: m.quantile(a, 0.5), np.zeros(0)),
    "average of nothing": (lambda m, a: m.average(a, weights=a), np.zeros(0)),
    "differences of booleans": (lambda m, a: m.ediff1d(a), np.array([True])),
    "choice from the end": (lambda m, a: m.choose(a, [[1], [2]]), np.array([-1])),
    "complex values into reals": (lambda m, a: m.insert(a, 0, 1j), np.array([1.0])),
    "linspace in half precision": (lambda m, a: m.linspace(a, True, 3), np.float16(0.5)),
    "linspace to a Python number": (lambda m, a: m.linspace(a, 2.0, 3), np.float32(0.5)),
    "logspace to a Python number": (lambda m, a: m.logspace(a, 2.0, 3), np.float32(0.5)),
    "complex sort of booleans": (lambda m, a: m.sort_complex(a), np.array([True, False])),
    "complex sort of singles": (lambda m, a: m.sort_complex(a), np.array([2.0, 1.0], np.float32)),
    "logarithm of a complex zero": (lambda m, a: m.log10(a), np.array([0j, 1j])),
}


@pytest.mark.parametrize("f, a", FOUND.values(), ids=FOUND)
def test_differences_that_were_found(f, a):
    want = outcome(f, np, a)
    same(outcome(lambda x: f(fnp, x), a), want, "eager")
    same(outcome(fg.jit(lambda x: f(fnp, x)), a), want, "jit")
