"""nn.mixed_precision: the rule of torch's GradScaler, gradients that float16 alone would lose, steps that are skipped."""

from __future__ import annotations

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import nn, optim, tree
from funcgrad.core.errors import OperandError, OperandTypeError
from funcgrad.nn.mixed_precision import DynamicLossScale, Policy, StaticLossScale, all_finite, select

F16 = Policy.parse("compute=float16")


def test_a_policy_casts_real_floats_and_nothing_else():
    values = {"w": np.ones(2), "n": np.arange(2), "mask": np.array([True]), "z": np.ones(1, np.complex64)}
    found = Policy(param=np.float64, compute="f16", output=np.float32).cast_to_compute(values)
    assert {name: x.dtype.name for name, x in found.items()} == {
        "w": "float16", "n": "int64", "mask": "bool", "z": "complex64",
    }  # fmt: skip
    same = np.ones(3, np.float16)
    assert F16.cast_to_compute(same) is same
    assert F16.cast_to_output(same).dtype == F16.cast_to_param(same).dtype == np.float32


@pytest.mark.parametrize(
    "text, names",
    [
        ("float16", ("float16",) * 3),
        ("params=f32, compute=f16, output=f64", ("float32", "float16", "float64")),
        ("compute=float16", ("float32", "float16", "float32")),
    ],
)
def test_parse(text, names):
    policy = Policy.parse(text)
    assert (policy.param.name, policy.compute.name, policy.output.name) == names


@pytest.mark.parametrize("text", ["compute=f16,compute=f32", "weights=f16", "f16,compute=f16"])
def test_a_text_that_is_no_policy(text):
    with pytest.raises(OperandError, match="write each of params=, compute= and output= at most once"):
        Policy.parse(text)


@pytest.mark.parametrize("dtype", ["int32", "half precision", np.complex64])
def test_a_policy_of_another_dtype(dtype):
    with pytest.raises(OperandTypeError, match="compute must be float16, float32 or float64, not"):
        Policy(compute=dtype)


def test_bfloat16_is_refused_until_the_functions_have_it():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    with pytest.raises(OperandTypeError, match="not bfloat16"):
        Policy(compute=ml_dtypes.bfloat16)


def test_gradients_have_the_dtype_of_the_parameters():
    model = nn.MLP.init(fg.random.key(0), [3, 4, 2])
    x = np.random.default_rng(0).standard_normal((5, 3)).astype(np.float32)

    def loss(model, policy):
        model, inputs = policy.cast_to_compute((model, x))
        y = model(inputs)
        assert fnp.asarray(y).dtype == policy.compute
        return fnp.sum(policy.cast_to_output(y) ** 2)

    found, expected = (fg.jit(fg.grad(lambda m, p=p: loss(m, p)))(model) for p in (F16, Policy()))
    for f, e in zip(tree.leaves(found), tree.leaves(expected)):
        assert f.dtype == np.float32
        assert np.linalg.norm(f - e) <= 1e-2 * np.linalg.norm(e)


def test_scaling_saves_gradients_that_float16_loses():
    tiny = np.float32(2.0**-20)

    def grad_of(scale):
        def loss(w):
            y = F16.cast_to_compute(w) * F16.cast_to_compute(tiny)
            return scale.scale(F16.cast_to_output(y) * tiny)

        return scale.unscale(fg.grad(loss)(np.float32(1.0)))

    assert grad_of(StaticLossScale(1.0)) == 0
    assert grad_of(StaticLossScale(2.0**18)) == tiny * tiny
    assert grad_of(DynamicLossScale.init(2.0**18)) == tiny * tiny


def test_scales_leave_integers_alone_and_widen_float16():
    scale = StaticLossScale(np.float32(4))
    scaled = scale.scale({"a": np.float16(60000), "b": np.float64(1.5), "n": np.int32(3)})
    assert scaled == {"a": 240000.0, "b": 6.0, "n": 3}
    assert [x.dtype.name for x in scaled.values()] == ["float32", "float64", "int32"]
    assert scale.unscale(np.float16(2.0**-24)) == 2.0**-26
    assert scale.adjust(np.False_) is scale


