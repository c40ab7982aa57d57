"""numpy.linalg and scipy.linalg: values against NumPy and SciPy; derivatives to second order; jit, vmap; errors."""

import numpy as np
import pytest
from numpy_oracle import assert_same, flat, staged

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import primitives as prim
from funcgrad.testing import check_grads

la, sla = fnp.linalg, fg.scipy.linalg
DTYPES = ["float32", "float64", "complex64", "complex128"]
INEXACT = ["float64", "complex128"]
LOOSE = {"float32": 2e-3, "complex64": 2e-3, "float64": 1e-9, "complex128": 1e-9}


def normal(*shape, dtype="float64", seed=0):
    rng = np.random.default_rng([seed, *shape])
    x = rng.standard_normal(shape)
    if np.dtype(dtype).kind == "c":
        x = x + 1j * rng.standard_normal(shape)
    return np.asarray(x, dtype)


def well(*stack, n, dtype="float64", seed=0):
    """Matrices that are far from singular."""
    return (normal(*stack, n, n, dtype=dtype, seed=seed) + 3 * np.eye(n)).astype(dtype)


def dagger(x):
    return np.conj(np.swapaxes(x, -1, -2))


def herm(x):
    return (x + fnp.conj(fnp.swapaxes(x, -1, -2))) / 2


def positive(*stack, n, dtype="float64", seed=0):
    x = normal(*stack, n, n, dtype=dtype, seed=seed)
    return (x @ dagger(x) + np.eye(n)).astype(dtype)


def tolerance(*args):
    return max(LOOSE.get(np.asarray(x).dtype.name, 1e-9) for x in args)


def compare(name, *args, **keywords):
    """Staged, through NumPy's own name, under jit, and eagerly: all are NumPy's answer."""
    want = getattr(np.linalg, name)(*args, **keywords)
    tol = tolerance(*args)
    for f in (getattr(la, name), getattr(np.linalg, name)):
        assert_same(staged(lambda *xs, f=f: f(*xs, **keywords), *args), want, tol)
    got = fg.jit(lambda *xs: getattr(la, name)(*xs, **keywords))(*args)
    assert_same(got, want, tol)
    assert type(got) is type(want) or not isinstance(want, tuple)
    assert_same(getattr(la, name)(*args, **keywords), want, tol)


def check(f, *args, order=2, tol=2e-5):
    """Derivatives, forward and reverse; and jit and vmap equal f and the loop over f."""
    check_grads(f, args, order=order, tol=tol)
    assert_same(fg.jit(f)(*args), f(*args), 1e-9)
    rows = [np.stack([x, 0.9 * x, 1.1 * x]) for x in args]
    want = [flat(f(*(r[i] for r in rows))) for i in range(3)]
    got = flat(fg.vmap(f)(*rows))
    for g, *w in zip(got, *want, strict=True):
        np.testing.assert_allclose(g, np.stack(w), rtol=1e-8, atol=1e-9)


# Values ---------------------------------------------------------------------------------------------------------------

STACKS = [(), (2,), (2, 3), (0,)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stack", STACKS, ids=str)
@pytest.mark.parametrize("n", [0, 1, 4])
def test_square_values(dtype, stack, n):
    a = well(*stack, n=n, dtype=dtype)
    for name in ("inv", "det", "slogdet", "matrix_rank", "trace", "diagonal", "matrix_transpose", "matrix_norm"):
        compare(name, a)
    p = positive(*stack, n=n, dtype=dtype)
    compare("cholesky", p)
    compare("cholesky", p, upper=True)
    compare("eigvalsh", p)
    compare("eigvalsh", p, UPLO="U")
    compare("solve", a, normal(*stack, n, 2, dtype=dtype))
    compare("solve", a, normal(n, dtype=dtype))
    for k in (-2, 0, 1, 5):
        compare("matrix_power", a, n=k)
    if n:
        for order in (None, 2, -2, 1, -1, np.inf, -np.inf, "fro"):
            compare("cond", a, p=order)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 3), (3, 4), (3, 3), (2, 5, 3), (2, 3, 5), (1, 1), (3, 0), (0, 3)], ids=str)
def test_rectangular_values(dtype, shape):
    a = normal(*shape, dtype=dtype)
    for mode in ("reduced", "complete", "r"):
        compare("qr", a, mode=mode)
    for keywords in ({}, {"full_matrices": False}, {"compute_uv": False}):
        compare("svd", a, **keywords)
    compare("svdvals", a)
    compare("pinv", a)
    compare("pinv", a, rtol=None)
    compare("pinv", a, rcond=0.3)
    compare("matrix_rank", a)
    compare("matrix_rank", a, tol=0.5)
    compare("matrix_rank", a, rtol=0.5)
    if len(shape) == 2 and 0 not in shape:
        for b in (normal(shape[0], dtype=dtype), normal(shape[0], 2, dtype=dtype)):
            compare("lstsq", a, b)
            compare("lstsq", a, b, rcond=0.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 4), (2, 3, 3), (1, 1), (0, 0)], ids=str)
