"""Keys and distributions: published bits, JAX's bits, the same numbers under every transform, the right distributions."""

from __future__ import annotations

import importlib.util
import math
from functools import partial

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import random
from funcgrad.errors import ConcretizationError, OperandError, OperandTypeError
from funcgrad.random import _gamma, _normal, _threefry

KEY = random.key(7)
SIZE = 4000


def normal_cdf(x):
    return 0.5 * (1 + np.vectorize(math.erf)(x / math.sqrt(2)))


# Bits -----------------------------------------------------------------------------------------------------------------

#: Random123, kat_vectors: threefry2x32 of 20 rounds; counter, key, result.
KNOWN = [
    ((0x00000000, 0x00000000), (0x00000000, 0x00000000), (0x6B200159, 0x99BA4EFE)),
    ((0xFFFFFFFF, 0xFFFFFFFF), (0xFFFFFFFF, 0xFFFFFFFF), (0x1CB996FC, 0xBB002BE7)),
    ((0x243F6A88, 0x85A308D3), (0x13198A2E, 0x03707344), (0xC4923A9C, 0x483DF7A0)),
]


@pytest.mark.parametrize("count, key, expected", KNOWN)
@pytest.mark.parametrize("n", [1, 20], ids=["integers", "arrays"])
def test_known_answers(count, key, expected, n):
    count, key = np.array(count, np.uint32), np.array(key, np.uint32)
    high, low = (np.full(n, word, np.uint32) for word in count)
    for encrypt in (_threefry.encrypt, fg.jit(_threefry.encrypt)):
        for words, word in zip(encrypt(key, high, low), expected, strict=True):
            assert words.dtype == np.uint32
            np.testing.assert_array_equal(words, np.full(n, word, np.uint32))


def test_the_cipher_is_a_named_call():
    assert "threefry2x32" in str(fg.make_jaxpr(lambda k: random.bits(k, (3,)))(KEY))


def test_bits_of_a_large_array_do_not_depend_on_blocks():
    n = 2 * _threefry._BLOCKS + 5
    assert len(np.unique(random.bits(KEY, (n,), np.uint64))) == n
    np.testing.assert_array_equal(random.bits(KEY, (n,)), fg.jit(lambda k: random.bits(k, (n,)))(KEY))
    np.testing.assert_array_equal(random.bits(KEY, (n,))[:3], random.bits(KEY, (3,)))


@pytest.fixture(scope="module")
def jax():
    if importlib.util.find_spec("jax") is None:
        pytest.skip("jax is not installed: bits are compared with the published vectors only")
    module = pytest.importorskip("jax")
    if not module.config.jax_threefry_partitionable:
        pytest.skip("this jax numbers its counters otherwise: jax_threefry_partitionable is off")
    with module.enable_x64(True):
        yield module


@pytest.mark.parametrize("seed", [0, 42, 2**40 + 5, -1, 2**63 - 1])
def test_bits_are_those_of_jax(jax, seed):
    ours, theirs = random.key(seed), jax.random.PRNGKey(seed)
    np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(random.split(ours), jax.random.split(theirs))
    np.testing.assert_array_equal(random.split(ours, (2, 9)), jax.random.split(theirs, (2, 9)))
    np.testing.assert_array_equal(random.fold_in(ours, 77), jax.random.fold_in(theirs, 77))
    for dtype in (np.uint8, np.uint16, np.uint32, np.uint64):
        for shape in ((), (5,), (0,), (30, 7)):
            np.testing.assert_array_equal(
                random.bits(ours, shape, dtype), jax.random.bits(theirs, shape, np.dtype(dtype).name)
            )
    for dtype in (np.float32, np.float64):
        np.testing.assert_array_equal(random.uniform(ours, (50,), dtype), jax.random.uniform(theirs, (50,), dtype))
    np.testing.assert_array_equal(
        random.randint(ours, (50,), -3, 100), jax.random.randint(theirs, (50,), -3, 100, "int64")
    )
    np.testing.assert_array_equal(random.permutation(ours, 50), jax.random.permutation(theirs, 50))
    np.testing.assert_allclose(random.normal(ours, (50,)), jax.random.normal(theirs, (50,), "float64"), rtol=1e-12)


# The same numbers everywhere ------------------------------------------------------------------------------------------

