"""The main job as a user runs it: a process of its own, its output, its picture, and one line for a refusal."""

import ast
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import funcgrad.__main__ as job
from funcgrad import optim

MNIST = Path(__file__).parents[2] / "shared" / "data" / "mnist"
QUICK = ("--epochs", "1", "--hidden", "16")
needs_mnist = pytest.mark.skipif(not MNIST.is_dir(), reason="the real MNIST files are not beside this checkout")


def run(*arguments, prelude=""):
    """Run the job; ``prelude`` is Python code that its process executes first."""
    code = f"{prelude}\nimport runpy, sys\nsys.argv[0] = 'funcgrad'\nrunpy.run_module('funcgrad', run_name='__main__')"
    command = (
        [sys.executable, "-W", "error", "-c", code] if prelude else [sys.executable, "-W", "error", "-m", "funcgrad"]
    )
    # Tests run side by side: threads of BLAS that wait for each other on busy cores slow a step down fiftyfold.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    return subprocess.run(
        [*command, *map(str, arguments)], capture_output=True, text=True, timeout=300, env=environment
    )


def check_success(result):
    assert result.returncode == 0, result.stderr
    assert result.stderr == ""  # no bar where standard error is not a terminal
    return result.stdout


def check_refused(result, *parts):
    assert result.returncode == 2
    assert result.stdout == ""
    assert result.stderr.startswith("python -m funcgrad: ")
    assert result.stderr.count("\n") == 1 and result.stderr.endswith("\n")
    for part in parts:
        assert part in result.stderr


def accuracy(output, part):
    return float(re.search(rf"^{part} +loss \d+\.\d+, accuracy (\d+\.\d+)%$", output, re.MULTILINE).group(1))


@pytest.mark.slow
class TestTraining:
    def test_digits(self):
        output = check_success(run())
        assert "1,437 images to train on, 360 to test on" in output
        assert accuracy(output, "train") >= 99
        assert accuracy(output, "test") >= 97
        assert re.search(r"^time +compile \d+\.\d ms, step \d+ us \(median of \d+\), total \d+\.\d s$", output, re.M)

    @needs_mnist
    def test_mnist(self):
        output = check_success(run("--data", MNIST))
        assert "8,000 images to train on, 2,000 to test on" in output
        assert accuracy(output, "test") >= 95


class TestOutput:
    def test_same_seed_same_numbers(self):
        first, again, other = (
            [accuracy(check_success(run(*QUICK, "--seed", seed)), part) for part in ("train", "test")]
            for seed in (3, 3, 4)
        )
        assert first == again != other

    def test_options_reach_the_model(self):
        output = check_success(run("--epochs", 1, "--hidden", 16, 8, "--batch-size", 200, "--lr", 0.1))
        assert "64-16-8-10 perceptron" in output
        assert "median of 6" in output  # 1,437 images make seven batches of 200; the first step compiles

    def test_show_ir(self):
        output = check_success(run(*QUICK, "--show-ir"))
        ir = output.split("\n\n")[0]
        assert ir.startswith("{ lambda ") and ir.rstrip().endswith("}")
        assert "f32[128,64]" in ir and "dot_general" in ir

    def test_show_source(self):
        output = check_success(run(*QUICK, "--show-source"))
        source = output[: output.index("\ndata ")]
        assert "funcgrad" not in [
            a.name for n in ast.walk(ast.parse(source)) if isinstance(n, ast.Import) for a in n.names
        ]
        scope = {}
        exec(source, scope)
        data, params = job.load(None), job.init_params([64, 16, 10], np.random.default_rng(0))
        batch = data.x_train[:128], data.y_train[:128]
        *_, loss = scope["step"](params, optim.adam(0.1).init(params), *batch)
        np.testing.assert_allclose(loss, job.loss(params, *batch), rtol=1e-5)

    def test_plot(self, tmp_path):
        pytest.importorskip("matplotlib", reason="--plot needs matplotlib (extra plot)")
        file = tmp_path / "curves.png"
        output = check_success(run(*QUICK, "--plot", file))
        assert f"plot   {file}" in output
        data = file.read_bytes()
        assert data.startswith(b"\x89PNG\r\n\x1a\n")
        width, height = struct.unpack(">II", data[16:24])
        assert width >= 1000 and height >= 400

    def test_progress_bar_is_imported_only_when_shown(self):
        prelude = "import sys, atexit; atexit.register(lambda: print('tqdm' in sys.modules))"
        assert check_success(run(*QUICK, prelude=prelude)).endswith("False\n")

    def test_progress_bar_on_a_terminal(self):
        prelude = "import sys; sys.stderr.isatty = lambda: True"
        result = run(*QUICK, prelude=prelude)
        assert result.returncode == 0
        assert "step" in result.stderr

    def test_help_names_every_option(self):
        output = check_success(run("--help"))
        for option in (
            "data",
            "backend",
            "epochs",
            "batch-size",
            "lr",
            "hidden",
            "seed",
            "show-ir",
            "show-source",
            "plot",
        ):
            assert f"--{option}" in output