@pytest.mark.parametrize("jit", [False, True])
def test_the_dynamic_scale_follows_torch(jit):
    torch = pytest.importorskip("torch")
    options = {"growth_factor": 4.0, "backoff_factor": 0.25, "growth_interval": 3}
    theirs = torch.amp.GradScaler("cpu", init_scale=2.0**10, **options)
    weight = torch.nn.Parameter(torch.zeros(1))
    optimizer = torch.optim.SGD([weight], lr=1.0)
    ours = DynamicLossScale.init(2.0**10, interval=3, growth=4.0, backoff=0.25)
    adjust = fg.jit(lambda s, finite: s.adjust(finite)) if jit else lambda s, finite: s.adjust(finite)
    for finite in np.random.default_rng(0).random(40) < 0.8:
        theirs.scale(torch.zeros(()))  # makes its state
        weight.grad = torch.tensor([1.0 if finite else float("inf")])
        theirs.step(optimizer)
        theirs.update()
        ours = adjust(ours, finite)
        assert ours.value == theirs.get_scale()
        assert ours.good_steps == theirs.state_dict()["_growth_tracker"]
        assert (ours.value.dtype, ours.good_steps.dtype) == (np.float32, np.int32)


def test_the_scale_neither_overflows_nor_passes_its_minimum():
    largest = DynamicLossScale.init(2.0**127, interval=1).adjust(True)
    assert (largest.value, largest.good_steps) == (2.0**127, 0)
    least = DynamicLossScale.init(3.0, minimum=1.0)
    for expected in (1.5, 1.0, 1.0):
        least = least.adjust(False)
        assert least.value == expected


@pytest.mark.parametrize(
    "options, what",
    [
        ({"value": 0.0}, "value must be positive"), ({"interval": 0}, "interval must be at least 1"),
        ({"growth": 1.0}, "growth must be above 1"), ({"backoff": 1.0}, "backoff must be between 0 and 1"),
        ({"value": 1.0, "minimum": 2.0}, "minimum must be between 0 and value"),
    ],
)  # fmt: skip
def test_numbers_out_of_range(options, what):
    with pytest.raises(OperandError, match=what):
        DynamicLossScale.init(**options)


def test_all_finite():
    assert all_finite({}) and all_finite({"w": np.ones(2), "n": np.arange(3)})
    for bad in (np.inf, -np.inf, np.nan):
        assert not fg.jit(all_finite)({"w": np.ones(2), "b": np.array([1.0, bad])})


def test_a_training_that_skips_the_steps_that_overflow():
    """The scale is found by itself, the skipped steps change neither model nor optimizer, and the loss falls."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((64, 3)).astype(np.float32)
    y = x @ np.float32([[1.0], [-2.0], [0.5]])
    tx = optim.adam(0.05)

    def loss(w):
        return fnp.mean((F16.cast_to_output(F16.cast_to_compute(x) @ F16.cast_to_compute(w)) - y) ** 2)

    @fg.jit
    def step(w, state, scale):
        grads = scale.unscale(fg.grad(lambda w: scale.scale(loss(w)))(w))
        finite = all_finite(grads)
        updates, new = tx.update(grads, state, w)
        w, state = select(finite, (optim.apply_updates(w, updates), new), (w, state))
        return w, state, scale.adjust(finite), finite

    w = np.zeros((3, 1), np.float32)
    state, scale = tx.init(w), DynamicLossScale.init(2.0**24, interval=50)
    before, taken = loss(w), []
    with np.errstate(over="ignore", invalid="ignore"):
        for _ in range(120):
            old = w, state
            w, state, scale, finite = step(w, state, scale)
            taken.append(bool(finite))
            if not finite:
                fg.testing.assert_close((w, state), old)
    assert not taken[0] and 1 <= taken.count(False) < 30
    assert loss(w) < 1e-2 * before