def test_eigenvalues_and_vectors(dtype, shape):
    a = normal(*shape, dtype=dtype)
    kind = np.result_type(a, np.complex64)
    w, v = fg.jit(la.eig)(a)
    assert (w.dtype, v.dtype) == (kind, kind)
    assert_same((w, v), tuple(x.astype(kind) for x in np.linalg.eig(a)), LOOSE[dtype])
    assert_same(fg.jit(la.eigvals)(a), np.linalg.eigvals(a).astype(kind), LOOSE[dtype])
    assert_same(la.eigvals(a), fg.jit(la.eigvals)(a), LOOSE[dtype])
    for UPLO in "LU":
        compare("eigh", a, UPLO=UPLO)


def test_hermitian_keyword():
    a = herm(normal(4, 4))
    s = np.linalg.svd(a, hermitian=True)[1]
    assert_same(fg.jit(lambda x: la.svd(x, hermitian=True)[1])(a), s, 1e-12)
    compare("pinv", a, hermitian=True)
    compare("matrix_rank", a, hermitian=True)


ORDERS = [None, 0, 1, 2, 3, 0.5, -1, -2.5, np.inf, -np.inf]


@pytest.mark.parametrize("dtype", ["int32", "float16", *DTYPES])
def test_norms(dtype):
    x = (3 * normal(3, 4, 2)).astype(dtype) if dtype == "int32" else normal(3, 4, 2, dtype=dtype)
    tol = 5e-3 if dtype == "float16" else 1e-3 if dtype in ("float32", "complex64") else 1e-9

    def both(f, **keywords):
        with np.errstate(all="ignore"):
            want = f(np.linalg, x, **keywords)
        assert_same(staged(lambda x: f(la, x, **keywords), x), want, tol)
        assert_same(staged(lambda x: f(np.linalg, x, **keywords), x), want, tol)

    for order in ORDERS:
        for axis in (0, -1):
            for keepdims in (False, True):
                both(lambda m, x, **k: m.norm(x, **k), ord=order, axis=axis, keepdims=keepdims)
        if order is not None:
            both(lambda m, x, **k: m.vector_norm(x, **k), ord=order, axis=(2, 0), keepdims=True)
            both(lambda m, x, **k: m.vector_norm(x, **k), ord=order)
        both(lambda m, x, **k: m.norm(x[:, 0, 0], **k), ord=order)
    both(lambda m, x: m.norm(x))
    both(lambda m, x: m.norm(x, keepdims=True))
    if dtype == "float16":
        return
    for order in (None, "fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
        for axis in ((0, 1), (2, 0), (-1, -2)):
            both(lambda m, x, **k: m.norm(x, **k), ord=order, axis=axis)
            both(lambda m, x, **k: m.norm(x, **k), ord=order, axis=axis, keepdims=True)
        both(lambda m, x, **k: m.matrix_norm(x, **k), ord="fro" if order is None else order)


def test_norms_of_nothing():
    compare("norm", np.zeros((0,)))
    compare("norm", np.zeros((0,)), ord=np.inf)
    compare("norm", np.zeros((0, 3)), ord=1)
    compare("norm", np.zeros((0, 3)), ord="nuc")
    compare("norm", np.zeros((0, 3)), ord=2)


def test_products_and_tensors():
    compare("outer", normal(3), normal(4))
    compare("cross", normal(2, 3), normal(3))
    compare("vecdot", normal(2, 3, dtype="complex128"), normal(3, dtype="complex128"))
    compare("matmul", normal(2, 3), normal(3, 2))
    compare("tensordot", normal(2, 3), normal(3, 2), axes=1)
    compare("trace", normal(2, 3, 4), offset=1)
    compare("diagonal", normal(2, 3, 4), offset=-1)
    a = normal(2, 3, 6) + np.eye(6).reshape(2, 3, 6)
    compare("tensorsolve", a, normal(2, 3))
    compare("tensorsolve", normal(2, 6, 3), normal(2, 3), axes=(1,))
    compare("tensorinv", a)
    compare("tensorinv", normal(6, 2, 3), ind=1)
    shapes = [(10, 3), (3, 20), (20, 2), (2, 5)]
    for arrays in ([normal(*s) for s in shapes], [normal(10), normal(10, 4), normal(4)], [normal(3), normal(3)]):
        want = np.linalg.multi_dot(arrays)
        assert_same(staged(lambda *xs: la.multi_dot(xs), *arrays), want, 1e-10)
        assert_same(staged(lambda *xs: np.linalg.multi_dot(xs), *arrays), want, 1e-10)
        assert_same(la.multi_dot(arrays), want, 1e-10)


def test_multi_dot_takes_the_cheap_order():
    jaxpr = fg.make_jaxpr(lambda *xs: la.multi_dot(xs))(normal(50, 2), normal(2, 50), normal(50, 2))
    assert [e.outputs[0].aval.shape for e in jaxpr.eqns] == [(2, 2), (50, 2)]


def test_integers_are_computed_in_float64():
    a = np.array([[4, 1], [1, 3]])
    for name in ("inv", "det", "cholesky", "svdvals", "eigvalsh", "matrix_rank", "slogdet"):
        compare(name, a)
    compare("solve", a, np.array([1.0, 2.0], "float32"))
    compare("matrix_power", a, n=3)


# Derivatives ----------------------------------------------------------------------------------------------------------


def near(x):
    """A function of a complex or real result whose value is real, as check_grads' second order wants none else."""
    return fnp.concatenate([fnp.ravel(fnp.real(x)), fnp.ravel(fnp.imag(x))]) if x.dtype.kind == "c" else x


@pytest.mark.parametrize("dtype", INEXACT)
def test_derivatives_of_systems_and_determinants(dtype):
    a = well(n=3, dtype=dtype)
    check(la.inv, a)
    check(la.det, a)
    check(lambda x: near(la.slogdet(x)[0]) if x.dtype.kind == "c" else la.slogdet(x)[1], a)
    check(lambda x: la.slogdet(x)[1], a)
    check(la.solve, a, normal(3, 2, dtype=dtype))
    check(la.solve, a, normal(3, dtype=dtype))
    check(la.solve, well(2, n=2, dtype=dtype), normal(2, 2, dtype=dtype))
    check(lambda x: la.matrix_power(x, 3), a)
    check(lambda x: la.matrix_power(x, -2), a, tol=1e-4)
    check(lambda *xs: la.multi_dot(xs), normal(2, 3, dtype=dtype), normal(3, 2, dtype=dtype), normal(2, dtype=dtype))


@pytest.mark.parametrize("dtype", INEXACT)
@pytest.mark.parametrize("n", [1, 2, 3, 4])
def test_determinant_of_singular_matrices(dtype, n):
    a = normal(n, n, dtype=dtype)
    for rank in range(n):
        u, s, vh = np.linalg.svd(a)
        singular = (u[:, :rank] * s[:rank]) @ vh[:rank]
        check_grads(la.det, (singular,), order=2)
        check_grads(la.det, (np.diag(np.arange(float(n)) >= n - rank).astype(dtype),), order=2)
    check_grads(la.det, (np.eye(n, dtype=dtype),), order=2)
    check_grads(la.det, (np.zeros((n, n), dtype),), order=2)
    others = np.delete(np.delete(a, 0, 0), 0, 1)
    np.testing.assert_allclose(fg.jit(prim.cofactor)(a)[0, 0], np.linalg.det(others), rtol=1e-9)


@pytest.mark.parametrize("dtype", INEXACT)
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (1, 1)], ids=str)
def test_derivatives_of_pinv_and_lstsq(dtype, shape):
    a = normal(*shape, dtype=dtype)
    check(la.pinv, a, tol=1e-4)
    b = normal(shape[0], dtype=dtype)
    check(lambda a, b: la.lstsq(a, b)[0], a, b, tol=1e-4)
    if shape[0] > shape[1]:
        check(lambda a, b: la.lstsq(a, b)[1], a, b, tol=1e-4)
    # Of deficient rank, along tangents that keep it.
    u, v = normal(3, 1, dtype=dtype), normal(1, 3, dtype=dtype)
    check_grads(lambda u, v: la.pinv(u @ v, rcond=1e-6), (u, v), order=2, tol=1e-4)


