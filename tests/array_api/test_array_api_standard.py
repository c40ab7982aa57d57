"""``funcgrad.numpy`` against the array API standard: names and parameters, promotion, special cases, and the results of every
function, plain and traced, against array_api_strict, which is the standard and nothing else."""

from __future__ import annotations

import builtins
import inspect
import itertools
import math
from collections.abc import Iterator
from typing import Any

import array_api_standard as standard
import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp

SIGNATURES = [(section, text) for section, texts in standard.FUNCTIONS.items() for text in texts]
BY_SECTION = pytest.mark.parametrize(("section", "text"), SIGNATURES, ids=[f"{s}-{t}" for s, t in SIGNATURES])


def namespace(section: str, xp: Any) -> Any:
    return getattr(xp, section) if section in ("linalg", "fft") else xp


def parsed(text: str) -> tuple[str, inspect.Signature]:
    """The name and the parameters that a line of the table says."""
    scope: dict[str, Any] = {}
    exec(f"def {text}: ...", scope)
    name = text[: text.index("(")]
    return name, inspect.signature(scope[name])


# Names and parameters -------------------------------------------------------------------------------------------------


@BY_SECTION
def test_functions_take_the_standards_parameters(section: str, text: str) -> None:
    name, wanted = parsed(text)
    function = getattr(namespace(section, fnp), name)
    parameters = list(wanted.parameters.values())
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named = [p for p in parameters if p.kind in (p.KEYWORD_ONLY, p.POSITIONAL_OR_KEYWORD)]
    if hasattr(function, "nin"):
        assert function.nin == len(positional) and not named
        return
    taken = inspect.signature(function)
    least = sum(p.default is p.empty for p in positional)
    for count in range(least, len(positional) + 1):
        given = {p.name for p in positional[:count]}
        free = {p.name: p.default for p in named if p.name not in given}
        needed = {k: v for k, v in free.items() if v is inspect.Parameter.empty}
        for some in ({}, free, *({k: v} for k, v in free.items())):
            taken.bind(*positional[:count], **needed, **{k: v for k, v in some.items() if k not in needed})


@BY_SECTION
def test_the_table_is_the_standards(section: str, text: str) -> None:
    """Our copy of the names and parameters, against array_api_strict's."""
    strict = pytest.importorskip("array_api_strict")
    name, ours = parsed(text)
    with strict.ArrayAPIStrictFlags(api_version="2024.12"):
        theirs = inspect.signature(getattr(namespace(section, strict), name))
    assert [p.kind for p in ours.parameters.values() if p.kind != p.KEYWORD_ONLY] == [
        p.kind for p in theirs.parameters.values() if p.kind != p.KEYWORD_ONLY
    ]
    named = [p.name for p in ours.parameters.values() if p.kind is not p.POSITIONAL_ONLY]
    assert sorted(named) == sorted(p.name for p in theirs.parameters.values() if p.kind is not p.POSITIONAL_ONLY)


def test_constants_and_dtypes_are_there() -> None:
    for name in standard.CONSTANTS:
        assert getattr(fnp, name) is getattr(np, name)
    for name in standard.DTYPES:
        assert np.dtype(getattr(fnp, name)) == np.dtype(name)


@pytest.mark.parametrize("transform", [fg.grad, fg.jit, fg.vmap], ids=["grad", "jit", "vmap"])
def test_traced_values_have_the_standards_methods_and_attributes(transform: Any) -> None:
    seen = []

    def f(x: Any) -> Any:
        seen.append(x)
        for name in standard.METHODS:
            assert callable(getattr(x, name)), name
        for name in standard.ATTRIBUTES:
            getattr(x, name)
        return fnp.sum(x)

    transform(f)(np.ones((2, 3, 3)))
    assert seen


# Promotion ------------------------------------------------------------------------------------------------------------

PROMOTIONS = sorted(standard.promotions().items())


def test_dtypes_promote_as_the_standard_says() -> None:
    def both(x: Any, y: Any) -> tuple[Any, Any]:
        return fnp.equal(x, y), fnp.where(x == y, x, y)

    for (left, right), wide in PROMOTIONS:
        assert fnp.result_type(getattr(fnp, left), getattr(fnp, right)) == wide
        x, y = np.ones(2, left), np.ones(2, right)
        for f in (both, fg.jit(both), fg.vmap(both)):
            compared, chosen = f(x, y)
            assert (compared.dtype, chosen.dtype) == ("bool", wide)
        if wide != "bool":
            assert fg.jit(fnp.add)(x, y).dtype == fg.jit(lambda a, b: a * b)(x, y).dtype == wide


