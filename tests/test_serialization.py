"""save and load: every pytree comes back as it was, and every damaged, foreign or ill-fitting file is refused."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import funcgrad as fg
from funcgrad import optim
from funcgrad.errors import SerializationError

DTYPES = [
    "bool",
    "int8",
    "int16",
    "int32",
    "int64",
    "uint8",
    "uint16",
    "uint32",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
]


class Pair(NamedTuple):
    first: Any
    second: Any


@fg.tree.register_dataclass
@dataclass(frozen=True)
class Layer:
    w: Any
    b: Any
    name: str = field(default="", metadata={"static": True})
    activation: Any = field(default=None, metadata={"static": True})


def assert_same(got, want):
    assert fg.tree.structure(got) == fg.tree.structure(want)
    for g, w in zip(fg.tree.leaves(got), fg.tree.leaves(want), strict=True):
        assert type(g) is type(w)
        assert (np.asarray(g).dtype, np.shape(g)) == (np.asarray(w).dtype, np.shape(w))
        np.testing.assert_array_equal(np.asarray(g), np.asarray(w))


LEAVES = st.one_of(
    hnp.arrays(st.sampled_from(DTYPES).map(np.dtype), hnp.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=3)),
    st.sampled_from([np.float32(1.5), np.int8(-3), np.bool_(True), np.complex64(1j)]),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(),
    st.complex_numbers(),
)
TREES = st.recursive(
    st.one_of(LEAVES, st.none()),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(st.text(max_size=4), inner, max_size=3),
        st.builds(Pair, inner, inner),
        st.builds(Layer, inner, inner, st.text(max_size=3)),
    ),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(values=TREES)
def test_what_is_saved_is_loaded(tmp_path_factory, values):
    file = tmp_path_factory.mktemp("saved") / "x.safetensors"
    fg.save(file, values)
    assert_same(fg.load(file), values)
    assert_same(fg.load(file, like=values), values)
    assert os.listdir(file.parent) == [file.name]


def test_arrays_in_any_memory_order(tmp_path):
    base = np.arange(24.0).reshape(4, 6)
    views = [base.T, base[::2, ::-3], np.broadcast_to(base[0], (3, 6)), base.astype(">f8"), np.asfortranarray(base)]
    fg.save(tmp_path / "x", views)
    for got, want in zip(fg.load(tmp_path / "x"), views, strict=True):
        np.testing.assert_array_equal(got, want)
        assert got.dtype.isnative and got.flags.writeable and got.flags.owndata


def test_other_programs_read_the_arrays(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    fg.save(tmp_path / "x", {"layers": [{"w": np.ones((2, 2))}]})
    assert list(safetensors.load_file(tmp_path / "x")) == ["['layers'][0]['w']"]


def test_static_fields(tmp_path):
    layer = Layer(np.ones(2), np.zeros(2), "first", np.tanh)
    fg.save(tmp_path / "x", layer)
    with pytest.raises(SerializationError, match=r"the static field 'activation' of the tree \(Layer\).* pass like="):
        fg.load(tmp_path / "x")
    again = fg.load(tmp_path / "x", like=layer)
    assert again.activation is np.tanh and again.name == "first"


def test_a_training_goes_on_bit_for_bit(tmp_path):
    """Parameters, optimizer state and random key: a run with a break equals one without."""
    optimizer = optim.chain(optim.scale_by_adam(), optim.scale_by_learning_rate(0.1))

    @fg.jit
    def step(carry):
        params, state, key = carry
        key, noise = fg.random.split(key)
        grads = fg.grad(lambda p: ((p["w"] - fg.random.normal(noise, (3,))) ** 2).sum())(params)
        updates, state = optimizer.update(grads, state, params)
        return optim.apply_updates(params, updates), state, key

    params = {"w": np.zeros(3)}
    start = (params, optimizer.init(params), fg.random.key(0))
    straight = start
    for _ in range(6):
        straight = step(straight)
    broken = start
    for _ in range(3):
        broken = step(broken)
    fg.save(tmp_path / "x", broken)
    resumed = fg.load(tmp_path / "x")
    for _ in range(3):
        resumed = step(resumed)
    assert_same(resumed, straight)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"a": [1.0, "text"]}, r"\['a'\]\[1\] is a str of dtype <U4, no array"),
        ({"a": np.array([None])}, r"\['a'\] is a ndarray of dtype object, no array"),
        ({1: np.ones(2)}, r"the dict at the top has the key 1; only strings are kept"),
        ({"x": {(1, 2): 1.0}}, r"the dict at \['x'\] has the key \(1, 2\)"),
        (__import__("collections").OrderedDict(a=1.0), r"the tree is a OrderedDict; only dicts"),
    ],
)
def test_what_cannot_be_saved(tmp_path, values, message):
    with pytest.raises(SerializationError, match=message):
        fg.save(tmp_path / "x", values)
    assert os.listdir(tmp_path) == []


def test_a_failed_save_leaves_the_old_file(tmp_path):
    fg.save(tmp_path / "x", [1.0])
    with pytest.raises(SerializationError):
        fg.save(tmp_path / "x", ["text"])
    assert fg.load(tmp_path / "x") == [1.0]


def test_a_missing_file(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such file"):
        fg.load(tmp_path / "x")


def test_every_damage_is_found(tmp_path):
    """No byte of a file can change, and none can go, unnoticed."""
    file = tmp_path / "x"
    fg.save(file, {"w": np.arange(4.0), "n": 3})
    data = file.read_bytes()
    rng = np.random.default_rng(0)
    for position in [*range(60), *rng.integers(0, len(data), 200), len(data) - 1]:
        changed = bytearray(data)
        changed[position] ^= 1 << rng.integers(8)
        file.write_bytes(changed)
        with pytest.raises(SerializationError):
            fg.load(file)
    for length in [0, 7, 8, 100, len(data) - 1]:
        file.write_bytes(data[:length])
        with pytest.raises(SerializationError, match="damaged or not a safetensors file"):
            fg.load(file)


def test_a_foreign_file(tmp_path):
    safetensors = pytest.importorskip("safetensors.numpy")
    safetensors.save_file({"w": np.ones(2)}, tmp_path / "x")
    with pytest.raises(SerializationError, match=r"was not written by funcgrad.save .*safetensors.numpy.load_file"):
        fg.load(tmp_path / "x")


@pytest.mark.parametrize(
    ("like", "message"),
    [
        ({"w": np.ones((2, 3)), "b": np.ones(3), "c": 1.0}, r"it has nothing at \['c'\]"),
        ({"w": np.ones((2, 3))}, r"it has \['b'\], like has not"),
        ({"w": np.ones((2, 4)), "b": np.ones(3)}, r"\['w'\] is float64\[2, 3\], like has float64\[2, 4\]"),
        ({"w": np.ones((2, 3), np.float32), "b": np.ones(3)}, r"\['w'\] is float64\[2, 3\], like has float32\[2, 3\]"),
    ],
)
def test_another_model(tmp_path, like, message):
    fg.save(tmp_path / "x", {"w": np.ones((2, 3)), "b": np.ones(3)})
    with pytest.raises(SerializationError, match=message):
        fg.load(tmp_path / "x", like=like)


def test_a_class_that_is_not_imported(tmp_path):
    """A file names classes; none is imported for it, and only pytrees are made."""
    fg.save(tmp_path / "x", Pair(1.0, 2.0))
    code = f"import funcgrad as fg; fg.load({str(tmp_path / 'x')!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "which this program has not imported as a pytree; import it first, or pass like=" in done.stderr
    assert "test_serialization.Pair" in done.stderr


def test_a_file_cannot_name_any_other_class(tmp_path):
    safetensors = pytest.importorskip("safetensors")
    fg.save(tmp_path / "x", Pair(1.0, 2.0))
    with safetensors.safe_open(tmp_path / "x", framework="numpy") as file:
        node = json.loads(file.metadata()["structure"])
    from funcgrad.serialization import Saved

    node["class"] = "subprocess:Popen"
    with pytest.raises(SerializationError, match=r"subprocess.Popen, which this program has not imported as a pytree"):
        Saved.read(tmp_path / "x")._replace(structure=node).build()
