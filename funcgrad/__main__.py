"""The main job, ``python -m funcgrad``: train a classifier of hand-written digits and say how well and how fast.

The whole of the library at work on one page: a pure loss, its gradient, an optimizer, one jitted step.
"""

import argparse
import contextlib
import itertools
import math
import statistics
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

import funcgrad as fg
from funcgrad import nn, optim
from funcgrad.data import DataError, load_digits, load_mnist

CLASSES = 10
DIGITS_HELD_OUT = 360  # a fifth of the 1,797 digits, for testing
SPLIT_SEED = 0  # --seed varies the model and the batches, never what is held out

Params = list[dict[str, Any]]


class UsageError(Exception):
    """What the user asked for cannot be done; the message is the one line that says why."""


# The model ----------------------------------------------------------------------------------------------------------


def init_params(sizes: list[int], rng: np.random.Generator) -> Params:
    """Float32 weights of a multi-layer perceptron, of variance 2 / fan-in (He et al. 2015); biases are zero."""
    return [
        {
            "w": rng.normal(0.0, math.sqrt(2 / fan_in), (fan_in, fan_out)).astype(np.float32),
            "b": np.zeros(fan_out, np.float32),
        }
        for fan_in, fan_out in itertools.pairwise(sizes)
    ]


def logits(params: Params, images: Any) -> Any:
    """Scores of shape ``(n, 10)`` for images of shape ``(n, pixels)``."""
    *hidden, last = params
    x = images
    for layer in hidden:
        x = nn.relu(x @ layer["w"] + layer["b"])
    return x @ last["w"] + last["b"]


def loss(params: Params, images: Any, labels: Any) -> Any:
    """Mean softmax cross entropy, ``logsumexp(scores) - scores[label]``."""
    return nn.losses.softmax_cross_entropy(logits(params, images), labels)


def make_step(optimizer: optim.GradientTransformation) -> Callable[..., tuple[Params, Any, Any]]:
    """One step of training: ``(params, state, images, labels) -> (params, state, loss)``."""

    def step(params: Params, state: Any, images: Any, labels: Any) -> tuple[Params, Any, Any]:
        value, grads = fg.value_and_grad(loss)(params, images, labels)
        updates, state = optimizer.update(grads, state, params)
        return optim.apply_updates(params, updates), state, value

    return step


# The data -----------------------------------------------------------------------------------------------------------


class Data(NamedTuple):
    """Images ``(n, pixels)`` float32 in [0, 1] and labels ``(n,)`` int64, for training and for testing."""

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray


def load(directory: Path | None) -> Data:
    """The digits that ship with the library, or the IDX files in ``directory``."""
    if directory is not None:
        return Data("MNIST", *load_mnist(directory))
    images, labels = load_digits()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(images))
    train, test = order[DIGITS_HELD_OUT:], order[:DIGITS_HELD_OUT]
    return Data("digits", images[train], labels[train], images[test], labels[test])


def batches(data: Data, size: int, epochs: int, rng: np.random.Generator) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Shuffled batches of ``size``, epoch after epoch; a smaller rest is left out, so that shapes never vary."""
    for _ in range(epochs):
        order = rng.permutation(len(data.x_train))
        for start in range(0, len(order) - size + 1, size):
            rows = order[start : start + size]
            yield data.x_train[rows], data.y_train[rows]


# The job ------------------------------------------------------------------------------------------------------------


class Score(NamedTuple):
    """Mean loss, and the share of images whose largest score is their label's."""

    loss: float
    accuracy: float


def score(params: Params, images: np.ndarray, labels: np.ndarray) -> Score:
    scores = logits(params, images)
    return Score(float(nn.losses.softmax_cross_entropy(scores, labels)), float(nn.metrics.accuracy(scores, labels)))


class Run(NamedTuple):
    """A finished training: the scores before the first epoch and after each, and where the time went, in seconds."""

    train: list[Score]
    test: list[Score]
    first_step: float
    steps: list[float]
    total: float


def train(data: Data, step: Callable[..., Any], params: Params, state: Any, size: int, epochs: int, seed: int) -> Run:
    """Train for ``epochs`` passes over the data.

    Raises:
        UsageError: the loss is no longer finite.
    """
    per_epoch = len(data.x_train) // size
    run = Run([score(params, data.x_train, data.y_train)], [score(params, data.x_test, data.y_test)], 0.0, [], 0.0)
    times: list[float] = []
    started = time.perf_counter()
    feed = batches(data, size, epochs, np.random.default_rng([seed, 1]))
    with progress(feed, per_epoch * epochs) as bar:
        for images, labels in bar:
            before = time.perf_counter()
            params, state, value = step(params, state, images, labels)
            times.append(time.perf_counter() - before)
            if not math.isfinite(value):
                raise UsageError(f"the loss is {float(value)} at step {len(times)}; try a smaller --lr")
            if len(times) % per_epoch == 0:
                run.train.append(score(params, data.x_train, data.y_train))
                run.test.append(score(params, data.x_test, data.y_test))
    first, *rest = times
    return run._replace(first_step=first, steps=rest or [first], total=time.perf_counter() - started)


@contextlib.contextmanager
def progress(items: Iterable[Any], total: int) -> Iterator[Iterable[Any]]:
    """``items``, with a progress bar where a person is watching standard error."""
    if not sys.stderr.isatty():
        yield items
        return
    from tqdm import tqdm

    with tqdm(items, total=total, unit="step", leave=False) as bar:
        yield bar