@pytest.mark.parametrize("dtype", INEXACT)
def test_derivatives_of_cholesky(dtype):
    a = positive(n=3, dtype=dtype)
    check(lambda x: la.cholesky(herm(x)), a)
    check(lambda x: la.cholesky(herm(x), upper=True), a)
    check(lambda x: la.cholesky(herm(x)), positive(2, n=2, dtype=dtype))
    gradient = fg.grad(lambda x: fnp.sum(fnp.real(la.cholesky(x)) ** 3))(a)
    np.testing.assert_allclose(gradient, dagger(gradient), atol=1e-12)


@pytest.mark.parametrize("dtype", INEXACT)
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 3, 2), (1, 1)], ids=str)
def test_derivatives_of_qr(dtype, shape):
    a = normal(*shape, dtype=dtype)
    check(lambda x: la.qr(x).Q, a, tol=1e-4)
    check(lambda x: la.qr(x).R, a, tol=1e-4)
    check(lambda x: la.qr(x, mode="r"), a, tol=1e-4)
    check(lambda x: la.qr(x, mode="complete").R, a, tol=1e-4)

    def projector(x):
        rest = la.qr(x, mode="complete").Q[..., min(shape[-2:]) :]
        return rest @ fnp.conj(fnp.swapaxes(rest, -1, -2))

    if shape[-2] > shape[-1]:
        check(projector, a, tol=1e-4)


