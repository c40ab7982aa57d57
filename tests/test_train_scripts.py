"""The trainings of ``benchmarks/train`` reach their bounds, and say so when they do not."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import funcgrad

ROOT = Path(funcgrad.__file__).parents[1]
TRAIN = ROOT / "benchmarks" / "train"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not TRAIN.is_dir(), reason="the benchmarks are not in an installed package"),
]


def python(*command):
    path = os.pathsep.join([str(ROOT), str(ROOT / "backends"), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-W", "error", *map(str, command)], capture_output=True, text=True, timeout=300,
        env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def test_the_fastest_reach_their_bounds():
    names = ["newton_logistic", "deq", "vae_digits", "pinn", "gan_gaussians"]
    done = python(TRAIN / "run.py", "--quick", *names)
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{len(names)} models" in done.stdout and "all bounds met" in done.stdout


def test_a_script_runs_alone():
    done = python(TRAIN / "newton_logistic.py", "--quick")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.startswith("Newton's method") and "MISSED" not in done.stdout


def test_an_unknown_name_is_refused():
    done = python(TRAIN / "run.py", "perceptron")
    assert done.returncode == 2 and "there is no perceptron; there are softmax_regression" in done.stderr


def test_a_folder_without_mnist_fails_where_it_was_asked_for(tmp_path):
    done = python(TRAIN / "run.py", "--quick", "--data", tmp_path, "mlp_mnist")
    assert done.returncode == 1 and "missed or failed: mlp_mnist" in done.stdout


MISS = """
import sys
sys.path.insert(0, {folder!r})
import job
job.MNIST = job.Path({empty!r}) / "none"
def misses(options):
    yield job.at_most("error", float("nan"), 1.0)
def skips(options):
    yield job.at_least("digits", 1.0, 1.0)
    job.mnist(options)
missed, skipped = (job.perform(f.__name__, f, job.Options()) for f in (misses, skips))
print(missed.failed, skipped.failed, skipped.skipped)
"""


def test_a_miss_fails_and_missing_data_are_skipped_visibly(tmp_path):
    done = python("-c", MISS.format(folder=str(TRAIN), empty=str(tmp_path)))
    assert done.returncode == 0, done.stderr
    assert "error: nan (<= 1, MISSED)" in done.stdout
    assert "True False no MNIST in" in done.stdout and "give its folder by --data" in done.stdout


def test_every_script_is_in_the_table():
    source = (TRAIN / "run.py").read_text()
    scripts = {f.stem for f in TRAIN.glob("*.py") if "def train(options: job.Options)" in f.read_text()}
    assert len(scripts) == 12 and all(f'"{name}",' in source for name in scripts)