def test_a_python_scalar_takes_the_dtype_of_the_array() -> None:
    for name in standard.DTYPES[1:]:
        kind = np.dtype(name).kind
        scalars = {"i": (2,), "u": (2,), "f": (2, 2.0), "c": (2, 2.0, 2j)}[kind]
        for s in scalars:
            x = np.ones(2, name)
            assert fg.jit(lambda a, s=s: a + s)(x).dtype == fg.jit(lambda a, s=s: s * a)(x).dtype == name


def test_sums_and_products_are_as_wide_as_the_default() -> None:
    for name in standard.DTYPES[1:]:
        wide = {"i": "int64", "u": "uint64"}.get(np.dtype(name).kind, name)
        for function in (fnp.sum, fnp.prod, fnp.cumulative_sum, fnp.cumulative_prod):
            x = np.ones(3, name)
            assert function(x).dtype == fg.jit(function)(x).dtype == wide
            assert fg.jit(lambda a, f=function, d=name: f(a, dtype=d))(x).dtype == name


# Special cases --------------------------------------------------------------------------------------------------------


def cases(table: str) -> Iterator[tuple[str, list[str], str]]:
    """A function, words for its operands, and its result, from each line."""
    for line in table.strip().splitlines():
        name, *rest = [part.strip() for part in line.split("|")]
        count = 2 if f"{name}(x1, x2, /)" in standard.FUNCTIONS["elementwise"] else 1
        yield name, rest[:count], rest[count]


def examples(words: list[str]) -> list[tuple[float, ...]]:
    return list(itertools.product(*([float(n) for n in standard.WORDS.get(w, (w,))] for w in words)))


def expected(text: str, operands: tuple[float, ...]) -> float:
    scope = {"inf": math.inf, "nan": math.nan, "pi": math.pi, "abs": builtins.abs}
    return float(eval(text, scope, dict(zip(("x1", "x2"), operands, strict=False))))


def assert_special(table: str, dtype: str) -> None:
    for name, words, result in cases(table):
        operands = examples(words)
        columns = [np.array(column, dtype) for column in zip(*operands, strict=True)]
        want = np.array([expected(result, x) for x in operands], dtype)
        function = getattr(fnp, name)
        for f in (function, fg.jit(function), fg.vmap(function), fg.jit(fg.vmap(function))):
            with np.errstate(all="ignore"):
                got = f(*columns)
            assert got.dtype == (
                bool
                if name.startswith(("is", "signbit", "logical", "equal", "not_equal", "less", "greater"))
                else dtype
            )
            got = got.astype(dtype)
            np.testing.assert_allclose(got, want, rtol=4 * np.finfo(dtype).eps, err_msg=f"{name} of {words}")
            zero = want == 0
            np.testing.assert_array_equal(np.signbit(got[zero]), np.signbit(want[zero]), err_msg=f"{name} of {words}")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_special_cases(dtype: str) -> None:
    assert_special(standard.SPECIAL, dtype)


def test_special_cases_in_which_numpy_deviates_are_numpys() -> None:
    assert_special(standard.NUMPYS, "float64")


# Results --------------------------------------------------------------------------------------------------------------

_R = np.random.default_rng(0)
ARGUMENTS: dict[str, Any] = {
    "x": _R.uniform(-2, 2, (2, 3, 3)),
    "y": _R.uniform(0.5, 2, (2, 3, 3)),
    "f": _R.uniform(-2, 2, (4,)).astype("float32"),
    "z": _R.uniform(-2, 2, (3, 3)) + 1j * _R.uniform(-2, 2, (3, 3)),
    "n": _R.integers(-3, 4, (2, 3)),
    "u": _R.integers(0, 5, (4,)).astype("uint8"),
    "b": _R.uniform(0, 1, (2, 3)) < 0.5,
    "i": np.array([1, 0, 1]),
    "m": np.array([[4.0, 1.0, 0.5], [1.0, 3.0, 0.25], [0.5, 0.25, 2.0]]),
}