@pytest.mark.parametrize("dtype", INEXACT)
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (5, 3), (2, 1), (3, 1)], ids=str)
def test_derivatives_of_lu(dtype, shape):
    for a in (normal(*shape, dtype=dtype), normal(*shape[::-1], dtype=dtype)):
        # The pivots must not change between the points of the difference quotient.
        check(lambda x: sla.lu(x)[1:], a, tol=2e-4)
        check(lambda x: sla.lu(x, permute_l=True)[0], a, tol=2e-4)


@pytest.mark.parametrize("dtype", INEXACT)
def test_derivatives_of_eigenvalues(dtype):
    a = normal(3, 3, dtype=dtype)
    check(lambda x: la.eigvalsh(herm(x)), a)
    check(lambda x: la.eigh(herm(x)).eigenvalues, a)
    check(lambda x: near(la.eigvals(x)), a, tol=1e-4)
    check(lambda x: near(fnp.sum(la.eig(x).eigenvalues ** 3)), a, tol=1e-4)


@pytest.mark.parametrize("dtype", INEXACT)
def test_derivatives_of_eigenvectors(dtype):
    """Of functions that do not depend on the phases."""
    a = normal(3, 3, dtype=dtype)

    def of_hermitian(x, UPLO="L"):
        w, v = la.eigh(herm(x), UPLO)
        return fnp.einsum("...ij,...j,...kj->...ik", v, fnp.sin(w), fnp.conj(v)), fnp.abs(v[..., 0]) ** 2

    check(of_hermitian, a, tol=2e-4)
    check(lambda x: of_hermitian(x, "U"), a, tol=2e-4)

    def of_general(x):
        w, v = la.eig(x)
        return near((v * fnp.sin(w)[..., None, :]) @ la.inv(v)), fnp.abs(v)

    check(of_general, a, tol=5e-4)
    # V diag(w^2) V^-1 is a @ a.
    square = lambda x: fnp.real((lambda w, v: (v * w[None] ** 2) @ la.inv(v))(*la.eig(x)))
    t = normal(3, 3, dtype=dtype, seed=1)
    np.testing.assert_allclose(fg.jvp(square, (a,), (t,))[1], (a @ t + t @ a).real, atol=1e-9)


def rebuilt(u, s, vh):
    """A function of all three factors that does not depend on the phases."""
    k = s.shape[-1]
    first = (u[..., :k] * fnp.cos(s)[..., None, :]) @ vh[..., :k, :]
    return near(first), fnp.abs(u[..., :k]) ** 2, fnp.abs(vh[..., :k, :]) ** 2


@pytest.mark.parametrize("dtype", INEXACT)
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("shape", [(3, 3), (4, 2), (2, 4), (2, 3, 2), (1, 1)], ids=str)
def test_derivatives_of_svd(dtype, full, shape):
    a = normal(*shape, dtype=dtype)
    check(la.svdvals, a, tol=1e-4)
    check(lambda x: la.svd(x, full_matrices=full).S, a, tol=1e-4)
    check(lambda x: rebuilt(*la.svd(x, full_matrices=full)), a, tol=2e-4)
    if full and shape[-1] != shape[-2]:

        def projectors(x):
            u, s, vh = la.svd(x)
            k = s.shape[-1]
            rest = u[..., k:] @ fnp.conj(fnp.swapaxes(u[..., k:], -1, -2))
            return near(rest), near(fnp.conj(fnp.swapaxes(vh[..., k:, :], -1, -2)) @ vh[..., k:, :])

        check(projectors, a, tol=2e-4)