DRAWS = {
    "split": lambda k: random.split(k, 3),
    "split to a shape": lambda k: random.split(k, (2, 2)),
    "fold_in": lambda k: random.fold_in(k, 3),
    "bits": lambda k: random.bits(k, (3,)),
    "bits8": lambda k: random.bits(k, (3,), np.uint8),
    "bits64": lambda k: random.bits(k, (3,), np.uint64),
    "uniform": lambda k: random.uniform(k, (2, 3), minval=-1.0, maxval=3.0),
    "uniform32": lambda k: random.uniform(k, (3,), np.float32),
    "normal": lambda k: random.normal(k, (2, 3)),
    "normal16": lambda k: random.normal(k, (3,), np.float16),
    "normal32": lambda k: random.normal(k, (3,), np.float32),
    "truncated_normal": lambda k: random.truncated_normal(k, -1.0, np.array([0.5, 2.0])),
    "randint": lambda k: random.randint(k, (3,), 0, 10),
    "randint8": lambda k: random.randint(k, (3,), -128, 128, np.int8),
    "randint of all": lambda k: random.randint(k, (3,), 0, 2**64, np.uint64),
    "bernoulli": lambda k: random.bernoulli(k, np.array([0.1, 0.5])),
    "rademacher": lambda k: random.rademacher(k, (3,)),
    "categorical": lambda k: random.categorical(k, np.zeros((2, 3))),
    "categorical without replacement": lambda k: random.categorical(k, np.zeros(3), shape=(2,), replace=False),
    "permutation": lambda k: random.permutation(k, 5),
    "permutation of columns": lambda k: random.permutation(k, np.arange(6.0).reshape(2, 3), axis=1),
    "shuffle": lambda k: random.shuffle(k, np.arange(6.0).reshape(2, 3), axis=-1),
    "choice": lambda k: random.choice(k, np.arange(6.0).reshape(2, 3), (2, 2), axis=1),
    "choice without replacement": lambda k: random.choice(k, 5, (3,), replace=False),
    "choice with p": lambda k: random.choice(k, 3, (4,), p=np.array([0.0, 0.5, 0.5])),
    "choice of both": lambda k: random.choice(k, 3, (2,), replace=False, p=np.array([0.0, 0.5, 0.5])),
    "exponential": lambda k: random.exponential(k, (3,)),
    "gumbel": lambda k: random.gumbel(k, (3,)),
    "laplace": lambda k: random.laplace(k, (3,)),
    "logistic": lambda k: random.logistic(k, (3,)),
    "cauchy": lambda k: random.cauchy(k, (3,)),
    "gamma": lambda k: random.gamma(k, np.array([0.3, 1.0, 20.0])),
    "loggamma32": lambda k: random.loggamma(k, 0.5, (2,), np.float32),
    "beta": lambda k: random.beta(k, 0.5, np.array([2.0, 3.0])),
    "dirichlet": lambda k: random.dirichlet(k, np.array([0.5, 1.0, 2.0]), (2,)),
    "t": lambda k: random.t(k, 3.0, (2,)),
    "poisson": lambda k: random.poisson(k, np.array([0.0, 3.0, 50.0, 1e6])),
    "multivariate_normal": lambda k: random.multivariate_normal(k, np.zeros(2), np.array([[2.0, 1.0], [1.0, 2.0]]), (3,)),
    "ball": lambda k: random.ball(k, 3, p=1.5, shape=(2,)),
    "orthogonal": lambda k: random.orthogonal(k, 3, (2,)),
    "scalars": lambda k: (
        random.normal(k), random.bits(k), random.randint(k, (), 0, 9), random.gamma(k, 2.0), random.poisson(k, 2.0),
        random.choice(k, 4), random.choice(k, 4, replace=False), random.categorical(k, np.zeros(3)), random.rademacher(k),
    ),
}  # fmt: skip


@pytest.mark.parametrize("draw", DRAWS.values(), ids=DRAWS)
def test_a_key_gives_the_same_numbers_in_every_mode(draw):
    eager = draw(KEY)
    jitted = fg.jit(draw)(KEY)
    fg.testing.assert_close(jitted, eager)
    for a, b in zip(fg.tree.leaves(jitted), fg.tree.leaves(eager), strict=True):
        assert type(a) is type(b)
    keys = random.split(KEY, 3)
    rows = [draw(k) for k in keys]
    stacked = fg.tree.map(lambda *xs: np.stack(xs), *rows)
    fg.testing.assert_close(fg.vmap(draw)(keys), stacked)
    fg.testing.assert_close(fg.jit(fg.vmap(draw))(keys), stacked)


def test_bits_in_a_scan_are_those_of_a_loop():
    def step(key, _):
        key, own = random.split(key)
        return key, random.bits(own, (2,))

    _, found = fg.lax.scan(step, KEY, None, length=4)
    key = KEY
    for row in found:
        key, own = random.split(key)
        np.testing.assert_array_equal(row, random.bits(own, (2,)))


def test_seeds_and_data_may_be_traced():
    seeds = np.arange(4)
    np.testing.assert_array_equal(fg.vmap(random.key)(seeds), [random.key(int(s)) for s in seeds])
    np.testing.assert_array_equal(fg.jit(random.key)(2**40 + 3), random.key(2**40 + 3))
    np.testing.assert_array_equal(fg.jit(random.key)(-1), random.key(-1))
    np.testing.assert_array_equal(random.key(np.int32(5)), random.key(5))
    np.testing.assert_array_equal(
        fg.vmap(partial(random.fold_in, KEY))(seeds), [random.fold_in(KEY, int(s)) for s in seeds]
    )


def test_randint_bounds_may_be_traced():
    draw = lambda low, high: random.randint(KEY, (3, 2), low, high, np.int16)
    low, high = np.array([0, -5]), np.array([3, 2**15])
    np.testing.assert_array_equal(fg.jit(draw)(low, high), draw(low, high))
    # What cannot be seen beforehand does what the docstring says.
    np.testing.assert_array_equal(fg.jit(draw)(5, 3), np.full((3, 2), 5, np.int16))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 0, 3)])