def report(data: Data, run: Run, params: Params, args: argparse.Namespace) -> str:
    sizes = [len(params[0]["w"]), *(len(layer["b"]) for layer in params)]
    count = sum(leaf.size for leaf in fg.tree.leaves(params))
    step = statistics.median(run.steps)
    lines = [
        f"data   {data.name}: {len(data.x_train):,} images to train on, {len(data.x_test):,} to test on",
        f"model  {'-'.join(map(str, sizes))} perceptron, {count:,} parameters, float32; back end {args.backend}",
        f"train  loss {run.train[-1].loss:.4f}, accuracy {run.train[-1].accuracy:.2%}",
        f"test   loss {run.test[-1].loss:.4f}, accuracy {run.test[-1].accuracy:.2%}",
        f"time   compile {max(run.first_step - step, 0) * 1e3:.1f} ms, step {step * 1e6:.0f} us "
        f"(median of {len(run.steps)}), total {run.total:.1f} s",
    ]
    return "\n".join(lines)


# The picture --------------------------------------------------------------------------------------------------------


def check_plot(path: Path) -> None:
    """Say before the training, not after it, that its picture could not be written."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
    except ImportError:
        raise UsageError("--plot needs matplotlib; install it with: pip install 'funcgrad[plot]'") from None
    kinds = sorted(FigureCanvasAgg.filetypes)
    if path.suffix[1:].lower() not in kinds:
        raise UsageError(f"--plot {path}: the name must end in one of .{', .'.join(kinds)}")
    if not path.parent.is_dir():
        raise UsageError(f"--plot {path}: no directory {path.parent}")


def plot(path: Path, data: Data, run: Run) -> None:
    """Write the learning curves: loss and accuracy over epochs, on the training and the test images."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 3.6), layout="constrained")
    FigureCanvasAgg(figure)
    loss_axes, accuracy_axes = figure.subplots(1, 2)
    for label, scores, colour in (("train", run.train, "#0072b2"), ("test", run.test, "#d55e00")):
        loss_axes.plot([s.loss for s in scores], color=colour, label=label)
        accuracy_axes.plot([100 * s.accuracy for s in scores], color=colour, label=label)
    loss_axes.set(title="Cross entropy", xlabel="epoch", ylabel="loss", yscale="log")
    accuracy_axes.set(title="Accuracy", xlabel="epoch", ylabel="images classified correctly (%)", ylim=(None, 100.5))
    last = run.test[-1].accuracy
    accuracy_axes.annotate(
        f"test {last:.2%}",
        (len(run.test) - 1, 100 * last),
        xytext=(-6, -18),
        textcoords="offset points",
        ha="right",
        color="#d55e00",
    )
    for axes in (loss_axes, accuracy_axes):
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        axes.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"Training on {data.name}: {len(data.x_train):,} images")
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise UsageError(f"--plot {path}: cannot be written ({error.strerror or error})") from None


# The command line ---------------------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line, as every other error of this command is."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}\n")


def whole(least: int) -> Callable[[str], int]:
    """The type of an option that takes a whole number, ``least`` or more."""

    def parse(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text} is not a whole number from {least} on")
        return int(text)

    return parse


def positive(text: str) -> float:
    """The type of an option that takes a positive number."""
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise argparse.ArgumentTypeError(f"{text} is not a positive number")
    return value


def make_parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="python -m funcgrad",
        description="Train a classifier of hand-written digits with grad, jit and Adam.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    add = parser.add_argument
    add("--data", type=Path, metavar="DIR", help="a folder with MNIST's IDX files, instead of the built-in 8x8 digits")
    add("--backend", default="numpy", metavar="NAME", help="the back end that runs it")
    add("--epochs", type=whole(1), default=30, metavar="N", help="passes over the training images")
    add("--batch-size", type=whole(1), default=128, metavar="N", help="images a step")
    add("--lr", type=positive, default=5e-3, metavar="X", help="Adam's learning rate")
    add("--hidden", type=whole(1), nargs="+", default=[128], metavar="N", help="sizes of the hidden layers")
    add("--seed", type=whole(0), default=0, metavar="N", help="seed of the initial weights and of the batches")
    add("--show-ir", action="store_true", help="print the IR of the gradient")
    add("--show-source", action="store_true", help="print the Python source that the step compiles to")
    add("--doctor", action="store_true", help="print what funcgrad finds on this machine, and train nothing")
    add("--plot", type=Path, metavar="FILE.png", help="write a picture of the learning curves (needs matplotlib)")
    return parser


def run_job(args: argparse.Namespace) -> None:
    if args.plot is not None:
        check_plot(args.plot)
    data = load(args.data)
    if args.batch_size > len(data.x_train):
        raise UsageError(f"--batch-size {args.batch_size}: there are only {len(data.x_train)} images to train on")
    sizes = [data.x_train.shape[1], *args.hidden, CLASSES]
    params = init_params(sizes, np.random.default_rng([args.seed, 0]))
    optimizer = optim.adam(args.lr)
    state, step = optimizer.init(params), make_step(optimizer)
    batch = data.x_train[: args.batch_size], data.y_train[: args.batch_size]
    if args.show_ir:
        print(fg.make_jaxpr(fg.grad(loss))(params, *batch), end="\n\n")
    if args.show_source:
        print(fg.to_source(step, params, state, *batch), end="\n\n")
    run = train(data, fg.jit(step), params, state, args.batch_size, args.epochs, args.seed)
    print(report(data, run, params, args))
    if args.plot is not None:
        plot(args.plot, data, run)
        print(f"plot   {args.plot}")


def main(argv: list[str] | None = None) -> int:
    """Run the job; the exit status is 0, or 2 after one line on standard error about what cannot be done."""
    parser = make_parser()
    args = parser.parse_args(argv)
    if args.doctor:
        print(fg.doctor())
        return 0
    try:
        with fg.use_backend(args.backend):
            run_job(args)
    except (DataError, UsageError, fg.errors.BackendError) as error:
        print(f"{parser.prog}: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
