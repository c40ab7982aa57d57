"""Products of arrays against NumPy: staged and eager, values, dtypes, errors; their derivatives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy_oracle import against, assert_same, staged

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad.core.errors import OperandError
from funcgrad.core.trace import stage
from funcgrad.core.types import aval_of
from funcgrad.testing import check_grads

RNG = np.random.default_rng(0)


def normal(*shape):
    return RNG.normal(size=shape)


def both(name, *args, **keywords):
    against(
        lambda *a: getattr(fnp, name)(*a, **keywords),
        lambda *a: getattr(np, name)(*a, **keywords),
        *args,
        tolerance=1e-5,
    )


SHAPES = [
    ((3,), (3,)), ((2, 3), (3,)), ((3,), (3, 4)), ((2, 3), (3, 4)), ((5, 2, 3), (3, 4)), ((5, 2, 3), (5, 3, 4)),
    ((2, 3), (5, 3, 4)), ((7, 1, 2, 3), (5, 3, 4)), ((3,), (5, 3, 4)), ((5, 2, 3), (3,)), ((1, 2, 3), (5, 3, 4)),
    ((5, 0, 3), (3, 2)), ((2, 0), (0, 3)), ((2, 3), (2, 3)), ((), (3,)), ((2, 3, 3), (4, 3, 3)),
]  # fmt: skip


@pytest.mark.parametrize(("x", "y"), SHAPES, ids=str)
def test_matmul_and_dot(x, y):
    for name in ("matmul", "dot"):
        both(name, normal(*x), normal(*y))
        both(name, normal(*x).astype("f4"), RNG.integers(0, 5, y))
        both(name, normal(*x) + 1j, normal(*y))
        both(name, RNG.integers(0, 5, x).astype("i1"), RNG.integers(0, 5, y).astype("i2"))


def test_relatives():
    both("matmul", np.ones((2, 2), bool), np.eye(2, dtype=bool))
    both("dot", normal(3), np.float64(2))
    both("inner", normal(2, 3), normal(5, 4, 3))
    both("inner", normal(2), np.float64(3))
    both("vdot", normal(2, 3) + 1j, normal(3, 2))
    both("outer", normal(2, 3), normal(4))
    both("vecdot", normal(4, 3) + 1j * normal(4, 3), normal(3) + 0j)
    both("vecdot", normal(3, 4), normal(3, 4), axis=0)
    both("vecdot", normal(1, 4, 3), normal(5, 1, 3))
    both("matvec", normal(5, 2, 3), normal(5, 3))
    both("vecmat", normal(5, 2) + 1j, normal(2, 3) + 0j)
    for axes in (0, 1, ((1, 0), (1, 2)), ((0,), (2,)), (1, 1), 4):
        both("tensordot", normal(3, 4, 3), normal(3, 4, 3), axes=axes)
    both("kron", normal(2, 3), normal(4, 5))
    both("kron", normal(2), normal(2, 4, 5))
    both("kron", normal(2, 3, 2), normal(5))
    both("cross", normal(4, 3), normal(3))
    both("cross", normal(3, 4), normal(3, 4), axis=0)
    both("cross", normal(3, 4), normal(4, 3), axisa=0, axisc=0)


EINSUMS = [
    ("ij,jk", (2, 3), (3, 4)), ("ij,jk->ki", (2, 3), (3, 4)), ("ii", (3, 3)), ("ii->i", (3, 3)), ("ij->ji", (2, 3)),
    ("ij->", (2, 3)), ("ba", (2, 3)), ("bij,bjk->bik", (5, 2, 3), (5, 3, 4)), ("...ij,...jk", (5, 2, 3), (5, 3, 4)),
    ("...ij,jk->...ik", (5, 6, 2, 3), (3, 4)), ("i,j->ij", (3,), (4,)), ("i,i->i", (3,), (3,)), ("i,i", (3,), (3,)),
    ("ij,jk,kl->il", (2, 3), (3, 4), (4, 5)), ("ij,ik,il->jkl", (2, 3), (2, 4), (2, 5)),
    ("iij,jk->k", (3, 3, 2), (2, 4)),
    ("iji->j", (3, 2, 3)), ("iii->", (3, 3, 3)), ("i...->...", (3, 4, 5)), ("...,...", (3, 4), (4,)),
    ("ij,kj->ik", (2, 3), (4, 3)), ("ij,ij->ij", (1, 3), (2, 3)), ("ij,ij->", (1, 3), (2, 3)),
    ("abc,cd,be->ade", (2, 3, 4), (4, 5), (3, 6)), ("ij,->ij", (2, 3), ()), ("ba,b->", (2, 3), (2,)),
    ("b...i,b...j->...ij", (2, 7, 3), (2, 7, 4)), ("i,j,k,l->", (2,), (3,), (2,), (3,)),
    ("ij , jk -> i k", (2, 3), (3, 4)),
    ("bqhd,bkhd->bhqk", (2, 4, 3, 5), (2, 6, 3, 5)), ("ij,j...->...i", (2, 3), (3, 4, 5)),
    ("ij,jk,ki->", (2, 3), (3, 4), (4, 2)),
]  # fmt: skip


@pytest.mark.parametrize(("subscripts", "shapes"), [(s, shapes) for s, *shapes in EINSUMS], ids=str)
def test_einsum(subscripts, shapes):
    arrays = [normal(*s) for s in shapes]
    for optimize in (True, False):
        got = staged(lambda *a, o=optimize: fnp.einsum(subscripts, *a, optimize=o), *arrays)
        assert_same(got, np.einsum(subscripts, *arrays), 1e-10)
    integers = [(10 * a).astype("i4") for a in arrays]
    assert_same(staged(lambda *a: fnp.einsum(subscripts, *a), *integers), np.einsum(subscripts, *integers))
    check_grads(lambda *a: fnp.einsum(subscripts, *a), arrays, order=1)


def test_einsum_with_lists_of_axes():
    x, y = normal(2, 3), normal(3, 4)
    assert_same(staged(lambda x, y: fnp.einsum(x, [0, 1], y, [1, 2], [2, 0]), x, y), (x @ y).T)
    assert_same(staged(lambda x, y: fnp.einsum(x, [0, 1], y, [1, 2]), x, y), x @ y)


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_einsum_of_any_two_operands(data):
    sizes = {c: data.draw(st.integers(1, 3), label=c) for c in "abcd"}
    terms = ["".join(data.draw(st.lists(st.sampled_from("abcd"), max_size=4))) for _ in range(2)]
    used = sorted(set("".join(terms)))
    out = "".join(data.draw(st.permutations(used))[: data.draw(st.integers(0, len(used)))])
    subscripts = f"{','.join(terms)}->{out}"
    arrays = [normal(*(sizes[c] for c in t)) for t in terms]
    assert_same(
        staged(lambda *a: fnp.einsum(subscripts, *a), *map(np.asarray, arrays)), np.einsum(subscripts, *arrays), 1e-9
    )


def equations(function, *args):
    jaxpr = stage(lambda *a: [function(*a)], [aval_of(a) for a in args])
    return [e.primitive.name for e in jaxpr.eqns]


def test_a_product_is_one_dot_general():
    assert equations(fnp.matmul, normal(2, 3), normal(3, 4)) == ["dot_general"]
    assert equations(fnp.matmul, normal(5, 2, 3), normal(5, 3, 4)) == ["dot_general"]
    attention = lambda q, k: fnp.einsum("bqhd,bkhd->bhqk", q, k)
    assert equations(attention, normal(2, 4, 3, 5), normal(2, 6, 3, 5)) == ["dot_general"]
    # The operands trade places instead of transposing the result.
    assert equations(lambda x, y: fnp.einsum("ij,jk->ki", x, y), normal(2, 3), normal(3, 4)) == ["dot_general"]
    assert equations(lambda x, y: x @ y, normal(3), normal(3)) == ["dot_general"]


@pytest.mark.parametrize(
    ("function", "shapes"),
    [
        (fnp.matmul, [(2, 3), (3, 4)]),
        (fnp.matmul, [(5, 2, 3), (3,)]),
        (fnp.dot, [(2, 3), (4, 3, 5)]),
        (fnp.tensordot, [(2, 3, 4), (3, 4, 2)]),
        (fnp.outer, [(3,), (4,)]),
        (fnp.kron, [(2, 3), (3, 2)]),
        (fnp.cross, [(4, 3), (3,)]),
        (fnp.vecdot, [(4, 3), (3,)]),
    ],
)
def test_derivatives_and_transforms(function, shapes):
    arrays = [normal(*s) for s in shapes]
    check_grads(function, arrays, order=2)
    assert_same(fg.jit(function)(*arrays), function(*arrays), 1e-12)
    rows = [normal(6, *s) for s in shapes]
    assert_same(fg.vmap(function)(*rows), np.stack([function(*r) for r in zip(*rows)]), 1e-12)


def test_complex_products_conjugate_the_first_vector():
    x, y = normal(3) + 1j * normal(3), normal(3) + 1j * normal(3)
    check_grads(lambda x, y: fnp.vdot(x, y).real, (x, y), order=1)


def test_errors_quote_shapes_and_subscripts():
    for text, function, *shapes in [
        (r"matmul.*\(2, 3\) and \(2, 3\).*size 3 is different from 2", fnp.matmul, (2, 3), (2, 3)),
        (r"matmul.*\(\) and \(3,\)", fnp.matmul, (), (3,)),
        (r"\(2, 3, 3\) and \(4, 3, 3\).*do not broadcast", fnp.matmul, (2, 3, 3), (4, 3, 3)),
        (r"shapes \(2, 3\) and \(2, 3\) not aligned", fnp.dot, (2, 3), (2, 3)),
        (r"three components.*\(2,\) and \(3,\)", fnp.cross, (2,), (3,)),
        (r"'j' has the sizes 3 and 4", lambda x, y: fnp.einsum("ij,jk", x, y), (2, 3), (4, 5)),
        ("'z' is in the result but in no operand", lambda x: fnp.einsum("ij->iz", x), (2, 3)),
        ("'i' is in the result more than once", lambda x: fnp.einsum("ij->ii", x), (2, 3)),
        (r"'ij' does not fit an operand of shape \(2,\)", lambda x: fnp.einsum("ij", x), (2,)),
        ("2 operands expected, 1 given", lambda x: fnp.einsum("i,j", x), (2,)),
        ("'1' is not a valid subscript", lambda x: fnp.einsum("i1", x), (2, 3)),
        ("must have the ellipsis", lambda x: fnp.einsum("...i->i", x), (2, 3)),
        ("'i' has the sizes 2 and 3", lambda x: fnp.einsum("ii", x), (2, 3)),
    ]:
        with pytest.raises(OperandError, match=text):
            staged(function, *map(np.asarray, (normal(*s) for s in shapes)))
