"""``funcgrad.numpy.fft`` against NumPy's: values, dtypes, shapes and errors; derivatives against finite differences and
against the matrix of the transform; and the transforms of it."""

from __future__ import annotations

import warnings
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.testing import assert_close, check_grads

ONE = ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")
TWO = ("fft2", "ifft2", "rfft2", "irfft2")
SEVERAL = ("fftn", "ifftn", "rfftn", "irfftn")
REAL_INPUT = ("rfft", "ihfft", "rfft2", "rfftn")
NORMS = (None, "backward", "ortho", "forward")


def signal(shape, dtype="complex128", seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return np.asarray(x * 3).astype(dtype)


def natural(name, shape, seed=0):
    """An array that the function is meant for: real for those that take real ones."""
    return signal(shape, "float64" if name in REAL_INPUT else "complex128", seed)


def same(got, want):
    got, want = np.asarray(got), np.asarray(want)
    assert (got.shape, got.dtype) == (want.shape, want.dtype)
    eps = np.finfo(want.dtype).eps
    size = max(float(np.max(np.abs(want), initial=0)), 1e-30)
    np.testing.assert_allclose(got, want, rtol=0, atol=40 * eps * size)


def agree(name, x, *args, **keywords):
    """NumPy's result; the eager one, the traced one and NumPy's own function on a traced value are the same."""
    theirs, ours = getattr(np.fft, name), getattr(fnp.fft, name)
    want = theirs(x, *args, **keywords)
    same(ours(x, *args, **keywords), want)
    same(fg.jit(lambda x: ours(x, *args, **keywords))(x), want)
    same(fg.jit(lambda x: theirs(x, *args, **keywords))(x), want)


def test_all_18_names_of_numpy():
    every = {n for n in dir(np.fft) if not n.startswith("_") and callable(getattr(np.fft, n)) and n != "test"}
    assert len(every) == 18
    assert set(fnp.fft.__all__) == every


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", ONE)
def test_one_axis(name, norm):
    for shape, axis in [((6,), -1), ((7,), 0), ((3, 4), 0), ((2, 5, 3), 1), ((2, 3, 4), -2), ((0, 4), 1), ((4, 0), 0)]:
        x = natural(name, shape)
        agree(name, x, axis=axis, norm=norm)
        for n in (1, 2, 5, 6, 9):
            agree(name, x, n, axis, norm)


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize(
    "dtype",
    "bool int8 int16 int32 int64 uint8 uint64 float16 float32 float64 complex64 complex128".split(),  # noqa: SIM905
)
def test_dtypes(name, dtype):
    if name in REAL_INPUT and np.dtype(dtype).kind == "c":
        for call in (getattr(np.fft, name), getattr(fnp.fft, name), fg.jit(getattr(fnp.fft, name))):
            with pytest.raises(TypeError):
                call(signal(4, dtype))
        return
    agree(name, np.abs(signal((2, 6), dtype)).astype(dtype))
    agree(name, signal((2, 6), "float64").astype("int8").astype(dtype), 5, norm="ortho")


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("name", [*TWO, *SEVERAL])
def test_several_axes(name, norm):
    x = natural(name, (3, 4, 5))
    agree(name, x, norm=norm)
    for s, axes in [
        (None, (0, 1)), (None, (2, 0)), ((4, 3), (0, 1)), ((2, 6), (-1, 0)), ((5, 5), (1, 2)), (None, (1,)), ((-1, 4), (0, 2)),
    ]:  # fmt: skip
        agree(name, x, s, axes, norm)
    if name in SEVERAL:
        agree(name, x, (2, 3, 4), (0, 1, 2), norm)
        agree(name, natural(name, (5,)), norm=norm)
    agree(name, natural(name, (0, 3, 4)), None, (1, 2), norm)


def test_repeated_and_no_axes():
    agree("fftn", signal((3, 4)), None, (1, 1))
    agree("fftn", signal((3, 4)), (2, 5), (0, 0))
    agree("fftn", signal((3, 4)), None, ())
    for call in (np.fft.rfftn, fg.jit(lambda x: fnp.fft.rfftn(x, axes=()))):
        with pytest.raises(IndexError):
            call(signal(3, "float64"), axes=()) if call is np.fft.rfftn else call(signal(3, "float64"))


def test_deprecated_lengths_warn_as_numpys():
    x = signal((3, 4))
    for keywords in ({"s": (2, 3)}, {"s": (None, 3), "axes": (0, 1)}):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            want = np.fft.fftn(x, **keywords)
        for call in (fnp.fft.fftn, lambda x, **k: fg.jit(lambda x: fnp.fft.fftn(x, **k))(x)):
            with pytest.warns(DeprecationWarning):
                same(call(x, **keywords), want)


@pytest.mark.parametrize("n", [1, 2, 7, 8])
@pytest.mark.parametrize("name", ["fftfreq", "rfftfreq"])
def test_frequencies(name, n):
    theirs, ours = getattr(np.fft, name), getattr(fnp.fft, name)
    same(ours(n), theirs(n))
    same(ours(n, d=0.25), theirs(n, 0.25))
    same(fg.jit(lambda d: ours(n, d))(0.3), theirs(n, 0.3))
    same(fg.jit(lambda d: theirs(n, d))(0.3), theirs(n, 0.3))
    check_grads(lambda d: ours(n, d), (0.7,), order=2)


def test_frequencies_refuse():
    for call in (np.fft.fftfreq, fnp.fft.fftfreq, np.fft.rfftfreq, fnp.fft.rfftfreq):
        with pytest.raises(ValueError, match="integer"):
            call(2.5)
    with pytest.raises(ValueError, match="integer"):
        fg.jit(lambda d: fnp.fft.fftfreq(2.5, d))(0.3)
    with pytest.raises(TypeError):
        fg.jit(lambda d: fnp.fft.fftfreq(4, [d]))(0.3)


@pytest.mark.parametrize("name", ["fftshift", "ifftshift"])
def test_shifts(name):
    for shape in [(6,), (5,), (3, 4), (2, 3, 5), (0, 3)]:
        x = signal(shape, "float32")
        for axes in [None, *range(-len(shape), len(shape)), tuple(range(len(shape)))]:
            want = getattr(np.fft, name)(x, axes)
            for f in (getattr(fnp.fft, name), getattr(np.fft, name)):
                np.testing.assert_array_equal(fg.jit(partial(f, axes=axes))(x), want)
    check_grads(lambda x: getattr(fnp.fft, name)(x), (signal((3, 4), "float64"),), order=2)


@given(st.sampled_from(ONE), st.integers(1, 9), st.integers(1, 12), st.sampled_from(NORMS), st.booleans())
def test_any_length(name, length, n, norm, single):
    x = natural(name, (2, length))
    if single:
        x = x.astype("f4" if name in REAL_INPUT else "c8")
    agree(name, x, n, norm=norm)


# Derivatives ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("norm", ["backward", "ortho"])
@pytest.mark.parametrize("name", [*ONE, *TWO, *SEVERAL])
def test_derivatives(name, norm):
    f = getattr(fnp.fft, name)
    for shape in [(3, 4), (4, 5)]:
        x = natural(name, shape)
        check_grads(lambda x: f(x, norm=norm), (x,), order=2)
        # Something that is not linear before and after, of both parts.
        check_grads(lambda x: fnp.sin(fnp.abs(f(x * x, norm=norm)) ** 2 / 50), (x / 3,), order=2)
    if name in ONE:
        for n in (1, 2, 3, 6, 7):
            check_grads(partial(f, n=n, axis=0), (natural(name, (4, 2)),), order=2)


@pytest.mark.parametrize("n", [1, 2, 5, 6])
def test_the_transpose_is_that_of_the_matrix(n):
    k = np.arange(n)
    dft = np.exp(-2j * np.pi * np.outer(k, k) / n)
    ct = signal(n)
    (got,) = fg.vjp(fnp.fft.fft, signal(n))[1](ct)
    same(got, dft.T @ ct)
    half = signal(n // 2 + 1)
    (got,) = fg.vjp(fnp.fft.rfft, signal(n, "float64"))[1](half)
    same(got, np.real(dft[: n // 2 + 1].T @ half))
    # A real transform is linear over the reals: its matrix is that of the real and the imaginary part.
    columns = [np.fft.irfft(e, n) for e in np.eye(n // 2 + 1, dtype=complex)]
    imaginary = [np.fft.irfft(1j * e, n) for e in np.eye(n // 2 + 1, dtype=complex)]
    real_ct = signal(n, "float64")
    (got,) = fg.vjp(lambda y: fnp.fft.irfft(y, n), half)[1](real_ct)
    same(got, np.array(columns) @ real_ct - 1j * (np.array(imaginary) @ real_ct))


def test_parseval():
    x = signal((2, 9), "float64")
    energy = fg.grad(lambda x: fnp.sum(fnp.abs(fnp.fft.fft(x, norm="ortho")) ** 2))
    np.testing.assert_allclose(energy(x), 2 * x, rtol=1e-13)


# Transforms -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*ONE, *TWO, *SEVERAL])
def test_vmap_is_the_loop(name):
    f = getattr(fnp.fft, name)
    xs = natural(name, (2, 3, 4))
    want = np.stack([f(x) for x in xs])
    same(fg.vmap(f)(xs), want)
    same(fg.jit(fg.vmap(f))(xs), want)
    same(fg.vmap(f, in_axes=2)(xs), np.stack([f(xs[..., i]) for i in range(4)]))
    if name in ONE:
        same(fg.vmap(lambda x: f(x, 5, 0))(xs), np.stack([f(x, 5, 0) for x in xs]))


def test_transforms_nest():
    def loss(x):
        return fnp.sum(fnp.abs(np.fft.rfft(fnp.tanh(x))) ** 2)

    x = signal((3, 6), "float64") / 3
    rows = np.stack([fg.grad(loss)(r) for r in x])
    assert_close(fg.jit(fg.vmap(fg.grad(loss)))(x), rows)
    hessian = fg.jit(fg.hessian(loss))(x[0])
    step = 1e-5
    columns = [(fg.grad(loss)(x[0] + step * e) - fg.grad(loss)(x[0] - step * e)) / (2 * step) for e in np.eye(6)]
    np.testing.assert_allclose(hessian, np.stack(columns, 1), rtol=1e-6, atol=1e-6)


def test_single_precision_stays_single_in_derivatives():
    x = signal(6, "float32")
    g = fg.grad(lambda x: fnp.sum(fnp.abs(fnp.fft.rfft(x))))(x)
    assert g.dtype == np.float32
    assert fg.jvp(fnp.fft.fft, (x,), (x,))[1].dtype == np.complex64


def test_generated_source_stands_alone():
    def smooth(x):
        return fnp.fft.irfft(fnp.fft.rfft(x, norm="ortho"), 5)

    x = signal((2, 5), "float64")
    scope = {}
    exec(fg.to_source(smooth, x), scope)
    same(scope["smooth"](x), np.fft.irfft(np.fft.rfft(x, norm="ortho"), 5))


# Errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ONE)
@pytest.mark.parametrize("keywords", [{"n": 0}, {"n": -1}, {"norm": "double"}, {"axis": 2}, {"axis": -3}, {"n": 2.5}])
def test_errors_are_numpys(name, keywords):
    x = natural(name, (3, 4))
    with pytest.raises(Exception) as theirs:
        getattr(np.fft, name)(x, **keywords)
    with pytest.raises(type(theirs.value)):
        fg.jit(lambda x: getattr(fnp.fft, name)(x, **keywords))(x)


def test_more_errors():
    x = signal((3, 4))
    for f, error in [
        (lambda x: fnp.fft.fft(x[:0], axis=0), ValueError),
        (lambda x: fnp.fft.irfft(x[:, :1]), ValueError),
        (lambda x: fnp.fft.fftn(x, (2,), (0, 1)), ValueError),
        (lambda x: fnp.fft.fft(x, out=np.empty((3, 4), complex)), TypeError),
        (lambda x: fnp.fft.fft2(x[0]), ValueError),
        (lambda x: fnp.fft.fft(fnp.sum(x)), ValueError),
    ]:
        with pytest.raises(error):
            fg.jit(f)(x)
