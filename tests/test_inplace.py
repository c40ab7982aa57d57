"""Assignment to arrays inside a traced function: as NumPy does it, or an error; never another result.

The oracle is the very same function on plain arrays.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import lax
from funcgrad.errors import FuncgradError, InPlaceError, StaleViewError
from funcgrad.testing import check_grads

X = np.array([0.7, -1.2, 0.4, 2.1])


def shifted_sum(x):
    y = np.zeros_like(x)
    y[0] = x[0]
    y[1:] += x[:-1]
    return y * x


def mask(x):
    y = x * 3.0
    y[np.array([True, False, True, False])] = 0.5
    y[y.shape[0] - 1] *= x[0]
    return y * y


def out_of_an_operation(x):
    out = x * 2
    out -= 1
    out *= x
    out /= 3.0
    out **= 2
    return out


def rows(x):
    m = np.zeros((3, 4), like=x)
    for i in range(3):
        m[i, :] = x * i
    m[:, 1] += x[1]
    m[1:, ::2] *= x[:2]
    m[::-1, 0] = np.sin(x[:3])
    return m


def filled_in_a_loop(x):
    z = fnp.zeros(len(x))
    for i in range(len(x)):
        z[i] = np.sin(x[i]) * z[i - 1] + 1.0
    z *= x
    return z


def stencil(x):
    u = np.empty_like(x)
    u[...] = x
    for _ in range(3):
        new = u.copy()
        new[1:-1] = u[1:-1] + 0.1 * (u[2:] - 2 * u[1:-1] + u[:-2])
        new[0], new[-1] = u[1], u[-2]
        u = new
    return u


def in_place_diffusion(x):
    u = x.copy()
    for _ in range(3):
        u[1:-1] += 0.1 * (u[2:] - 2 * u[1:-1] + u[:-2])
    return u


def kalman(x):
    F, H, Q = fnp.eye(2), np.array([[1.0, 0.0]]), 0.1 * np.eye(2)
    F[0, 1] = x[3] * 0.1
    mean, P = fnp.zeros(2), fnp.eye(2)
    means = fnp.zeros((3, 2))
    for i in range(3):
        mean, P = F @ mean, F @ P @ F.T + Q
        K = P @ H.T / (H @ P @ H.T + 0.5)
        mean += (K * (x[i] - H @ mean))[:, 0]
        P -= K @ H @ P
        means[i] = mean
    return means


def history(x):
    """Values saved before a write are the old ones, on the tape too."""
    y = np.ones_like(x)
    total = 0.0
    for i in range(4):
        total += (x * y).sum() * np.exp(y[i] / 10)
        y[i] = x[i] * total / 10
        y += x
    return y * total


def scalars(x):
    s = x.sum()
    t = s
    s += 1
    s *= t
    return np.stack([s, t])


def array_without_axes(x):
    z = fnp.zeros(())
    alias = z
    for v in x:
        z += v * z + 1.0
    z[()] *= x[0]
    return alias * x


def alias(x):
    y = x * 2
    z = y
    z[1] = x[0]
    return y


def view_written_through(x):
    m = fnp.ones((2, 4))
    row = m[1]
    row[2] = x[2]
    row += x
    m[0][1] = x[1]
    m[0][1:][::2] *= x[:2]
    for r in m:
        r[3] -= 1.0
    return m * m[1]


def halves(x):
    y = x.copy()
    low, high = y[:2], y[2:]
    low += high
    high *= 2.0
    return np.concatenate([low, high, y])


def reshaped(x):
    a = fnp.zeros(8).reshape(2, 4)
    a[0] = x
    a[1] = a[0] ** 2
    b = (x * 2).reshape(2, 2).T
    b[0] = x[:2]
    return a.ravel()[2:6] + b.ravel()


def saved_view(x):
    y = x * 1.0
    before = y[1:3].copy()
    y[1] = 5.0 * x[0]
    after = y[1:3]
    return before * after


def numpy_writes(x):
    y = np.zeros_like(x)
    np.copyto(y, x)
    np.copyto(y, 2 * x, where=np.array([True, False, False, True]))
    np.put(y, [1, -1], [x[0], x[1]])
    np.add.at(y, [0, 0, 2], x[1:])
    m = np.ones((4, 4), like=x)
    np.fill_diagonal(m, y)
    np.put_along_axis(m, np.array([[1], [2], [3], [0]]), x[:, None], 1)
    np.putmask(m, m == 1.0, x)
    np.place(y, np.array([True, True, False, False]), x[2:])
    np.multiply(m, y, out=m)
    return m


def methods(x):
    y = x * 2
    y.sort()
    z = np.empty_like(x)
    z.fill(3.0)
    z.put([0, 2], x[:2])
    return y * z


def advanced(x):
    y = np.zeros((3, 4), like=x)
    y[[0, 2], [1, 3]] += x[:2]
    y[[0, 0], 1] += x[2]
    y[:, [0, 1]] = x[2:]
    y[1, ...] -= x
    return y


def no_gradient(x):
    y = np.floor(x * 3)
    y[0] = x[0] ** 2
    n = np.zeros_like(x, dtype=int)
    n[1:] += 2
    return y * n


def matmul(x):
    m = fnp.eye(4)
    m[0] = x
    m @= m
    m[:2] @= m
    return m


EXAMPLES = [
    shifted_sum, mask, out_of_an_operation, rows, filled_in_a_loop, stencil, in_place_diffusion, kalman, history, scalars,
    array_without_axes, alias, view_written_through, halves, reshaped, saved_view, numpy_writes, methods, advanced,
    no_gradient, matmul,
]  # fmt: skip


def scanned(f):
    return lambda x: lax.scan(lambda c, row: (0.9 * c, f(row * c)), 1.0, fnp.stack([x, 0.9 * x]))[1]


def looped(f):
    return lambda x: f(lax.fori_loop(0, 2, lambda i, c: c + 0.01 * fnp.tanh(fnp.sum(f(c)) + i), x))


def chosen(f):
    return lambda x: lax.cond(x[0] < 10.0, f, lambda x: 0 * f(x), x)


def customized(f):
    g = fg.custom_jvp(f)
    g.defjvp(lambda primals, tangents: fg.jvp(f, primals, tangents))
    return g


def customized_backwards(f):
    g = fg.custom_vjp(f)

    def forward(x):
        return f(x), x

    g.defvjp(forward, lambda x, ct: fg.vjp(f, x)[1](ct))
    return g


WRAPPERS = [fg.jit, fg.checkpoint, scanned, looped, chosen, customized, customized_backwards]
BY_NAME = pytest.mark.parametrize("f", EXAMPLES, ids=lambda f: f.__name__)


def close(got, want):
    assert (np.shape(got), np.asarray(got).dtype) == (np.shape(want), np.asarray(want).dtype)
    np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9)


def numeric_jacobian(f, x, h=1e-6):
    columns = [(np.asarray(f(x + h * e)) - np.asarray(f(x - h * e))) / (2 * h) for e in np.eye(len(x))]
    return np.stack(columns, -1)


@BY_NAME
def test_value_under_each_transform(f):
    x = X.copy()
    want = f(x)
    close(fg.jit(f)(x), want)
    close(fg.jvp(f, (x,), (np.ones(4),))[0], want)
    close(fg.vjp(f, x)[0], want)
    close(fg.linearize(f, x)[0], want)
    grown = np.stack([x, x * 0.9, x + 0.1])
    close(fg.vmap(f)(grown), np.stack([f(r) for r in grown]))
    close(fg.jit(fg.vmap(f))(grown), np.stack([f(r) for r in grown]))
    np.testing.assert_array_equal(x, X)


@BY_NAME
def test_derivatives(f):
    check_grads(f, (X,), order=2, tol=2e-5)
    want = numeric_jacobian(f, X)
    for jacobian in (fg.jacfwd(f), fg.jacrev(f), fg.jit(fg.jacrev(f)), fg.jacrev(fg.jit(f))):
        np.testing.assert_allclose(jacobian(X), want, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("wrap", WRAPPERS, ids=lambda w: w.__name__)
@BY_NAME
def test_nested(f, wrap):
    """Each transform of the function in a jit, a loop, a branch, a checkpoint or a custom rule."""
    if f in (methods, no_gradient) and wrap is looped:
        pytest.skip("the loop lands where the function has no derivative")
    g = wrap(f)
    want = g(X)
    if wrap not in (scanned, looped):
        close(want, f(X))
    close(fg.jit(g)(X), want)
    rows = np.stack([X, X * 0.9])
    close(fg.vmap(g)(rows), np.stack([g(r) for r in rows]))
    total = lambda x: np.sum(np.tanh(g(x) / 10))
    gradient = fg.grad(total)(X)
    np.testing.assert_allclose(gradient, numeric_jacobian(total, X), rtol=2e-5, atol=2e-5)
    close(fg.jit(fg.grad(total))(X), gradient)
    close(fg.vmap(fg.grad(total))(rows)[0], gradient)
    close(fg.grad(lambda x: fg.vmap(total)(np.stack([x, x])).sum())(X), 2 * gradient)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@BY_NAME
def test_dtypes(f, dtype):
    x = X.astype(dtype)
    want = f(x)
    got = fg.jit(f)(x)
    assert got.dtype == want.dtype
    np.testing.assert_allclose(got, want, rtol=1e-4, atol=1e-4)


# The dtype and the shape of the left side ------------------------------------------------------------------------------

OPERATORS = ["+=", "-=", "*=", "/=", "//=", "%=", "**=", "@=", "&=", "|=", "^=", "<<=", ">>="]
VALUES = {
    "bool": np.array([[True, False], [True, True]]),
    "int8": np.array([[5, 3], [2, 1]], np.int8),
    "int64": np.array([[7, 3], [2, 4]]),
    "uint8": np.array([[7, 3], [2, 4]], np.uint8),
    "float32": np.array([[0.5, 2.0], [1.5, 3.0]], np.float32),
    "float64": np.array([[0.25, 2.0], [1.5, 3.0]]),
    "complex128": np.array([[0.25 + 1j, 2.0], [1.5j, 3.0]]),
    "int": 2,
    "float": 0.5,
    "row": np.array([1.5, 2.5]),
    "too large": np.ones((3, 2, 2)),
}


def augmented(operator):
    scope = {}
    exec(f"def f(x, v):\n    y = x.copy()\n    y {operator} v\n    return y", scope)
    return scope["f"]


@pytest.mark.parametrize("operator", OPERATORS)
def test_augmented_assignment_casts_as_numpy_does(operator):
    f = augmented(operator)
    for left in ("bool", "int8", "int64", "uint8", "float32", "float64", "complex128"):
        for right, v in VALUES.items():
            try:
                with np.errstate(all="ignore"):
                    want = f(VALUES[left], v)
            except Exception as error:
                with pytest.raises((type(error), FuncgradError, ValueError)) as caught:
                    fg.jit(lambda x, v=v: f(x, v))(VALUES[left])
                if type(error) is caught.type and caught.type.__name__ == "_UFuncOutputCastingError":
                    assert str(caught.value) == str(error), (left, right)
                continue
            got = fg.jit(lambda x, v=v: f(x, v))(VALUES[left])
            assert got.dtype == want.dtype == VALUES[left].dtype, (left, right)
            np.testing.assert_allclose(got, want, rtol=1e-6, err_msg=f"{left} {operator} {right}")


def test_the_numpy_error_for_a_cast():
    with pytest.raises(np._core._exceptions._UFuncOutputCastingError, match="Cannot cast ufunc 'add' output"):
        fg.jit(lambda n: augmented("+=")(n, 0.5))(np.arange(3))


def test_assignment_keeps_the_dtype_and_raises_where_numpy_would_truncate():
    def f(x):
        n = np.zeros(3, np.float32, like=x)
        n[0] = x[0]
        return n

    assert fg.jit(f)(X).dtype == np.float32
    with pytest.raises(TypeError, match="astype"):
        fg.jit(lambda x: augmented_set(np.zeros(3, int, like=x), x[0]))(X)


def augmented_set(y, v):
    y[0] = v
    return y


# Views -----------------------------------------------------------------------------------------------------------------

MATRIX = np.arange(12.0).reshape(3, 4)
VIEWS = {
    "slice": lambda y: y[1:],
    "row": lambda y: y[0],
    "all": lambda y: y[:],
    "ellipsis": lambda y: y[..., 0],
    "element": lambda y: y[0, 0, ...],
    "newaxis": lambda y: y[None],
    "T": lambda y: y.T,
    "mT": lambda y: y.mT,
    "real": lambda y: y.real,
    "np.real": lambda y: np.real(y),
    "transpose": lambda y: np.transpose(y, (0, 1)),
    "swapaxes": lambda y: y.swapaxes(0, 1),
    "moveaxis": lambda y: np.moveaxis(y, 0, 1),
    "rollaxis": lambda y: np.rollaxis(y, 1),
    "permute_dims": lambda y: np.permute_dims(y, (1, 0)),
    "reshape": lambda y: y.reshape(4, 3),
    "same shape": lambda y: np.reshape(y, (3, 4)),
    "ravel": lambda y: y.ravel(),
    "np.ravel": lambda y: np.ravel(y),
    "squeeze": lambda y: np.squeeze(y),
    "expand_dims": lambda y: np.expand_dims(y, 0),
    "broadcast_to": lambda y: np.broadcast_to(y, (2, 3, 4)),
    "broadcast_arrays": lambda y: np.broadcast_arrays(y, np.ones((2, 1, 1)))[0],
    "atleast_3d": lambda y: np.atleast_3d(y),
    "flip": lambda y: np.flip(y),
    "fliplr": lambda y: np.fliplr(y),
    "rot90": lambda y: np.rot90(y),
    "diagonal": lambda y: np.diagonal(y),
    "diag": lambda y: np.diag(y),
    "linalg.diagonal": lambda y: np.linalg.diagonal(y),
    "linalg.matrix_transpose": lambda y: np.linalg.matrix_transpose(y),
    "split": lambda y: np.split(y, 3)[0],
    "hsplit": lambda y: np.hsplit(y, 2)[0],
    "array_split": lambda y: np.array_split(y, 2)[0],
    "unstack": lambda y: np.unstack(y)[0],
    "iteration": lambda y: next(iter(y)),
    "unpacking": lambda y: (lambda a, *_: a)(*y),
    "windows": lambda y: np.lib.stride_tricks.sliding_window_view(y, 2, 1),
    "meshgrid": lambda y: np.meshgrid(y[0], y[1], copy=False)[0],
    "einsum": lambda y: np.einsum("ij->ji", y),
    "view of a view": lambda y: y[0][1:].reshape(3, 1),
}
FRESH = {
    "copy": lambda y: y.copy(),
    "np.copy": lambda y: np.copy(y),
    "np.array": lambda y: np.array(y, like=y),
    "flatten": lambda y: y.flatten(),
    "advanced": lambda y: y[[0, 1]],
    "astype": lambda y: y.astype(float),
    "positive": lambda y: +y,
    "power of one": lambda y: y**1,
    "abs": lambda y: abs(y),
    "round": lambda y: np.round(y, 20),
    "conj": lambda y: np.conj(y),
    "concatenate": lambda y: np.concatenate([y]),
    "concat": lambda y: np.concatenate((y,), axis=-1),
    "vstack": lambda y: np.vstack([y]),
    "hstack": lambda y: np.hstack([y]),
    "block": lambda y: np.block([y]),
    "sum": lambda y: np.sum(y, axis=()),
    "keywords": lambda y: np.sum(a=y, axis=()),
    "max": lambda y: np.max(y, axis=()),
    "roll": lambda y: np.roll(y, 0),
    "repeat": lambda y: np.repeat(y, 1, axis=0),
    "tile": lambda y: np.tile(y, 1),
    "pad": lambda y: np.pad(y, 0),
    "clip": lambda y: np.clip(y, None, None),
    "where": lambda y: np.where(True, y, y),
    "nan_to_num": lambda y: np.nan_to_num(y),
    "delete": lambda y: np.delete(y, [], axis=0),
    "resize": lambda y: np.resize(y, (3, 4)),
    "take": lambda y: np.take(y, [0, 1, 2], axis=0),
    "compress": lambda y: np.compress([True] * 3, y, axis=0),
    "sort": lambda y: np.sort(y),
    "tril": lambda y: np.tril(y, 9),
    "fill": lambda y: np.full((3, 4), y, like=y),
    "select": lambda y: np.select([True], [y]),
    "cumsum": lambda y: np.cumsum(y, axis=0),
    "einsum": lambda y: np.einsum("ij,j->ij", y, np.ones(4)),
    "fft": lambda y: np.real(np.fft.ifft(np.fft.fft(y))),
    "jit": lambda y: fg.jit(lambda y: y)(y),
    "vmap": lambda y: fg.vmap(lambda y: y)(y),
    "grad": lambda y: fg.vjp(lambda y: y, y)[0],
    "cond": lambda y: lax.cond(True, lambda y: y, lambda y: y, y),
    "tree": lambda y: lax.stop_gradient(y) + 0,
}
TRANSFORMS = {
    "jit": lambda f: fg.jit(f)(MATRIX),
    "grad": lambda f: fg.vjp(f, MATRIX)[0],
    "jvp": lambda f: fg.jvp(f, (MATRIX,), (MATRIX,))[0],
    "vmap": lambda f: fg.vmap(f)(np.stack([MATRIX, MATRIX]))[0],
    "jit of grad": lambda f: fg.jit(lambda x: fg.vjp(f, x)[0])(MATRIX),
    "vmap of grad": lambda f: fg.vmap(lambda x: fg.vjp(f, x)[0])(np.stack([MATRIX, MATRIX]))[0],
}
EACH_TRANSFORM = pytest.mark.parametrize("run", TRANSFORMS.values(), ids=TRANSFORMS)


@EACH_TRANSFORM
@pytest.mark.parametrize("name", VIEWS)
def test_a_view_is_stale_after_its_array_was_written_to(name, run):
    def f(x):
        y = x * 2.0
        v = VIEWS[name](y)
        y *= 3.0
        return v * 1.0

    def returned(x):
        y = x * 2.0
        v = VIEWS[name](y)
        y[...] = 3.0
        return v

    for g in (f, returned):
        with pytest.raises(StaleViewError, match=r"\.copy\(\)") as caught:
            run(g)
        text = str(caught.value)
        assert "v = VIEWS[name](y)" in text or "lambda y" in text
        assert "y *= 3.0" in text or "y[...] = 3.0" in text


@EACH_TRANSFORM
@pytest.mark.parametrize("name", VIEWS)
def test_writing_to_a_view_never_differs_silently(name, run):
    def f(x):
        y = x * 2.0
        v = VIEWS[name](y)
        v[...] = 7.0
        return v * 1.0, y * 1.0

    if name in ("meshgrid", "broadcast_arrays"):
        with pytest.raises(InPlaceError, match="read-only"):
            run(lambda x: f(x)[0])
        return
    for i in (0, 1):
        try:
            got = run(lambda x, i=i: f(x)[i])
        except FuncgradError:
            continue
        np.testing.assert_array_equal(got, f(MATRIX)[i])


@EACH_TRANSFORM
@pytest.mark.parametrize("name", FRESH)
def test_a_result_that_is_no_view_is_an_array_of_its_own(name, run):
    def f(x):
        y = x * 2.0
        v = FRESH[name](y)
        y[0] = -5.0
        w = v * 1.0
        v *= 2.0
        return np.sum(y) + 100 * np.sum(w) + 1e4 * np.sum(v)

    np.testing.assert_allclose(run(f), f(MATRIX))


def test_the_same_object_is_the_same_array():
    def f(x):
        y = x * 2.0
        a, b = fnp.asarray(y), y.astype(float, copy=False)
        a[0] = 1.0
        b[1] = 2.0
        return y

    for run in TRANSFORMS.values():
        np.testing.assert_array_equal(run(f), f(MATRIX))


def test_views_that_do_not_overlap_stay_valid():
    def f(x):
        y = x * 2.0
        even, odd, row = y[:, ::2], y[:, 1::2], y[0]
        odd[1:] = 0.0
        even[0] += 1.0
        y[2] = 4.0
        return row * 1.0 + y[1]

    for run in TRANSFORMS.values():
        with pytest.raises(StaleViewError):
            run(f)

    def g(x):
        y = x * 2.0
        even, odd, row = y[:, ::2], y[:, 1::2], y[0]
        odd[1:] = 0.0
        y[2, 1] = 4.0
        return even.sum() * row

    for run in TRANSFORMS.values():
        np.testing.assert_array_equal(run(g), g(MATRIX))


def test_a_traced_index():
    def f(x, i):
        y = x * 2.0
        y[i] = y[i + 1] * 3.0
        row = y[i]
        row[1] = 5.0
        y[i, 0] += 1.0
        return y

    want = f(MATRIX, np.int64(1))
    np.testing.assert_array_equal(fg.jit(f)(MATRIX, 1), want)
    np.testing.assert_array_equal(fg.vmap(f)(np.stack([MATRIX, MATRIX]), np.array([1, 0]))[0], want)


def test_a_saved_gradient_does_not_see_later_writes():
    def f(x):
        y = x * 1.0
        z, pull = fg.vjp(lambda w: w * w * y, y)
        y[0] = 100.0
        z[1] = 50.0
        (g,) = pull(np.ones_like(x))
        return g + 0 * z.sum()

    want = 2 * X**2
    for g in (fg.jit(f), lambda x: fg.vjp(f, x)[0], lambda x: fg.vmap(f)(x[None])[0]):
        np.testing.assert_allclose(g(X), want)


# Random programs -------------------------------------------------------------------------------------------------------


@st.composite
def programs(draw):
    """Statements over the arrays a, b, c and the argument x, of 3 by 3 elements each."""
    lines = []
    names = ["a", "b"]
    fresh = 0
    for _ in range(draw(st.integers(1, 8))):
        y = draw(st.sampled_from(names))
        z = draw(st.sampled_from([*names, "x"]))
        index = draw(
            st.sampled_from(["0", "1:", ":, 1", "...", "::-1", ":2, ::2", "[0, 2]", "-1, 0", "[0, 0], [1, 1]"])
        )
        operator = draw(st.sampled_from(["=", "+=", "*=", "-="]))
        kind = draw(st.sampled_from(["view", "write", "write", "whole", "alias", "fresh", "scalar", "chain", "other"]))
        if kind == "view":
            how = ["[:]", "[:, :]", ".T", ".reshape(3, 3)", "[::-1]", ".copy()", "[[0, 1, 2]]", ".swapaxes(0, 1)"]
            fresh += 1
            lines.append(f"v{fresh} = {y}{draw(st.sampled_from(how))}")
            names.append(f"v{fresh}")
        elif kind == "write":
            lines.append(f"{y}[{index}] {operator} {z}[{index}] * 0.5")
        elif kind == "whole":
            lines.append(f"{y} {'*=' if operator == '=' else operator} {z} + 1")
        elif kind == "alias":
            lines.append(f"{y} = {draw(st.sampled_from(names))}")
        elif kind == "fresh":
            lines.append(f"{y} = {z} * 2 - {draw(st.sampled_from(names))}")
        elif kind == "scalar":
            lines.append(f"s = {z}[1, 1]; t = s; s += 1; {y}[0, {draw(st.integers(0, 2))}] {operator} s * t")
        elif kind == "chain":
            lines.append(f"{y}[1][{draw(st.integers(0, 2))}] {operator} {z}[0, 0]; {y}[1:][0] {operator} {z}[2]")
        else:
            lines.append(f"np.add({y}, {z}, out={y}); {y}.sort(axis=0)")
    results = ", ".join(draw(st.permutations(names)))
    body = "\n    ".join(["a = x * 1.5", "b = np.ones_like(x)", *lines])
    return f"def f(x):\n    {body}\n    return sum((i + 1) * y for i, y in enumerate([{results}]))"


@settings(deadline=None, max_examples=60)
@given(programs())
def test_random_programs_give_what_numpy_gives_or_raise(text):
    scope = {"np": np}
    exec(text, scope)
    f, x = scope["f"], np.random.default_rng(0).standard_normal((3, 3))
    want = f(x)
    for run in (
        lambda: fg.jit(f)(x),
        lambda: fg.vjp(f, x)[0],
        lambda: fg.vmap(f)(np.stack([x, x + 1]))[0],
        lambda: fg.jit(lambda x: fg.vjp(f, x)[0])(x),
    ):
        try:
            got = run()
        except InPlaceError:
            continue
        np.testing.assert_allclose(got, want, rtol=1e-9, atol=1e-9, err_msg=text)


# Plain values stay plain -----------------------------------------------------------------------------------------------


def test_constants_made_inside_can_be_looked_at():
    def f(x):
        z = fnp.zeros(4)
        z[0] = 2.0
        n = np.zeros_like(x, dtype=int)
        n[1] = 3
        table = np.arange(10.0)
        assert np.asarray(fnp.ones(3)).sum() == 3.0
        return x * table[n] if z[0] > 1 and n[1] == 3 else x

    want = X * np.array([0.0, 3.0, 0.0, 0.0])
    np.testing.assert_array_equal(fg.vjp(f, X)[0], want)


def test_unmapped_values_stay_concrete_under_vmap():
    def f(x):
        z = fnp.zeros(4)
        z[0] = 2.0
        return x if z[0] > 1 else -x

    np.testing.assert_array_equal(fg.vmap(f)(X[None])[0], X)


def test_a_loop_whose_body_writes_to_a_copy_of_its_carry():
    def f(x):
        def body(i, y):
            y = y.copy()
            y[i] = x[i] * 2
            return y

        return lax.fori_loop(0, x.shape[0], body, fnp.zeros_like(x))

    np.testing.assert_array_equal(fg.jit(f)(np.arange(9.0)), 2 * np.arange(9.0))
