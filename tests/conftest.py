"""What holds for every test: types are checked after every step, examples are the same in every run."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from importlib.metadata import version

import numpy as np
import pytest
from hypothesis import settings

from funcgrad.core.config import Config, config

# The settings are a thread's own; the default of all threads is the attribute of the class.
Config.check_ir = True

settings.register_profile("funcgrad", deadline=None, derandomize=True, max_examples=50, database=None)
settings.load_profile("funcgrad")

#: Libraries that no test needs, but that some compare with.
ORACLES = ("scipy", "jax", "optax", "torch")


def pytest_report_header() -> list[str]:
    """Say what is compared with what, so that a run without an oracle shows as one."""
    found = [f"{n} {version(n)}" if importlib.util.find_spec(n) else f"{n} not installed" for n in ORACLES]
    return [f"numpy {np.__version__}; optional oracles: {', '.join(found)}; check_ir is on"]


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """What needs a GPU is run when it is asked for: ``pytest -m gpu``. Then it is skipped, visibly, where there is none."""
    if "gpu" not in config.getoption("markexpr"):
        left = [item for item in items if item.get_closest_marker("gpu")]
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if not item.get_closest_marker("gpu")]


@pytest.fixture(autouse=True)
def checked_settings() -> Iterator[None]:
    """Every test starts with the same settings, and with the IR checked."""
    with config(check_ir=True, debug_nans=False, explain_retraces=False):
        yield
