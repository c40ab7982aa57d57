"""The public conformance suite of the array API standard, run on ``funcgrad.numpy``.

It is a checkout of https://github.com/data-apis/array-api-tests, submodules included, and is on no package index:

    FUNCGRAD_ARRAY_API_TESTS=/path/to/array-api-tests python -m pytest tests/array_api

``skips.txt`` lists what is not run, with the reason on each line. Without a checkout our own copy of the standard's
claims stands alone (``test_array_api_standard.py``).
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

import funcgrad
import funcgrad_numpy

SKIPS = Path(__file__).with_name("skips.txt")
VARIABLE = "FUNCGRAD_ARRAY_API_TESTS"


def skipped() -> list[tuple[str, str]]:
    """The test (or the beginning of its name) and the reason, of each line."""
    lines = [line for line in SKIPS.read_text().splitlines() if line and not line.startswith("#")]
    return [(test.strip(), reason.strip()) for test, _, reason in (line.partition("  # ") for line in lines)]


def test_every_skip_has_a_reason() -> None:
    tests = [test for test, _ in skipped()]
    assert tests and len(set(tests)) == len(tests)
    for test, reason in skipped():
        assert re.match(r"array_api_tests/test_\w+\.py::test_\w+", test) and reason, test


@pytest.mark.skipif(VARIABLE not in os.environ, reason=f"{VARIABLE} names no checkout of data-apis/array-api-tests")
def test_the_public_suite_passes(tmp_path: Path) -> None:
    checkout = Path(os.environ[VARIABLE]).expanduser()
    assert (checkout / "array_api_tests").is_dir(), f"{VARIABLE}={checkout} is no checkout of array-api-tests"
    plain = tmp_path / "skips.txt"
    plain.write_text("\n".join(test for test, _ in skipped()))
    roots = {str(Path(m.__file__ or "").parent.parent) for m in (funcgrad, funcgrad_numpy)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "array_api_tests", "--skips-file", str(plain), "-p", "no:cacheprovider"],
        cwd=checkout,
        env={
            **os.environ,
            "ARRAY_API_TESTS_MODULE": "funcgrad.numpy",
            "PYTHONPATH": os.pathsep.join([*sorted(roots), os.environ.get("PYTHONPATH", "")]),
        },
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-20_000:] + done.stderr[-2_000:]