#: Calls of every function that gives arrays, with what the standard lets vary.
CALLS = """
tril(x, k=1); triu(x, k=-1); zeros_like(n); ones_like(f); full_like(z, 2.0);
meshgrid(f, 2 * f, indexing="ij"); linspace(-1.0, 1.0, 5, endpoint=False); asarray(n, copy=True); astype(n, float32)
arange(5); arange(1, 7, 2, dtype=float32); eye(3, 4, k=1); full((2, 2), 3); zeros((2, 0)); ones(3, dtype=int8)
sum(x); sum(n, axis=0); sum(u); sum(f); sum(x, axis=(0, 2), keepdims=True); sum(n, dtype=int32); prod(u); prod(n, axis=-1)
max(x, axis=1); min(n); mean(f); mean(x, axis=(0, 1)); var(x, correction=1.0, axis=0); std(f, correction=1, keepdims=True)
cumulative_sum(n, axis=1); cumulative_sum(u, include_initial=True); cumulative_prod(f); cumulative_prod(x, axis=0)
all(b, axis=1); any(b, keepdims=True); any(x, axis=(0, 1)); diff(x, axis=0); diff(f, n=2); diff(f, prepend=f, append=f)
argmax(x, axis=-1, keepdims=True); argmin(n); count_nonzero(n, axis=1); where(b, n, -n); where(b, 1.0, x[:, :, 0])
searchsorted(sort(f), f); searchsorted(sort(f), f, side="right")
sort(x, axis=0, descending=True); sort(f); argsort(n, axis=1, descending=True, stable=True); argsort(f)
take(x, i, axis=1); take_along_axis(x, argsort(x, axis=1), axis=1)
broadcast_arrays(f, n[:1, :1]); broadcast_to(f, (3, 4)); concat([x, y], axis=1); concat([x, y], axis=None)
expand_dims(f, axis=-1); flip(x); flip(x, axis=(0, 2)); moveaxis(x, 0, -1); permute_dims(x, (2, 0, 1)); repeat(n, 2)
repeat(n, 2, axis=1); reshape(x, (3, -1)); roll(x, 1); roll(x, (1, 2), axis=(0, 1)); squeeze(x[:1, :, :], axis=0)
stack([x, y], axis=2); tile(n, (2, 1, 2)); unstack(x, axis=1); matmul(x, y); matrix_transpose(x); vecdot(x, y, axis=-2)
tensordot(x, m, axes=2); tensordot(x, y, axes=((0, 1), (0, 2))); clip(x, -1.0, 0.5); clip(n, min=-1)
linalg.cholesky(m); linalg.cholesky(m, upper=True); linalg.cross(x, y); linalg.det(x); linalg.diagonal(x, offset=1)
linalg.eigvalsh(m); linalg.inv(m); linalg.matrix_norm(x); linalg.matrix_norm(x, ord=1, keepdims=True)
linalg.matrix_norm(x, ord="nuc"); linalg.matrix_power(m, 3); linalg.matrix_rank(m); linalg.outer(f, f); linalg.pinv(x)
linalg.slogdet(m); linalg.solve(m, x); linalg.svdvals(x); linalg.trace(x, offset=1); linalg.trace(n, dtype=int64)
linalg.vector_norm(x); linalg.vector_norm(x, axis=(0, 2), ord=1); linalg.vector_norm(f, ord=inf, keepdims=True)
linalg.qr(m)[1] ** 2; linalg.eigh(m)[0]; linalg.svd(x, full_matrices=False)[1]; linalg.vecdot(f, f); linalg.matmul(m, m)
linalg.tensordot(m, m, axes=1); linalg.matrix_transpose(m)
fft.fft(z); fft.ifft(z, axis=0, norm="ortho"); fft.fftn(z); fft.ifftn(z, s=(2, 2), axes=(0, 1)); fft.rfft(f); fft.hfft(z)
fft.irfft(z, n=5); fft.rfftn(x); fft.irfftn(z); fft.ihfft(f); fft.fftfreq(5, d=0.5); fft.rfftfreq(5, dtype=float32)
fft.fftshift(x); fft.ifftshift(x, axes=1)
abs(n); abs(z); acos(x / 2); acosh(y + 1); asin(x / 2); asinh(z); atan(f); atanh(x / 3); ceil(f); ceil(n); conj(z); cos(z)
cosh(f); exp(z); expm1(f); floor(x); floor(n); imag(z); isfinite(z); isinf(n); isnan(f); log(z); log1p(y); log2(y)
log10(z); logical_not(b); negative(n); positive(u); real(z); reciprocal(z); round(f); round(z); sign(n); sign(z); signbit(f)
sin(f); sinh(z); square(n); sqrt(z); tan(x); tanh(z); trunc(f); trunc(n); bitwise_invert(u); bitwise_invert(b)
add(n, n); atan2(x, y); bitwise_and(n, n); bitwise_left_shift(u, u); bitwise_or(b, b); bitwise_right_shift(n, abs(n))
bitwise_xor(u, u); copysign(f, -f); divide(z, z + 3); equal(x, 0.5); floor_divide(x, y); floor_divide(n, abs(n) + 1)
greater(n, 0); greater_equal(x, y); hypot(x, y); less(f, 0.0); less_equal(u, 2); logaddexp(x, y); logical_and(b, b)
logical_or(b, b); logical_xor(b, b); maximum(x, y); minimum(n, 1); multiply(z, z); nextafter(x, y); not_equal(u, 3)
pow(y, x); pow(n, abs(n)); pow(z, 2.0); remainder(x, y); remainder(n, abs(n) + 1); subtract(x, 1.0)
unique_values(u); unique_counts(n); unique_inverse(f); unique_all(u); nonzero(n); n[b]; x.mT; m.T; -x @ m
x[..., None, 0]; n // 2; n % 2; 2**u; ~n; n << 1; b & b; abs(-f); +z; u >> 1; x[:, 1, :] == y[:, 1, :]
"""

