"""The narrowest cut, against SciPy's largest flow and against all sets of values."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from funcgrad.compiler.mincut import Network, fewest_bytes
from funcgrad.core.ir import Var
from funcgrad.core.types import Aval

edges = st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9), st.integers(0, 20)), max_size=60)


@given(edges)
def test_the_largest_flow_is_scipys(found: Any) -> None:
    reference = pytest.importorskip("scipy.sparse", reason="SciPy's largest flow is the reference")
    graphs = pytest.importorskip("scipy.sparse.csgraph")
    table = np.zeros((10, 10), np.int32)
    network = Network(10)
    for a, b, capacity in found:
        if a != b:
            table[a, b] += capacity
            network.connect(a, b, capacity)
    largest = graphs.maximum_flow(reference.csr_array(table), 0, 9).flow_value
    assert network.send(0, 9) == largest
    there = network.behind(9)
    assert sum(int(table[a, b]) for a in range(10) for b in range(10) if a not in there and b in there) == largest


def can_make(v: Var, stored: set[Var], made: dict[Var, list[Var] | None]) -> bool:
    if v in stored:
        return True
    operands = made[v]
    return operands is not None and all(can_make(a, stored, made) for a in operands)


@given(
    st.lists(
        st.tuples(st.integers(1, 9), st.booleans(), st.lists(st.integers(0, 7), max_size=3)), min_size=1, max_size=8
    ),
    st.sets(st.integers(0, 7), min_size=1, max_size=3),
)
def test_no_set_of_values_is_smaller(plan: Any, ends: Any) -> None:
    values = [Var(Aval((size,), np.dtype(np.int8))) for size, _, _ in plan]
    made: dict[Var, list[Var] | None] = {
        v: None if dear else [values[k] for k in operands if k < i]
        for i, (v, (_, dear, operands)) in enumerate(zip(values, plan))
    }
    size = lambda v: v.aval.size
    wanted = [values[k % len(values)] for k in sorted(ends)]
    found = fewest_bytes(wanted, made.__getitem__, size)
    assert all(can_make(v, found, made) for v in wanted)
    sets = (set(s) for k in range(len(values) + 1) for s in combinations(values, k))
    fewest = min(sum(map(size, s)) for s in sets if all(can_make(v, s, made) for v in wanted))
    assert sum(map(size, found)) == fewest


def test_of_cuts_of_one_width_the_last_is_taken() -> None:
    """What could be stored as well as its operand is stored: nothing is made again for nothing."""
    a, b, c = (Var(Aval((4,), np.dtype(np.float64))) for _ in range(3))
    assert fewest_bytes([c], {a: None, b: [a], c: [b]}.get, lambda v: 32) == {c: None}
    assert fewest_bytes([b, c], {a: None, b: [a], c: [b]}.get, lambda v: 32) == {b: None}


def test_a_long_chain_takes_no_deep_recursion() -> None:
    values = [Var(Aval((n + 1,), np.dtype(np.int8))) for n in range(3000)]
    made = {v: values[i - 1 : i] if i else None for i, v in enumerate(values)}
    assert fewest_bytes(values[-1:], made.__getitem__, lambda v: v.aval.size) == {values[0]: None}
