"""The benchmarks compute what they say: every suite runs at tiny sizes, and the programs equal plain NumPy and JAX.

No times are asserted here: `benchmarks/run.py` measures, on a machine that does nothing else.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import funcgrad as fg

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))  # they are scripts, not a package

from programs import PROGRAMS  # noqa: E402
from suites import NAMES  # noqa: E402

programs = pytest.mark.parametrize("name", PROGRAMS)


def run(*options):
    """The finished process of ``benchmarks/run.py``."""
    path = os.pathsep.join(filter(None, sys.path))
    return subprocess.run(
        [sys.executable, BENCHMARKS / "run.py", *options],
        capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path},
    )  # fmt: skip


@programs
def test_a_program_equals_plain_numpy(name):
    program = PROGRAMS[name]
    inputs = program.inputs(tiny=True)
    found = fg.jit(program.program(fg))(*inputs)
    expected = program.reference(*inputs)
    assert expected and set(expected) <= set(found)
    assert not program.WHOLE_REFERENCE or set(expected) == set(found)
    for key, value in expected.items():
        np.testing.assert_allclose(found[key], value, rtol=1e-9, atol=1e-11, err_msg=key)


@programs
def test_a_program_is_the_same_in_jax(name):
    jax = pytest.importorskip("jax")
    pytest.importorskip("jax.scipy.linalg")
    program = PROGRAMS[name]
    inputs = program.inputs(tiny=True)
    found = fg.jit(program.program(fg))(*inputs)
    with jax.enable_x64(True):
        expected = jax.jit(program.program(jax))(*map(jax.numpy.asarray, inputs))
    assert set(found) == set(expected)
    for key, value in expected.items():
        assert found[key].dtype == value.dtype
        np.testing.assert_allclose(found[key], value, rtol=1e-9, atol=1e-11, err_msg=key)


@pytest.mark.slow
@pytest.mark.parametrize("suite", NAMES)
def test_a_suite_runs_without_peers_other_than_numpy(suite, tmp_path):
    file = tmp_path / "results.json"
    finished = run("--suite", suite, "--smoke", "--against", "numpy", "--json", str(file))
    assert finished.returncode == 0, finished.stdout + finished.stderr
    document = json.loads(file.read_text())
    assert document["environment"]["suite"] == suite
    assert all("funcgrad" in case["seconds"] and not case["disagreement"] for case in document["cases"])


def test_an_unknown_case_is_named():
    finished = run("--suite", "programs", "--only", "n-bodies")
    assert finished.returncode == 2
    assert "'n-bodies' is not one of n-body," in finished.stderr