@pytest.mark.parametrize("dtype", INEXACT)
def test_derivatives_of_norms(dtype):
    x = normal(3, 4, dtype=dtype)
    for order in (None, 1, 2, 3, 0.5, -1, np.inf, -np.inf):
        check(lambda x, o=order: la.norm(x, o, axis=-1), x, tol=1e-4)
    for order in ("fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf):
        check(lambda x, o=order: la.norm(x, o), x, tol=1e-4)
    for order in (None, -2, 1, np.inf, "fro"):
        check(lambda x, o=order: la.cond(x, o), well(n=3, dtype=dtype), tol=1e-4)


@pytest.mark.parametrize("order", [None, 1, 2, 3, 1.5, 0.5, -1, 0, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", INEXACT)
def test_norms_have_no_nan_at_zero(order, dtype):
    for x in (np.zeros(3, dtype), np.array([0, 1, 0], dtype)):
        gradient = fg.grad(lambda x: la.norm(x, order))(x)
        assert np.isfinite(gradient).all()
        assert not x.any() or order in (-np.inf, -1) or order == 0 or np.abs(gradient[1]) == pytest.approx(1)
        if not x.any():
            assert not gradient.any()
        if dtype == "float64":
            assert np.isfinite(fg.hessian(lambda x: la.norm(x, order))(x)).all()


@pytest.mark.parametrize("order", ["fro", "nuc", 1, -1, 2, -2, np.inf, -np.inf])
def test_matrix_norms_have_no_nan_at_zero(order):
    assert not fg.grad(lambda x: la.norm(x, order))(np.zeros((3, 2))).any()


# Coinciding values ----------------------------------------------------------------------------------------------------


def test_coinciding_eigenvalues():
    rng = np.random.default_rng(0)
    q = np.linalg.qr(rng.normal(size=(4, 4)))[0]
    a = (q * [1.0, 1.0, 1.0, 4.0]) @ q.T
    t = herm(rng.normal(size=(4, 4)))

    def projector(x, safe=True):
        v = la.eigh(x, safe=safe).eigenvectors[:, :3]
        return v @ v.T

    # The projector on an eigenspace and symmetric functions of its eigenvalues have derivatives.
    h = 1e-5
    difference = (projector(a + h * t) - projector(a - h * t)) / (2 * h)
    np.testing.assert_allclose(fg.jvp(projector, (a,), (t,))[1], difference, atol=1e-8)
    gradient = fg.grad(lambda x: fnp.sum(la.eigvalsh(x) ** 2))(a)
    np.testing.assert_allclose(gradient, 2 * a, atol=1e-9)
    everything = fg.grad(lambda x: fnp.sum(la.eigh(x)[0] ** 2) + fnp.sum(la.eigh(x)[1] ** 2))(np.eye(3))
    np.testing.assert_allclose(everything, 2 * np.eye(3), atol=1e-12)
    for f in (fg.grad(lambda x: fnp.sum(projector(x, False))), fg.jit(fg.grad(lambda x: fnp.sum(projector(x, False))))):
        with pytest.raises(np.linalg.LinAlgError, match="safe=True"):
            f(a)
    # Where they do not coincide, both are the same.
    b = a + 0.1 * t
    np.testing.assert_allclose(fg.jvp(lambda x: projector(x, False), (b,), (t,))[1], fg.jvp(projector, (b,), (t,))[1])


def test_coinciding_singular_values():
    a = np.diag([2.0, 2.0, 1.0])[:, :2] @ np.linalg.qr(normal(2, 2))[0]
    np.testing.assert_allclose(fg.grad(lambda x: fnp.sum(la.svdvals(x) ** 2))(a), 2 * a, atol=1e-12)

    def projector(x, safe=True):
        u = la.svd(x, full_matrices=False, safe=safe).U
        return u @ u.T

    t, h = normal(3, 2), 1e-5
    difference = (projector(a + h * t) - projector(a - h * t)) / (2 * h)
    np.testing.assert_allclose(fg.jvp(projector, (a,), (t,))[1], difference, atol=1e-8)
    with pytest.raises(np.linalg.LinAlgError, match="safe=True"):
        fg.grad(lambda x: fnp.sum(projector(x, False)))(a)
    assert np.isfinite(fg.grad(lambda x: fnp.sum(la.svd(x).U[:, :1]))(np.zeros((3, 2)))).all()


def test_coinciding_eigenvalues_of_general_matrices():
    f = lambda x, safe: fnp.sum(fnp.abs(la.eig(x, safe=safe).eigenvectors) ** 2)
    assert np.isfinite(fg.grad(lambda x: f(x, True))(np.eye(3))).all()
    with pytest.raises(np.linalg.LinAlgError, match="safe=True"):
        fg.grad(lambda x: f(x, False))(np.eye(3))


# Transforms -----------------------------------------------------------------------------------------------------------


def test_one_matrix_for_all_rows_is_factorised_once():
    a, b = well(n=3), normal(5, 3, 2)
    text = str(fg.make_jaxpr(fg.vmap(la.solve, in_axes=(None, 0)))(a, b))
    assert "solve" in text
    assert "f64[5,3,3]" not in text
    assert_same(fg.vmap(la.solve, in_axes=(None, 0))(a, b), np.linalg.solve(a, b), 1e-12)
    assert_same(fg.vmap(la.solve, in_axes=(0, None))(well(5, n=3), b[0]), np.linalg.solve(well(5, n=3), b[0]), 1e-12)
    for left in (True, False):
        how = dict(left=left, lower=True, transpose=False, conj=False, unit_diagonal=False)
        f = lambda a, b, how=how: prim.triangular_solve(a, b, **how)
        rows = normal(5, 3, 3)
        assert_same(fg.vmap(f, in_axes=(None, 0))(a, rows), np.stack([f(a, r) for r in rows]), 1e-12)


@pytest.mark.parametrize("n", [1, 5, 48, 49, 130])
@pytest.mark.parametrize("dtype", INEXACT)
def test_triangular_solve(n, dtype):
    a = normal(n, n, dtype=dtype) / n + 2 * np.eye(n)
    for left in (True, False):
        b = normal(n, 3, dtype=dtype) if left else normal(3, n, dtype=dtype)
        for lower in (True, False):
            for transpose in (True, False):
                for conj in (True, False) if dtype == "complex128" else (False,):
                    for unit in (True, False):
                        x = prim.triangular_solve(
                            a, b, left=left, lower=lower, transpose=transpose, conj=conj, unit_diagonal=unit
                        )
                        t = np.tril(a) if lower else np.triu(a)
                        if unit:
                            t = t - np.diag(np.diag(t)) + np.eye(n)
                        t = t.conj() if conj else t
                        t = t.T if transpose else t
                        np.testing.assert_allclose(t @ x if left else x @ t, b, atol=1e-10)


@pytest.mark.parametrize("left", [True, False])
@pytest.mark.parametrize("lower", [True, False])
@pytest.mark.parametrize("transpose", [True, False])
@pytest.mark.parametrize("unit", [True, False])
def test_derivatives_of_triangular_solve(left, lower, transpose, unit):
    a, b = well(n=3, dtype="complex128"), normal(3, 3, dtype="complex128")
    f = lambda a, b: prim.triangular_solve(
        a, b, left=left, lower=lower, transpose=transpose, conj=lower, unit_diagonal=unit
    )
    check(f, a, b)
    check(f, well(2, n=3), normal(2, 3, 3)) if not lower else None


def test_third_order():
    check_grads(lambda x: la.slogdet(x)[1], (well(n=2),), order=3, tol=1e-4)
    check_grads(la.inv, (well(n=2),), order=3, tol=1e-4)
    check_grads(la.det, (well(n=2),), order=3, tol=1e-4)


def test_plain_numpy_code():
    def likelihood(x, y, scale):
        k = np.exp(-((x[:, None] - x[None]) ** 2) / scale**2) + 0.1 * np.eye(5)
        l = np.linalg.cholesky(k)
        z = np.linalg.solve(l, y)
        return -0.5 * z @ z - np.sum(np.log(np.diagonal(l)))

    args = np.linspace(0, 1, 5), normal(5), np.float64(0.5)
    check_grads(likelihood, args, order=2, tol=1e-4)
    np.testing.assert_allclose(fg.jit(likelihood)(*args), likelihood(*args))


# Errors ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["inv", "det", "slogdet", "cholesky", "eig", "eigh", "eigvals", "eigvalsh"])
def test_not_square(name):
    for bad in (np.zeros((2, 3)), np.zeros(3)):
        with pytest.raises(np.linalg.LinAlgError):
            getattr(np.linalg, name)(bad)
        for f in (getattr(la, name), fg.jit(getattr(la, name))):
            with pytest.raises(np.linalg.LinAlgError):
                f(bad)
    with pytest.raises(TypeError, match="float16"):
        fg.jit(getattr(la, name))(np.eye(2, dtype="float16"))


def test_no_solution_raises_in_programs_too():
    for f, bad in [
        (la.inv, np.zeros((2, 2))),
        (la.cholesky, -np.eye(2)),
        (lambda a: la.solve(a, np.ones(2)), np.zeros((2, 2))),
        (fg.grad(lambda a: la.slogdet(a)[1]), np.zeros((2, 2))),
        (fg.grad(lambda a: fnp.sum(la.qr(a).R)), np.zeros((2, 2))),
    ]:
        for g in (f, fg.jit(f)):
            with pytest.raises(np.linalg.LinAlgError):
                g(bad)


def test_operands_that_do_not_fit():
    eye = np.eye(2)
    for f, args, kind in [
        (la.solve, (eye, np.ones(3)), ValueError),
        (la.solve, (np.ones((2, 2, 2)), np.ones((3, 2, 2))), ValueError),
        (la.lstsq, (eye, np.ones(3)), np.linalg.LinAlgError),
        (la.tensorsolve, (np.ones((2, 3)), np.ones(2)), np.linalg.LinAlgError),
        (lambda x: la.norm(x, "bad"), (eye,), ValueError),
        (lambda x: la.norm(x, "bad"), (np.ones(2),), ValueError),
        (lambda x: la.norm(x, axis=(0, 0)), (eye,), ValueError),
        (lambda x: la.norm(x, 1), (np.ones((2, 2, 2)),), ValueError),
        (lambda x: la.eigh(x, "X"), (eye,), ValueError),
        (lambda x: la.qr(x, "bad"), (eye,), ValueError),
        (lambda x: la.multi_dot([x]), (eye,), ValueError),
        (lambda x: la.matrix_power(x, 0.5), (eye,), TypeError),
        (lambda x: la.outer(x, x), (eye,), ValueError),
        (la.cond, (np.zeros((0, 0)),), np.linalg.LinAlgError),
        (lambda x: la.tensorinv(x, ind=0), (eye,), ValueError),
        (lambda x: la.pinv(x, rcond=0.1, rtol=0.1), (eye,), ValueError),
    ]:
        for g in (f, fg.jit(f)):
            with pytest.raises(kind):
                g(*args)


def test_every_name_of_numpy():
    assert set(la.__all__) == set(np.linalg.__all__)


# SciPy ----------------------------------------------------------------------------------------------------------------


def oracle():
    return pytest.importorskip("scipy.linalg", reason="SciPy is the oracle of scipy.linalg")


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(4, 4), (5, 3), (3, 5), (70, 40), (1, 1)], ids=str)
def test_lu(dtype, shape):
    scipy = oracle()
    a = normal(*shape, dtype=dtype)
    tol = LOOSE[dtype]
    p, *factors = fg.jit(sla.lu)(a)
    np.testing.assert_array_equal(p, scipy.lu(a)[0])
    assert_same(factors, list(scipy.lu(a)[1:]), tol)
    assert_same(sla.lu(a, permute_l=True), scipy.lu(a, permute_l=True), tol)
    p, *factors = sla.lu(a, p_indices=True)
    np.testing.assert_array_equal(p, scipy.lu(a, p_indices=True)[0])
    assert_same(factors, list(scipy.lu(a)[1:]), tol)
    assert_same(fg.jit(sla.lu_factor)(a), scipy.lu_factor(a), tol)
    stacked = fg.vmap(sla.lu_factor)(np.stack([a, 2 * a]))
    assert_same(tuple(x[1] for x in stacked), scipy.lu_factor(2 * a), tol)
    if shape[0] == shape[1]:
        for b in (normal(shape[0], dtype=dtype), normal(shape[0], 2, dtype=dtype)):
            for trans in (0, 1, 2):
                want = scipy.lu_solve(scipy.lu_factor(a), b, trans)
                assert_same(sla.lu_solve(sla.lu_factor(a), b, trans), want, tol)


@pytest.mark.parametrize("dtype", DTYPES)
def test_scipy_systems(dtype):
    scipy = oracle()
    a, b, tol = positive(n=4, dtype=dtype), normal(4, 2, dtype=dtype), LOOSE[dtype]
    for lower in (True, False):
        assert_same(fg.jit(lambda a, o=lower: sla.cholesky(a, o))(a), scipy.cholesky(a, lower), tol)
        assert_same(sla.cho_solve(sla.cho_factor(a, lower), b), scipy.cho_solve(scipy.cho_factor(a, lower), b), tol)
        for trans in (0, 1, 2, "N", "T", "C"):
            for unit in (True, False):
                want = scipy.solve_triangular(a, b[:, 0], trans, lower, unit)
                assert_same(sla.solve_triangular(a, b[:, 0], trans, lower, unit), want, tol)
        for assume in ("gen", "pos", "sym", "her", "upper triangular", "lower triangular", None):
            x = a + a.T if assume == "sym" else a
            want = scipy.solve(x, b, lower=lower, assume_a=assume)
            assert_same(sla.solve(x, b, lower=lower, assume_a=assume), want, tol)
    assert_same(sla.solve(a, b, transposed=True), np.linalg.solve(a.T, b), tol)
    check_grads(lambda a, b: sla.cho_solve(sla.cho_factor(herm(a)), b), (a, b), order=1) if dtype in INEXACT else None
    check_grads(lambda a, b: sla.lu_solve(sla.lu_factor(a), b), (a, b), order=2, tol=1e-4) if dtype in INEXACT else None


@pytest.mark.parametrize("dtype", DTYPES)
def test_functions_of_a_matrix(dtype):
    scipy = oracle()
    tol = LOOSE[dtype]
    for n in (1, 3, 6):
        for scale in (0.0, 1e-3, 1.0, 8.0):
            a = scale * normal(n, n, dtype=dtype)
            want = scipy.expm(a.astype(np.result_type(dtype, np.float64))).astype(dtype)
            np.testing.assert_allclose(sla.expm(a), want, rtol=tol, atol=tol * np.abs(want).max())
        a = positive(n=n, dtype=dtype)
        np.testing.assert_allclose(sla.sqrtm(a), scipy.sqrtm(a), rtol=tol, atol=tol)
        q = normal(n, 2, dtype=dtype)
        want = scipy.solve_sylvester(a, well(n=2, dtype=dtype), q)
        assert_same(sla.solve_sylvester(a, well(n=2, dtype=dtype), q), want, tol)
    stack = normal(2, 3, 3, dtype=dtype) * np.array([0.1, 9.0], np.empty(0, dtype).real.dtype)[:, None, None]
    want = np.stack([sla.expm(a) for a in stack])
    np.testing.assert_allclose(sla.expm(stack), want, rtol=tol, atol=tol * np.abs(want).max())
    np.testing.assert_allclose(fg.vmap(sla.expm)(stack), want, rtol=tol, atol=tol * np.abs(want).max())


@pytest.mark.parametrize("dtype", INEXACT)
def test_derivatives_of_functions_of_a_matrix(dtype):
    a = normal(3, 3, dtype=dtype)
    check(sla.expm, a, tol=1e-4)
    check(sla.expm, 5 * a, tol=1e-3, order=1)
    check(sla.expm, np.zeros((2, 2), dtype))
    check(sla.sqrtm, positive(n=3, dtype=dtype), tol=1e-4)
    check(sla.sqrtm, np.eye(2, dtype=dtype))
    check(sla.solve_sylvester, well(n=3, dtype=dtype), well(n=2, dtype=dtype), normal(3, 2, dtype=dtype), tol=1e-4)


def test_no_root_and_no_exponential():
    for f, bad in [
        (sla.sqrtm, -np.eye(2)),
        (sla.sqrtm, np.zeros((2, 2))),
        (sla.expm, np.full((2, 2), 1e12)),
        (sla.expm, np.full((2, 2), np.nan)),
    ]:
        for g in (f, fg.jit(f)):
            with pytest.raises(np.linalg.LinAlgError):
                g(bad)
    np.testing.assert_allclose(sla.sqrtm(np.diag([-1.0 + 0.5j, 4.0])), np.diag(np.sqrt([-1.0 + 0.5j, 4.0])), atol=1e-12)


def test_structured_matrices():
    scipy = oracle()
    blocks = [np.ones((2, 3)), np.arange(2), np.float64(4), np.zeros((0, 2))]
    assert_same(staged(sla.block_diag, *map(np.asarray, blocks)), scipy.block_diag(*blocks))
    c, r = normal(3, dtype="complex128"), normal(4)
    assert_same(staged(sla.toeplitz, c, r), scipy.toeplitz(c, r))
    assert_same(staged(sla.toeplitz, c), scipy.toeplitz(c))
    check_grads(sla.toeplitz, (normal(3), normal(4)), order=2)
    check_grads(sla.block_diag, (normal(2, 3), normal(2)), order=2)


def test_a_stand_alone_module():
    def f(a, b):
        l = la.cholesky(a)
        return (
            la.solve(a, b),
            la.slogdet(a)[1],
            prim.triangular_solve(l, b[:, None], **LOWER),
            la.eigh(a, safe=False)[0],
        )

    LOWER = dict(left=True, lower=True, transpose=False, conj=False, unit_diagonal=False)
    args = positive(n=3), normal(3)
    space = {}
    exec(fg.to_source(f, *args), space)
    for got, want in zip(space["f"](*args), f(*args), strict=True):
        np.testing.assert_allclose(got, want)


def test_coinciding_values_under_vmap_raise_as_well():
    stack = np.stack([np.diag([1.0, 2.0]), np.eye(2)])
    f = fg.vmap(fg.grad(lambda x: fnp.sum(la.eigh(x, safe=False).eigenvectors)))
    with pytest.raises(np.linalg.LinAlgError, match="safe=True"):
        f(stack)
    assert np.isfinite(f(stack[:1])).all()