_NAMES = {t[: t.index("(")] for texts in standard.FUNCTIONS.values() for t in texts}
#: Their results depend on values, or they answer about types.
_NOT_TRACED = ("unique_", "nonzero", "n[b]")
_ELSEWHERE = {"empty_like", "can_cast", "finfo", "iinfo", "isdtype", "result_type", "from_dlpack", "empty"}
LINES = [call.strip() for line in CALLS.strip().splitlines() for call in line.split(";") if call.strip()]


def evaluated(call: str, xp: Any, arguments: dict[str, Any]) -> list[Any]:
    """The arrays that a call gives."""
    names = {n: getattr(xp, n) for n in (*_NAMES, *standard.DTYPES, "linalg", "fft", "inf") if hasattr(xp, n)}
    result = eval(call, {"__builtins__": {}}, {**names, **arguments})
    return list(result) if isinstance(result, (tuple, list)) else [result]


def test_every_function_of_the_standard_is_called() -> None:
    called = {name for name in _NAMES if builtins.any(f"{name}(" in call for call in LINES)}
    assert _NAMES - called - _ELSEWHERE == set()


@pytest.mark.parametrize("call", LINES)
def test_results_are_the_standards(call: str) -> None:
    strict = pytest.importorskip("array_api_strict")
    with strict.ArrayAPIStrictFlags(api_version="2024.12"):
        arguments = {k: strict.asarray(v) for k, v in ARGUMENTS.items()}
        wanted = [np.array(np.from_dlpack(y)) for y in evaluated(call, strict, arguments)]

    def function(given: dict[str, Any]) -> list[Any]:
        return evaluated(call, fnp, given)

    traced = [] if call.startswith(_NOT_TRACED) else [fg.jit(function)(ARGUMENTS)]
    for got in (function(ARGUMENTS), *traced):
        for x, y in zip(got, wanted, strict=True):
            assert (np.shape(x), np.asarray(x).dtype) == (y.shape, y.dtype)
            eps = float(np.finfo(y.dtype).eps) if y.dtype.kind in "fc" else 0.0
            np.testing.assert_allclose(x, y, rtol=64 * eps, atol=64 * eps)


@pytest.mark.parametrize("call", [c for c in LINES if not c.startswith(_NOT_TRACED) and "x" in c.split("(", 1)[-1]])
def test_what_is_differentiable_is_differentiated(call: str) -> None:
    """Directional derivatives in the float64 argument x, against a central difference."""

    def f(x: Any) -> Any:
        found = [y for y in evaluated(call, fnp, {**ARGUMENTS, "x": x}) if np.dtype(y.dtype).kind in "fc"]
        return builtins.sum((fnp.sum(fnp.real(y) * 1.25) for y in found), start=0.0 * fnp.sum(x))

    v = _R.standard_normal(ARGUMENTS["x"].shape)
    slope = np.sum(fg.grad(f)(ARGUMENTS["x"]) * v)
    h = 1e-6
    difference = (f(ARGUMENTS["x"] + h * v) - f(ARGUMENTS["x"] - h * v)) / (2 * h)
    np.testing.assert_allclose(slope, difference, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(np.sum(fg.jit(fg.grad(f))(ARGUMENTS["x"]) * v), slope, rtol=1e-9, atol=1e-12)