def test_dtypes_and_shapes(dtype, shape):
    plain = ["uniform", "normal", "exponential", "gumbel", "laplace", "logistic", "cauchy"]
    draws = {name: getattr(random, name)(KEY, shape, dtype) for name in plain}
    draws["gamma"] = random.gamma(KEY, 2.0, shape, dtype)
    draws["beta"] = random.beta(KEY, 2.0, 3.0, shape, dtype)
    draws["t"] = random.t(KEY, 2.0, shape, dtype)
    draws["truncated_normal"] = random.truncated_normal(KEY, -1.0, 1.0, shape, dtype)
    draws["ball"] = random.ball(KEY, 1, 2, shape, dtype)[..., 0]
    for name, x in draws.items():
        assert x.shape == shape and x.dtype == dtype, name
        assert np.isfinite(x).all(), name


def test_the_default_dtypes_are_those_of_numpy():
    assert random.uniform(KEY).dtype == np.float64
    assert random.randint(KEY, (), 0, 2).dtype == random.poisson(KEY, 1.0).dtype == np.int64
    assert random.normal(KEY, 3).shape == (3,)


def test_arguments_are_left_as_they_are():
    x = np.arange(10)
    for result in (random.shuffle(KEY, x), random.permutation(KEY, x), random.choice(KEY, x, (3,))):
        assert not np.shares_memory(result, x) and result.flags.writeable
    np.testing.assert_array_equal(x, np.arange(10))


def test_fold_in_is_one_of_the_keys_of_split():
    np.testing.assert_array_equal(random.split(KEY, 20)[13], random.fold_in(KEY, 13))


def test_different_keys_differ():
    keys = [KEY, *random.split(KEY, 20), *(random.fold_in(KEY, i) for i in range(20, 40))]
    assert len({tuple(random.bits(k, (4,)).tolist()) for k in keys}) == len(keys)


# The right distributions ----------------------------------------------------------------------------------------------


def assert_follows(x, cdf):
    """Kolmogorov and Smirnov: the largest distance of the distribution functions, at a level of 1e-4."""
    x = np.sort(np.ravel(x).astype(np.float64))
    n = x.size
    expected = cdf(x)
    above, below = np.arange(1, n + 1) / n - expected, expected - np.arange(n) / n
    distance = max(above.max(), below.max())
    assert math.sqrt(n) * distance < 2.23, f"the distribution functions differ by {distance:.4f}"


def assert_counts(counts, probabilities):
    """Pearson's chi-square, at a level of about 1e-4 by the approximation of Wilson and Hilferty."""
    counts, probabilities = np.asarray(counts, float), np.asarray(probabilities, float)
    expected = counts.sum() * probabilities
    assert expected.min() > 4, "too few draws for the test"
    statistic, freedom = np.sum((counts - expected) ** 2 / expected), counts.size - 1
    limit = freedom * (1 - 2 / (9 * freedom) + 3.72 * math.sqrt(2 / (9 * freedom))) ** 3
    assert statistic < limit, f"chi-square of {statistic:.1f} with {freedom} degrees of freedom"