class TestRefusals:
    def test_bad_path(self, tmp_path):
        check_refused(run("--data", tmp_path / "none"), str(tmp_path / "none"), "no such directory")

    def test_empty_directory(self, tmp_path):
        check_refused(run("--data", tmp_path), str(tmp_path), "t10k-images-idx3-ubyte")

    def test_file_instead_of_directory(self, tmp_path):
        (tmp_path / "file").touch()
        check_refused(run("--data", tmp_path / "file"), "no such directory")

    @needs_mnist
    def test_truncated_file(self, tmp_path):
        for file in MNIST.iterdir():
            shutil.copyfile(file, tmp_path / file.name)
        images = tmp_path / "t10k-images-idx3-ubyte.gz"
        images.write_bytes(images.read_bytes()[:100_000])
        check_refused(run("--data", tmp_path), str(images), "truncated")

    def test_foreign_file(self, tmp_path):
        for name in ("t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"):
            (tmp_path / name).write_text("not images")
        check_refused(run("--data", tmp_path), "t10k-images-idx3-ubyte: not an IDX file")

    def test_unknown_backend(self):
        check_refused(run("--backend", "abacus"), "abacus", "numpy")

    def test_plot_without_matplotlib(self, tmp_path):
        result = run("--plot", tmp_path / "x.png", prelude="import sys; sys.modules['matplotlib'] = None")
        check_refused(result, "--plot needs matplotlib", "pip install 'funcgrad[plot]'")

    def test_plot_that_could_not_be_written(self, tmp_path):
        pytest.importorskip("matplotlib", reason="--plot needs matplotlib (extra plot)")
        check_refused(run("--plot", tmp_path / "x.tax"), "the name must end in one of", ".png")
        check_refused(run("--plot", tmp_path / "none" / "x.png"), "no directory")

    @pytest.mark.parametrize(
        ("arguments", "part"),
        [
            (("--epochs", "0"), "--epochs: 0 is not a whole number from 1 on"),
            (("--epochs", "many"), "--epochs: many is not a whole number from 1 on"),
            (("--lr", "-1"), "--lr: -1 is not a positive number"),
            (("--lr", "nan"), "--lr: nan is not a positive number"),
            (("--hidden", "16", "0"), "--hidden: 0 is not a whole number from 1 on"),
            (("--seed", "-1"), "--seed: -1 is not a whole number from 0 on"),
            (("--batch-size", "5000"), "--batch-size 5000: there are only 1437 images to train on"),
            (("--colour",), "unrecognized arguments: --colour"),
        ],
    )
    def test_bad_option(self, arguments, part):
        check_refused(run(*arguments), part)

    def test_divergence_is_said(self):
        check_refused(run("--lr", "1e30", "--epochs", "3"), "the loss is", "try a smaller --lr")
