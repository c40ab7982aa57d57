"""What the compiler makes of the benchmark programs, counted: a change that undoes a fusion, sends a part of a native
program back to Python or keeps an array for longer fails here.

The numbers are a ratchet, not a truth: who improves on one writes the new one down. Of a compiled program of the NumPy
back end, at full size: the groups that it runs in blocks, and the most bytes of temporary memory. Of one of the LLVM back
end, whose groups do not depend on sizes, at tiny size: all groups, in one native segment.
"""

import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

import funcgrad as fg
from funcgrad.core.ir import subjaxprs
from funcgrad_numpy import pool

sys.path.insert(0, str(Path(__file__).parent.parent / "benchmarks"))  # they are scripts, not a package

from libraries import Funcgrad
from suites import compiler, programs

#: NumPy: groups, kB of temporaries; LLVM: groups.
TABLE = {
    "n-body": (0, 206, 9),
    "lotka-volterra": (0, 33, 13),
    "black-scholes": (0, 1120, 1),
    "gaussian-process": (3, 3378, 14),
    "logistic-hessian": (4, 960, 16),
    "kalman-filter": (0, 69, 13),
    "heat-equation": (1, 1819, 2),
    "k-means": (0, 1682, 6),
    "factorisation": (1, 1028, 6),
    "hmc": (0, 20, 12),
    "harmonics": (0, 8872, 1),
    "python-loop": (0, 724, 2),
    "gelu-16k": (0, 197, 1),
    "gelu-1m": (1, 2098, 1),
    "mlp-small": (0, 192, 7),
    "mlp-large": (0, 2113, 10),
    "lstm": (0, 22150, 8),
    "transformer": (12, 35900, 11),
    "cnn": (4, 26488, 8),
    "mlp-adam": (1, 1214, 7),
}
#: LLVM, two threads: kB of temporaries and results, at most what JAX 0.10.2 says of its program.
MEMORY = {
    "n-body": 36.7, "lotka-volterra": 18.6, "black-scholes": 480, "gaussian-process": 1920.2, "logistic-hessian": 350.8,
    "kalman-filter": 32.3, "heat-equation": 1049.4, "k-means": 1041.6, "factorisation": 525.2, "hmc": 18,
    "harmonics": 1120, "gelu-16k": 131.1, "gelu-1m": 8388.7, "mlp-small": 950.4, "mlp-large": 11669.6, "lstm": 16255,
    "transformer": 23079, "cnn": 16959.3, "mlp-adam": 2442.5,
}  # fmt: skip
SLOW = ("python-loop",)  # seconds to compile at full size


@pytest.fixture(scope="module")
def thunks():
    """From the name of a case and whether it is tiny to a fresh thunk of it."""
    makers = {
        (case.name, tiny): case.makers["funcgrad"]
        for suite in (programs, compiler)
        for tiny in (True, False)
        for case in suite.cases(tiny=tiny)
        if case.kind == "call"
    }
    library = Funcgrad()
    return lambda name, tiny: makers[name, tiny](library)


def groups(jaxpr):
    """The groups of a program, those in bodies of control flow among them."""
    inner = (groups(body) for e in jaxpr.eqns if e.primitive.name != "fusion" for body in subjaxprs(e.params))
    return sum(e.primitive.name == "fusion" for e in jaxpr.eqns) + sum(inner)


def test_every_compiled_program_of_the_benchmarks_is_counted(thunks):
    names = {case.name for suite in (programs, compiler) for case in suite.cases(tiny=True) if case.kind == "call"}
    # Of 16 M elements, and beside a loop in C, the program is that of 1 M.
    assert names - {"gelu-16m", "gelu-1m-floor", "gelu-16m-floor"} == set(TABLE)


@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in TABLE])
def test_groups_and_temporaries_of_the_numpy_back_end(thunks, name):
    with fg.config(num_threads=1):
        program = thunks(name, False).compiled()._program
    count, kilobytes, _ = TABLE[name]
    assert groups(program.jaxpr) == count
    assert program.memory.temp_size_in_bytes <= 1000 * kilobytes


@pytest.mark.parametrize("name", TABLE)
def test_a_program_of_the_llvm_back_end_is_one_native_segment(thunks, name):
    pytest.importorskip("llvmlite")
    with fg.use_backend("llvm"):
        program = thunks(name, True).compiled()._program
    assert groups(program.jaxpr) == TABLE[name][2]
    assert (len(program.steps), program.segments) == (1, 1)


@pytest.mark.parametrize("name", MEMORY)
def test_memory_of_the_llvm_back_end(thunks, name):
    pytest.importorskip("llvmlite")
    with fg.use_backend("llvm"), fg.config(num_threads=2):
        memory = thunks(name, False).compiled().memory_analysis()
    assert memory.temp_size_in_bytes + memory.output_size_in_bytes <= 1000 * MEMORY[name]


@pytest.mark.parametrize("name", ["black-scholes", "heat-equation", "mlp-large"])
def test_a_call_of_a_native_program_allocates_its_results_and_nothing_else(thunks, name):
    pytest.importorskip("llvmlite")
    with fg.use_backend("llvm"):
        thunk = thunks(name, False)
        thunk()
        pool.clear()  # of results that nobody holds, whose memory would be used again
        tracemalloc.start()
        results = thunk()
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    sizes = sum(np.asarray(y).nbytes for y in fg.tree.leaves(results))
    assert sizes <= peak < sizes + 10_000