CONTINUOUS = {
    "uniform": (lambda k, n, d: random.uniform(k, (n,), d, -1.0, 3.0), lambda x: (x + 1) / 4),
    "normal": (lambda k, n, d: random.normal(k, (n,), d), normal_cdf),
    "exponential": (lambda k, n, d: random.exponential(k, (n,), d), lambda x: -np.expm1(-x)),
    "gumbel": (lambda k, n, d: random.gumbel(k, (n,), d), lambda x: np.exp(-np.exp(-x))),
    "laplace": (lambda k, n, d: random.laplace(k, (n,), d), lambda x: 0.5 - 0.5 * np.sign(x) * np.expm1(-abs(x))),
    "logistic": (lambda k, n, d: random.logistic(k, (n,), d), lambda x: 1 / (1 + np.exp(-x))),
    "cauchy": (lambda k, n, d: random.cauchy(k, (n,), d), lambda x: 0.5 + np.arctan(x) / np.pi),
    "truncated_normal": (
        lambda k, n, d: random.truncated_normal(k, -0.5, 2.0, (n,), d),
        lambda x: (normal_cdf(x) - normal_cdf(-0.5)) / (normal_cdf(2.0) - normal_cdf(-0.5)),
    ),
    "gamma of 1": (lambda k, n, d: random.gamma(k, 1.0, (n,), d), lambda x: -np.expm1(-x)),
    "gamma of 1/2": (lambda k, n, d: random.gamma(k, 0.5, (n,), d), lambda x: np.vectorize(math.erf)(np.sqrt(x))),
    "gamma of 3": (lambda k, n, d: random.gamma(k, 3.0, (n,), d), lambda x: 1 - np.exp(-x) * (1 + x + x * x / 2)),
    "beta": (lambda k, n, d: random.beta(k, 2.0, 1.0, (n,), d), lambda x: x**2),
    "beta of 1/2": (lambda k, n, d: random.beta(k, 0.5, 0.5, (n,), d), lambda x: 2 / np.pi * np.arcsin(np.sqrt(x))),
    "dirichlet": (lambda k, n, d: random.dirichlet(k, np.ones(3), (n,), d)[:, 0], lambda x: 1 - (1 - x) ** 2),
    "t of 1": (lambda k, n, d: random.t(k, 1.0, (n,), d), lambda x: 0.5 + np.arctan(x) / np.pi),
    "t of 2": (lambda k, n, d: random.t(k, 2.0, (n,), d), lambda x: 0.5 + x / (2 * np.sqrt(2 + x * x))),
    "radius in a ball": (lambda k, n, d: (random.ball(k, 3, 2, (n,), d) ** 2).sum(-1) ** 0.5, lambda x: x**3),
    "1-norm in a ball": (lambda k, n, d: abs(random.ball(k, 3, 1, (n,), d)).sum(-1), lambda x: x**3),
    "entry of a rotation": (lambda k, n, d: random.orthogonal(k, 3, (n,), d)[:, 1, 2], lambda x: (x + 1) / 2),
    "angle of a rotation": (
        lambda k, n, d: np.arctan2(*random.orthogonal(k, 2, (n,), d)[:, 0].T),
        lambda x: (x + np.pi) / (2 * np.pi),
    ),
    "multivariate_normal": (
        lambda k, n, d: random.multivariate_normal(k, np.ones(2), np.array([[2.0, 1.0], [1.0, 3.0]]), (n,), d).sum(-1),
        lambda x: normal_cdf((x - 2) / math.sqrt(7)),
    ),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", CONTINUOUS)
def test_continuous_distributions(name, dtype):
    draw, cdf = CONTINUOUS[name]
    x = draw(random.fold_in(KEY, sorted(CONTINUOUS).index(name)), SIZE, dtype)
    assert x.dtype == dtype
    assert_follows(x, cdf)


SCIPY = {
    "gamma of 0.01": (lambda k, n: random.loggamma(k, 0.01, (n,)), lambda s, x: s.loggamma(0.01).cdf(x)),
    "gamma of 7.3": (lambda k, n: random.gamma(k, 7.3, (n,)), lambda s, x: s.gamma(7.3).cdf(x)),
    "gamma of 1e5": (lambda k, n: random.gamma(k, 1e5, (n,)), lambda s, x: s.gamma(1e5).cdf(x)),
    "beta": (lambda k, n: random.beta(k, 0.7, 4.2, (n,)), lambda s, x: s.beta(0.7, 4.2).cdf(x)),
    "t": (lambda k, n: random.t(k, 5.5, (n,)), lambda s, x: s.t(5.5).cdf(x)),
    "dirichlet": (
        lambda k, n: random.dirichlet(k, np.array([0.3, 2.0, 5.0]), (n,))[:, 1],
        lambda s, x: s.beta(2.0, 5.3).cdf(x),
    ),
}


@pytest.mark.parametrize("name", SCIPY)
def test_continuous_distributions_of_scipy(name):
    stats = pytest.importorskip("scipy.stats")
    draw, cdf = SCIPY[name]
    assert_follows(draw(KEY, SIZE), partial(cdf, stats))


@pytest.mark.parametrize("rate", [0.3, 3.0, 9.99, 10.0, 40.0, 1000.0])
def test_poisson(rate):
    draws = random.poisson(random.fold_in(KEY, int(rate)), rate, (SIZE,))
    k = np.arange(int(rate + 10 * math.sqrt(rate)) + 20)
    p = np.exp(k * math.log(rate) - rate - np.array([math.lgamma(i + 1) for i in k]))
    assert draws.min() >= 0 and draws.max() < k.size
    # Cells of about equal probability, so that none is empty.
    cells = np.minimum((np.cumsum(p) - p) * 12, 11.999).astype(int)
    probabilities = np.bincount(cells, p, minlength=12)
    counts = np.bincount(cells[draws], minlength=12)
    assert_counts(counts[probabilities > 0], probabilities[probabilities > 0])
    assert abs(draws.mean() - rate) < 5 * math.sqrt(rate / SIZE)


def test_poisson_of_large_rates():
    draws = random.poisson(KEY, 1e12, (SIZE,))
    assert_follows((draws - 1e12) / 1e6, normal_cdf)
    np.testing.assert_array_equal(random.poisson(KEY, 0.0, (5,)), np.zeros(5))


def test_discrete_distributions():
    p = np.array([0.1, 0.2, 0.3, 0.4])
    keys = random.split(KEY, 12)
    count = lambda x, n: np.bincount(np.ravel(x).astype(np.int64), minlength=n)
    assert_counts(count(random.randint(keys[0], (SIZE,), 0, 7), 7), np.full(7, 1 / 7))
    assert_counts(count(random.randint(keys[1], (SIZE,), -128, 128, np.int8) + 128.0, 256), np.full(256, 1 / 256))
    assert_counts(count(random.bernoulli(keys[2], 0.3, (SIZE,)), 2), [0.7, 0.3])
    assert_counts(count(random.rademacher(keys[3], (SIZE,)) > 0, 2), [0.5, 0.5])
    assert_counts(count(random.categorical(keys[4], np.log(p), shape=(SIZE,)), 4), p)
    assert_counts(count(random.choice(keys[5], 4, (SIZE,), p=p), 4), p)
    assert_counts(count(random.choice(keys[6], 4, (SIZE,)), 4), np.full(4, 0.25))
    assert_counts(count(random.bits(keys[7], (SIZE,), np.uint8), 256), np.full(256, 1 / 256))
    orders = fg.vmap(lambda k: random.permutation(k, 3))(random.split(keys[8], SIZE))
    assert_counts(count(orders @ [1, 3, 9], 22)[[5, 7, 11, 15, 19, 21]], np.full(6, 1 / 6))
    # Pairs without replacement: p_i p_j / (1 - p_i).
    pairs = fg.vmap(lambda k: random.choice(k, 4, (2,), replace=False, p=p))(random.split(keys[9], SIZE))
    expected = np.outer(p / (1 - p), p)[~np.eye(4, dtype=bool)]
    assert_counts(count(pairs @ [4, 1], 16).reshape(4, 4)[~np.eye(4, dtype=bool)], expected)
    assert count(pairs @ [4, 1], 16).reshape(4, 4).trace() == 0
    lines = random.shuffle(keys[10], np.broadcast_to(np.arange(3), (SIZE, 3)), axis=1)
    assert_counts(count(lines @ [1, 3, 9], 22)[[5, 7, 11, 15, 19, 21]], np.full(6, 1 / 6))


@pytest.mark.parametrize("dtype", [np.int32, np.uint32, np.int64, np.uint64])
def test_randint_of_wide_ranges(dtype):
    info = np.iinfo(dtype)
    x = random.randint(KEY, (SIZE,), info.min, info.max + 1, dtype)
    assert_follows(x, lambda x: (x - info.min) / 2.0**info.bits)
    # A span of two thirds of all numbers is where a plain remainder would be wrong twice as often in its first half.
    span = 2 * (info.max // 3)
    if info.bits == 32:
        assert_follows(random.randint(KEY, (SIZE,), 0, span, dtype), lambda x: x / span)


def test_moments():
    n = 20000
    means = {
        "normal": (random.normal(KEY, (n,)), 0, 1),
        "gamma": (random.gamma(KEY, 4.0, (n,)), 4, 4),
        "beta": (random.beta(KEY, 2.0, 3.0, (n,)), 0.4, 0.04),
        "laplace": (random.laplace(KEY, (n,)), 0, 2),
        "logistic": (random.logistic(KEY, (n,)), 0, math.pi**2 / 3),
        "gumbel": (random.gumbel(KEY, (n,)), np.euler_gamma, math.pi**2 / 6),
        "t": (random.t(KEY, 12.0, (n,)), 0, 1.2),
        "poisson": (random.poisson(KEY, 25.0, (n,)), 25, 25),
    }
    for name, (x, mean, variance) in means.items():
        assert abs(x.mean() - mean) < 4.5 * math.sqrt(variance / n), name
        assert abs(x.var() / variance - 1) < 0.1, name
    cov = np.array([[2.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 1.0]])
    x = random.multivariate_normal(KEY, np.array([1.0, 2.0, 3.0]), cov, (n,))
    np.testing.assert_allclose(np.cov(x.T), cov, atol=0.1)
    np.testing.assert_allclose(x.mean(0), [1, 2, 3], atol=0.06)


def test_orthogonal_matrices_are_orthogonal_and_turn_both_ways():
    q = random.orthogonal(KEY, 4, (200,))
    np.testing.assert_allclose(q @ np.swapaxes(q, -1, -2), np.broadcast_to(np.eye(4), q.shape), atol=1e-13)
    assert 60 < np.sum(np.linalg.det(q) > 0) < 140
    assert random.orthogonal(KEY, 0).shape == (0, 0)
    assert set(random.orthogonal(KEY, 1, (30,)).ravel().round(14).tolist()) == {-1.0, 1.0}


def test_matrices_of_half_precision():
    assert random.orthogonal(KEY, 3, (), np.float16).dtype == np.float16
    assert random.multivariate_normal(KEY, np.zeros(2), np.eye(2), (3,), np.float16).dtype == np.float16


# Accuracy of what the distributions are made of -----------------------------------------------------------------------


def test_normal_quantile():
    special = pytest.importorskip("scipy.special")
    small = np.concatenate([np.linspace(-0.5, 0.5, 1001), 10.0 ** -np.arange(1.0, 300)])
    tail = 1 - 2.0 ** -np.arange(1.0, 53)
    for dtype in (np.float64, np.float32):
        u = small.astype(dtype)
        u = u[(u == 0) | (abs(u) > np.finfo(dtype).tiny)]
        v = tail.astype(dtype)
        v = v[v < 1]
        pairs = [(u, math.sqrt(2) * special.erfinv(u.astype(float))), (v, -special.ndtri((1 - v.astype(float)) / 2))]
        for x, expected in pairs:
            for quantile in (_normal.normal_quantile, fg.jit(_normal.normal_quantile)):
                assert np.max(np.abs(quantile(x) - expected) / np.spacing(np.abs(expected).astype(dtype))) < 8
    fg.testing.check_grads(_normal.normal_quantile, (np.array([-0.9, -0.3, 0.0, 0.6]),), order=2)


# Derivatives ----------------------------------------------------------------------------------------------------------


def test_derivative_of_a_gamma_number_of_concentration_one():
    """F(x; a) at a = 1, in closed form up to an integral that is done here by brute force."""
    x = np.array([1e-6, 0.01, 0.3, 1.0, 3.0, 10.0])
    for value, found in zip(x, _gamma.log_gamma_derivative(np.log(x), np.ones_like(x)), strict=True):
        # dF/da = int_0^x e^-t (log t + gamma) dt; with t = x s^4 the integrand is smooth.
        nodes, weights = np.polynomial.legendre.leggauss(200)
        s = 0.5 * (nodes + 1)
        t = value * s**4
        slope = np.sum(0.5 * weights * 4 * value * s**3 * np.exp(-t) * (np.log(t) + np.euler_gamma))
        np.testing.assert_allclose(found, -slope / (value * math.exp(-value)), rtol=1e-8)


@pytest.mark.parametrize("a", [1.0, 1.5, 3.0, 10.0, 100.0, 1e4])
def test_derivative_of_a_gamma_number(a):
    """Against differences of the inverse distribution function."""
    special = pytest.importorskip("scipy.special")
    p = np.array([1e-8, 1e-3, 0.1, 0.4, 0.5])
    h = 1e-4 * a
    for inverse in (special.gammaincinv, special.gammainccinv):
        found = _gamma.log_gamma_derivative(np.log(inverse(a, p)), np.full_like(p, a))
        values = [np.log(inverse(a + i * h, p)) for i in (-2, -1, 1, 2)]
        difference = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * h)
        np.testing.assert_allclose(found, difference, rtol=1e-8)


def test_second_derivatives_of_a_gamma_number():
    log_x, a = np.log([0.1, 1.0, 2.0, 8.0]), np.array([1.2, 1.0, 2.0, 5.0])
    fg.testing.check_grads(_gamma.log_gamma_derivative, (log_x, a), order=2, tol=1e-5)


@pytest.mark.parametrize("a", [0.2, 0.7, 1.0, 3.0, 30.0])
def test_gradients_of_expectations(a):
    """E x = a and E x^2 = a (a + 1), so that their derivatives are 1 and 2a + 1; E log x has trigamma."""
    n = 20000
    x, slope = fg.jvp(lambda a: random.gamma(KEY, a, (n,)), (a,), (1.0,))
    for estimates, expected in ((slope, 1.0), (2 * x * slope, 2 * a + 1)):
        assert abs(estimates.mean() - expected) < 4.5 * estimates.std() / math.sqrt(n)
    trigamma = sum(1 / (a + k) ** 2 for k in range(100000)) + 1 / (a + 100000)
    logs = fg.jvp(lambda a: random.loggamma(KEY, a, (n,)), (a,), (1.0,))[1]
    assert abs(logs.mean() - trigamma) < 4.5 * logs.std() / math.sqrt(n)


#: Draws that are smooth functions of their parameters at a fixed key.
SMOOTH = {
    "uniform": (lambda a, b: random.uniform(KEY, (3,), minval=a, maxval=b), (0.5, 2.0)),
    "truncated_normal": (lambda a, b: random.truncated_normal(KEY, a, b, (3,)), (-0.5, 2.0)),
    "location and scale": (lambda m, s: m + s * random.normal(KEY, (3,)), (1.0, 2.0)),
    "multivariate_normal": (
        lambda m, a: random.multivariate_normal(KEY, m, fnp.matmul(a, fnp.transpose(a)) + fnp.eye(3), (2,)),
        (np.arange(3.0), np.arange(9.0).reshape(3, 3) / 9),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", SMOOTH)
def test_gradients(name):
    f, args = SMOOTH[name]
    fg.testing.check_grads(f, args, order=2, tol=1e-5)
    fg.testing.assert_close(fg.jit(fg.jacrev(f))(*args), fg.jacfwd(f)(*args))


#: Draws whose derivative is one of the distribution, with the derivative of a moment: mean of x, or of x^2 for t.
IMPLICIT = {
    "beta": (lambda a: random.beta(KEY, a, 3.0, (20000,)), 2.0, 3 / 25),
    "beta in b": (lambda b: random.beta(KEY, 2.0, b, (20000,)), 3.0, -2 / 25),
    "dirichlet": (lambda a: random.dirichlet(KEY, fnp.stack([a, 1.0, 2.0]), (20000,))[:, 0], 1.0, 3 / 16),
    "t": (lambda df: random.t(KEY, df, (20000,)) ** 2, 12.0, -2 / 100),
}


@pytest.mark.parametrize("name", IMPLICIT)
def test_gradients_of_moments(name):
    f, a, expected = IMPLICIT[name]
    _, slopes = fg.jvp(f, (a,), (1.0,))
    assert abs(slopes.mean() - expected) < 4.5 * slopes.std() / math.sqrt(slopes.size)
    np.testing.assert_allclose(fg.grad(lambda a: f(a).mean())(a), slopes.mean(), rtol=1e-10)
    np.testing.assert_allclose(fg.jit(fg.grad(lambda a: f(a).mean()))(a), slopes.mean(), rtol=1e-10)


def test_gradients_under_vmap():
    keys, a = random.split(KEY, 3), np.array([0.5, 1.5, 20.0])
    slope = fg.grad(lambda a, k: random.gamma(k, a))
    np.testing.assert_allclose(fg.vmap(slope)(a, keys), [slope(x, k) for x, k in zip(a, keys)], rtol=1e-10)
    second = fg.grad(slope)
    assert np.isfinite(fg.jit(fg.vmap(second))(a, keys)).all()


def test_discrete_draws_have_no_derivative():
    assert fg.grad(lambda lam: random.poisson(KEY, lam) * 1.0 * lam)(3.0) == random.poisson(KEY, 3.0)
    assert fg.grad(lambda p: fnp.where(random.bernoulli(KEY, p), 2.0, 3.0) * 1.0 + 0.0 * p)(0.5) == 0.0


# Errors ---------------------------------------------------------------------------------------------------------------

ERRORS = {
    "an integer for a key": (lambda: random.normal(0, (3,)), OperandTypeError, "fg.random.key(0)"),
    "no array for a key": (lambda: random.normal("x", (3,)), OperandTypeError, "fg.random.key(seed)"),
    "a key of int64": (lambda: random.split(np.zeros(2, np.int64)), OperandTypeError, "uint32 array of shape (2,)"),
    "many keys": (lambda: random.normal(random.split(KEY), (3,)), OperandError, "fg.vmap(fg.random.normal)(keys)"),
    "half a key": (lambda: random.bits(KEY[:1]), OperandError, "fg.random.key(seed)"),
    "a float seed": (lambda: random.key(1.0), OperandTypeError, "write int(1.0)"),
    "a boolean seed": (lambda: random.key(True), OperandTypeError, "must be an integer"),
    "a large seed": (lambda: random.key(2**64), OperandError, "from -2"),
    "many seeds": (lambda: random.key(np.arange(3)), OperandError, "fg.vmap(fg.random.key)"),
    "negative data": (lambda: random.fold_in(KEY, -1), OperandError, "from 0 to 2"),
    "data of float": (lambda: random.fold_in(KEY, 0.5), OperandTypeError, "must be an integer"),
    "a negative number of keys": (lambda: random.split(KEY, -1), OperandError, "must not be negative"),
    "a negative size": (lambda: random.normal(KEY, (3, -1)), OperandError, "must not be negative"),
    "a size of float": (lambda: random.normal(KEY, (3.0,)), OperandTypeError, "must be an integer"),
    "a traced size": (lambda: fg.jit(lambda n: random.normal(KEY, (n,)))(3), ConcretizationError, "n"),
    "too many elements": (lambda: random.bits(KEY, (2**17, 2**17)), OperandError, "split the key"),
    "bits of int32": (lambda: random.bits(KEY, (), np.int32), OperandTypeError, "uint8, uint16"),
    "normal of int": (lambda: random.normal(KEY, (), np.int32), OperandTypeError, "float16, float32 or float64"),
    "randint of float": (lambda: random.randint(KEY, (), 0, 2, np.float64), OperandTypeError, "integer one"),
    "a bound of float": (lambda: random.randint(KEY, (), 0.0, 2), OperandTypeError, "minval must be an integer"),
    "an empty range": (lambda: random.randint(KEY, (), 3, 3), OperandError, "minval must be below maxval"),
    "a range out of the dtype": (lambda: random.randint(KEY, (), 0, 257, np.uint8), OperandError, "wider dtype"),
    "a parameter of text": (lambda: random.gamma(KEY, "a"), OperandTypeError, "a must be a real number"),
    "a complex parameter": (lambda: random.uniform(KEY, (), minval=1j), OperandTypeError, "minval must be a real number"),
    "parameters too large": (lambda: random.gamma(KEY, np.ones(3), (2,)), OperandError, "leave shape out"),
    "parameters that differ": (lambda: random.beta(KEY, np.ones(3), np.ones(2)), OperandError, "broadcast"),
    "a concentration of zero": (lambda: random.gamma(KEY, 0.0), OperandError, "must be positive"),
    "a negative rate": (lambda: random.poisson(KEY, -1.0), OperandError, "from 0 to 2"),
    "a probability of 2": (lambda: random.bernoulli(KEY, 2.0), OperandError, "from 0 to 1"),
    "no interval": (lambda: random.truncated_normal(KEY, 1.0, 0.0), OperandError, "lower must be below upper"),
    "no categories": (lambda: random.categorical(KEY, np.zeros((2, 0))), OperandError, "no categories"),
    "too many categories": (
        lambda: random.categorical(KEY, np.zeros(3), shape=(4,), replace=False), OperandError, "without replacement",
    ),
    "an axis too many": (lambda: random.permutation(KEY, np.zeros(3), axis=1), OperandError, "axis 1"),
    "shuffling a number": (lambda: random.shuffle(KEY, 3), OperandError, "permutation"),
    "a choice of nothing": (lambda: random.choice(KEY, 0, (1,)), OperandError, "no element"),
    "too many choices": (lambda: random.choice(KEY, 3, (4,), replace=False), OperandError, "without replacement"),
    "p of another length": (lambda: random.choice(KEY, 3, p=np.ones(2)), OperandError, "length 3"),
    "a negative p": (lambda: random.choice(KEY, 2, p=np.array([1.0, -1.0])), OperandError, "not negative"),
    "a p of zeros": (lambda: random.choice(KEY, 2, (1,), p=np.zeros(2)), OperandError, "above zero"),
    "an indefinite covariance": (
        lambda: random.multivariate_normal(KEY, np.zeros(2), np.array([[1.0, 2.0], [2.0, 1.0]])), OperandError, "definite",
    ),
    "a covariance of another size": (lambda: random.multivariate_normal(KEY, np.zeros(2), np.eye(3)), OperandError, "cov of"),
    "a ball of no dimension": (lambda: random.ball(KEY, 0), OperandError, "d must be positive"),
}  # fmt: skip


@pytest.mark.parametrize("call, error, message", ERRORS.values(), ids=ERRORS)
def test_errors(call, error, message):
    with pytest.raises(error) as caught:
        call()
    assert message in str(caught.value)
    assert "test_random.py" in str(caught.value)


def test_traced_parameters_out_of_range():
    assert np.isnan(fg.jit(lambda a: random.gamma(KEY, a))(-1.0))
    assert fg.jit(lambda lam: random.poisson(KEY, lam))(-1.0) == -1
    with pytest.raises(np.linalg.LinAlgError):
        fg.jit(lambda c: random.multivariate_normal(KEY, np.zeros(2), c))(-np.eye(2))


# Far tails ------------------------------------------------------------------------------------------------------------

TAILS = [
    (8.0, 9.0),
    (30.0, np.inf),
    (30.0, 31.0),
    (-9.0, -8.0),
    (-np.inf, -40.0),
    (2.5, 2.6),
    (3.0, np.inf),
    (-40.0, -3.0),
]


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
@pytest.mark.parametrize("lower, upper", TAILS)
def test_far_tails_have_the_right_distribution(lower, upper, dtype):
    stats = pytest.importorskip("scipy.stats")
    x = random.truncated_normal(random.key(5), lower, upper, (SIZE,), dtype)
    assert x.dtype == dtype
    assert (x > dtype(lower)).all() and (x < dtype(upper)).all() and np.isfinite(x).all()
    if dtype != np.float16:
        assert stats.kstest(x.astype(np.float64), stats.truncnorm(lower, upper).cdf).pvalue > 1e-3
    np.testing.assert_array_equal(
        fg.jit(lambda k, a, b: random.truncated_normal(k, a, b, (SIZE,), dtype))(random.key(5), lower, upper), x
    )


def test_a_tail_beyond_all_probability_is_exponential():
    stats = pytest.importorskip("scipy.stats")
    x = random.truncated_normal(KEY, 1e6, np.inf, (SIZE,))
    assert stats.kstest((x - 1e6) * 1e6, "expon").pvalue > 1e-3


@pytest.mark.parametrize("z, w", [(2.0, 3.0), (2.0, np.inf), (8.0, 9.0), (30.0, np.inf), (300.0, 300.001)])
@pytest.mark.parametrize("u", [2.0**-52, 1e-5, 0.3, 0.75, 1 - 2.0**-20, 1.0])
def test_the_quantile_of_a_tail_is_exact(z, w, u):
    mp = pytest.importorskip("mpmath")
    x = float(_normal.tail_quantile(*(np.array([v]) for v in (u, z, w)))[0])
    with mp.workdps(50):
        mass = lambda t: mp.erfc(mp.mpf(t) / mp.sqrt(2)) / 2
        wanted = mp.log(mp.mpf(u) * mass(z) + (1 - mp.mpf(u)) * (mass(w) if np.isfinite(w) else 0))
        exact = mp.findroot(lambda t: mp.log(mass(t)) - wanted, mp.mpf(x))
        assert abs(x - exact) <= 4e-16 * exact


def test_bounds_on_all_sides_at_once():
    lower, upper = np.array([-1.0, 8.0, -9.0, 2.5]), np.array([1.0, 9.0, -8.0, np.inf])
    x = random.truncated_normal(KEY, lower, upper, (50, 4))
    assert ((x > lower) & (x < upper)).all()
    one = fg.vmap(lambda k, a, b: random.truncated_normal(k, a, b))(random.split(KEY, 4), lower, upper)
    np.testing.assert_array_equal(
        one, [random.truncated_normal(k, a, b) for k, a, b in zip(random.split(KEY, 4), lower, upper, strict=True)]
    )


@pytest.mark.parametrize("lower, upper", [(8.0, 9.0), (30.0, 30.5), (-9.0, -8.0), (2.5, 2.6)])
def test_derivatives_of_draws_from_a_tail(lower, upper):
    draw = lambda a, b: random.truncated_normal(KEY, a, b, (4,))
    fg.testing.check_grads(draw, (np.float64(lower), np.float64(upper)), order=2, tol=1e-4)
    slope = fg.jacrev(lambda a: random.truncated_normal(KEY, a, np.inf, (4,)))(abs(lower))
    assert np.isfinite(slope).all() and (slope > 0).all()
