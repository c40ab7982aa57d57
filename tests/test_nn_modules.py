"""The modules of ``funcgrad.nn``: that they are pytrees, what they compute, how states and keys are handed on, and that
they learn."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest

import funcgrad as fg
import funcgrad.numpy as fnp
from funcgrad import nn, optim
from funcgrad.core import backend as registry
from funcgrad.core.errors import OperandError, TreeError
from funcgrad.testing import assert_close, check_grads

KEY = fg.random.key(0)


def draw(*shape, seed=0):
    return np.random.default_rng([seed, *shape]).standard_normal(shape).astype(np.float32)


def image_model(key):
    first, second = fg.random.split(key)
    return nn.Sequential(
        nn.Conv.init(first, 2, 4, 3, strides=2, bias=False),
        nn.BatchNorm.init(4),
        nn.relu,
        nn.Residual(nn.Sequential(nn.Dropout(0.25), nn.GroupNorm.init(4, 2))),
        lambda x: fnp.mean(x, axis=(1, 2)),
        nn.Linear.init(second, 4, 3),
    )


#: A module, and an input of it.
MODULES = {
    "BatchNorm": (nn.BatchNorm.init(4), draw(6, 4)),
    "Conv": (nn.Conv.init(KEY, 2, 4, 3, strides=2, groups=2), draw(2, 6, 5, 2)),
    "ConvTranspose": (nn.ConvTranspose.init(KEY, 3, 2, (2,), strides=2), draw(2, 4, 3)),
    "Dropout": (nn.Dropout(0.5), draw(4, 5)),
    "Embedding": (nn.Embedding.init(KEY, 5, 3), np.array([[1, 4], [0, 0]])),
    "Function": (nn.Function(nn.gelu), draw(3)),
    "GRU": (nn.GRU.init(KEY, 3, 4), draw(2, 5, 3)),
    "GroupNorm": (nn.GroupNorm.init(6, 3), draw(2, 4, 6)),
    "LSTM": (nn.LSTM.init(KEY, 3, 4), draw(2, 5, 3)),
    "LayerNorm": (nn.LayerNorm.init(4), draw(2, 4)),
    "Linear": (nn.Linear.init(KEY, 4, 3), draw(2, 4)),
    "MLP": (nn.MLP.init(KEY, (4, 5, 3)), draw(2, 4)),
    "MultiHeadAttention": (nn.MultiHeadAttention.init(KEY, 6, 2), draw(2, 3, 6)),
    "RMSNorm": (nn.RMSNorm.init(4), draw(2, 4)),
    "RNN": (nn.RNN.init(KEY, 3, 4), draw(2, 5, 3)),
    "ResNet9": (nn.ResNet9.init(KEY, channels=1, classes=4), draw(6, 8, 8, 1)),
    "Residual": (nn.Residual(nn.Linear.init(KEY, 4, 4)), draw(2, 4)),
    "Sequential": (image_model(KEY), draw(3, 6, 6, 2)),
    "Transformer": (
        nn.Transformer.init(KEY, vocabulary=7, length=6, width=4, layers=2, heads=2, dropout=0.1),
        np.array([[1, 2, 6, 0], [3, 3, 5, 1]]),
    ),
    "TransformerBlock": (nn.TransformerBlock.init(KEY, 6, 2, dropout=0.2, causal=True), draw(2, 3, 6)),
}
modules = pytest.mark.parametrize("name", MODULES)


def call(model, x, state, **options):
    """The result, and the new state, None if there is none."""
    return model(x, **options) if state is None else model(x, state, **options)[0]


def test_every_module_is_tested():
    kinds = {n for n in nn.__all__ if isinstance(getattr(nn, n), type) and issubclass(getattr(nn, n), nn.Module)}
    assert kinds == {*MODULES, "Module"}


# What holds for all ---------------------------------------------------------------------------------------------------


@modules
def test_a_module_is_a_pytree_of_its_parameters(name):
    model, _ = MODULES[name]
    pairs, structure = fg.tree.flatten_with_path(model)
    assert all(type(leaf) is np.ndarray and leaf.dtype == np.float32 for _, leaf in pairs)
    assert_close(fg.tree.unflatten(structure, [leaf for _, leaf in pairs]), model)
    for path, leaf in pairs:
        assert eval("model" + fg.tree.keystr(path), {"model": model}) is leaf
    if name != "Sequential":  # it holds a lambda
        assert_close(pickle.loads(pickle.dumps(model)), model)
    with pytest.raises(AttributeError):
        model.anything = 1
    assert repr(model).startswith(f"{name}(") and "array(" not in repr(model)


@modules
def test_the_laws_hold_for_the_whole_model(name):
    model, x = MODULES[name]
    state = model.init_state(x.shape[:1]) if name in ("RNN", "LSTM", "GRU") else model.init_state()
    y = call(model, x, state)
    assert y.dtype == np.float32
    assert_close(fg.jit(lambda m, x, s: call(m, x, s))(model, x, state), y, rtol=1e-4, atol=1e-5)
    train = dict(train=True, key=fg.random.key(1))

    def loss(m, x=x):
        z = call(m, x, state, **train)
        return fnp.sum(fnp.sin(z) * fnp.cos(fnp.arange(z.size, dtype=np.float32)).reshape(z.shape))

    grads = fg.grad(loss)(model)
    assert fg.tree.structure(grads) == fg.tree.structure(model)
    assert all(g.dtype == np.float32 and np.isfinite(g).all() for g in fg.tree.leaves(grads))
    assert_close(fg.jit(fg.grad(loss))(model), grads, rtol=1e-3, atol=2e-4)
    if fg.tree.leaves(model) and name != "ResNet9":
        double = fg.tree.map(lambda w: w.astype(np.float64), model)
        wide = x.astype(np.float64) if x.dtype.kind == "f" else x
        check_grads(lambda m: loss(m, wide), (double,), order=1, tol=1e-5)


@modules
def test_a_batch_is_its_examples(name):
    """In evaluation, each example is treated alone; also under vmap over models."""
    model, x = MODULES[name]
    state = model.init_state()
    if name in ("RNN", "LSTM", "GRU"):
        state = None
    y = call(model, x, state)
    rows = fg.vmap(lambda row: call(model, row[None], state)[0])(x)
    assert_close(rows, y, rtol=2e-5, atol=2e-5)
    twice = fg.tree.map(lambda w: np.stack([w, 2 * w]), model)
    if fg.tree.leaves(model):
        many = fg.vmap(lambda m: call(m, x, state))(twice)
        double = fg.tree.map(lambda w: 2 * w, model)
        assert_close(many[0], y, rtol=2e-5, atol=2e-5)
        assert_close(many[1], call(double, x, state), rtol=2e-4, atol=2e-4)


@modules
def test_init_is_a_function_of_its_key(name):
    model, _ = MODULES[name]
    made = {
        "Linear": lambda k: nn.Linear.init(k, 4, 3),
        "Transformer": lambda k: nn.Transformer.init(
            k, vocabulary=7, length=6, width=4, layers=2, heads=2, dropout=0.1
        ),
        "ResNet9": lambda k: nn.ResNet9.init(k, channels=1, classes=4),
        "LSTM": lambda k: nn.LSTM.init(k, 3, 4),
    }.get(name)
    if made is None:
        return
    assert_close(made(KEY), model)
    other = made(fg.random.key(7))
    assert any((a != b).any() for a, b in zip(fg.tree.leaves(model), fg.tree.leaves(other)))
    many = fg.vmap(made)(fg.random.split(KEY, 3))
    assert fg.tree.leaves(many)[0].shape == (3, *fg.tree.leaves(model)[0].shape)
    assert all(w.dtype == np.float64 for w in fg.tree.leaves(nn.Linear.init(KEY, 2, 2, dtype=np.float64)))


# States and keys ------------------------------------------------------------------------------------------------------


def test_who_gives_a_state_gets_one_back():
    model, x = MODULES["Sequential"]
    state = model.init_state()
    assert [s is not None for s in state] == [False, True, False, False, False, False]
    y, new = model(x, state, train=True, key=KEY)
    assert y.shape == (3, 3)
    mean = np.mean(model[0](x), axis=(0, 1, 2))
    np.testing.assert_allclose(new[1].mean, 0.1 * mean, rtol=1e-5, atol=1e-7)
    np.testing.assert_array_equal(state[1].mean, 0)  # the state that was given is as it was
    same, unchanged = model(x, new)
    assert_close(unchanged, new)
    assert (same != model(x, state)[0]).any()
    assert nn.MLP.init(KEY, (2, 2)).init_state() is None


def test_states_of_residuals_and_nested_models():
    model, x = MODULES["ResNet9"]
    state = model.init_state()
    assert len(fg.tree.leaves(state)) == 16  # eight batch norms
    y, new = model(x, state, train=True)
    assert fg.tree.structure(new) == fg.tree.structure(state)
    assert all((a != b).any() for a, b in zip(fg.tree.leaves(new), fg.tree.leaves(state)))
    assert y.shape == (6, 4)


def test_a_missing_state_raises():
    model, x = MODULES["Sequential"]
    with pytest.raises(
        OperandError, match=r"nn.BatchNorm: it normalizes by running statistics, .* write `state = model.init"
    ):
        model(x)
    with pytest.raises(OperandError, match="Sequential of 6 layers takes the state of model.init_state"):
        model(x, (None,))


def test_keys_are_handed_on():
    model = nn.Sequential(nn.Dropout(0.5), nn.Dropout(0.5))
    x = np.ones((4, 50))
    y = model(x, train=True, key=KEY)
    assert set(np.unique(y)) == {0.0, 4.0}  # the two masks are independent: some elements pass both
    assert 0.15 < np.mean(y > 0) < 0.35
    np.testing.assert_array_equal(model(x, train=True, key=KEY), y)
    np.testing.assert_array_equal(model(x, key=KEY), x)
    with pytest.raises(OperandError, match="in training it needs a key"):
        model(x, train=True)


def test_recurrent_states():
    x = draw(2, 6, 3)
    for layer in (MODULES[n][0] for n in ("RNN", "LSTM", "GRU")):
        state = layer.init_state((2,))
        whole, last = layer(x, state)
        np.testing.assert_array_equal(layer(x), whole)
        first, middle = layer(x[:, :3], state)
        second, end = layer(x[:, 3:], middle)
        assert_close(np.concatenate([first, second], 1), whole)
        assert_close(end, last)
    stack = nn.Sequential(nn.LSTM.init(KEY, 3, 4), nn.GRU.init(KEY, 4, 2))
    y, state = stack(x, stack.init_state((2,)))
    assert y.shape == (2, 6, 2) and state[0].c.shape == (2, 4) and state[1].shape == (2, 2)
    assert_close(stack(x), y)


# What they compute ----------------------------------------------------------------------------------------------------


def test_layers_are_their_functions():
    x = draw(2, 4)
    w, b = draw(4, 3), draw(3)
    np.testing.assert_array_equal(nn.Linear(w, b)(x), nn.linear(x, w, b))
    np.testing.assert_array_equal(nn.Linear(w)(x), x @ w)
    image, kernel = draw(1, 6, 6, 4), draw(3, 3, 2, 4)
    conv = nn.Conv(kernel, strides=2, padding=1, groups=2)
    np.testing.assert_array_equal(conv(image), nn.conv(image, kernel, strides=2, padding=1, groups=2))
    scale, bias = draw(4), draw(4, seed=1)
    np.testing.assert_array_equal(nn.LayerNorm(scale, bias)(x), nn.layer_norm(x, scale, bias))
    np.testing.assert_array_equal(nn.GroupNorm(scale, bias, 2)(x), nn.group_norm(x, 2, scale, bias))
    np.testing.assert_array_equal(nn.RMSNorm(scale)(x), nn.rms_norm(x, scale))
    assert nn.Linear.init(KEY, 3, 2, bias=False).bias is None
    np.testing.assert_array_equal(nn.LSTM.init(KEY, 3, 2).bias, [0, 0, 1, 1, 0, 0, 0, 0])
    mlp, h = MODULES["MLP"]
    first, _, second = mlp
    assert_close(mlp(h), np.maximum(h @ first.weight + first.bias, 0) @ second.weight + second.bias)
    assert len(mlp) == 3


def test_initial_variances():
    w = nn.Linear.init(KEY, 400, 300).weight
    assert w.var() * 400 == pytest.approx(1, rel=0.02)
    w = nn.MLP.init(KEY, (400, 300)).layers[0].weight
    assert w.var() * 400 == pytest.approx(2, rel=0.02)
    w = nn.LSTM.init(KEY, 8, 16).weight_h
    np.testing.assert_allclose(w[:, 16:32].T @ w[:, 16:32], np.eye(16), atol=1e-5)
    assert nn.Embedding.init(KEY, 200, 300).table.std() == pytest.approx(1, rel=0.02)


def test_attention_is_torchs():
    torch = pytest.importorskip("torch", reason="torch is an oracle of the layers")
    width, heads = 8, 2
    ours = nn.MultiHeadAttention.init(KEY, width, heads)
    theirs = torch.nn.MultiheadAttention(width, heads, batch_first=True)
    maps = (ours.to_query, ours.to_key, ours.to_value)
    with torch.no_grad():
        theirs.in_proj_weight.copy_(torch.tensor(np.concatenate([m.weight.T for m in maps])))
        theirs.in_proj_bias.copy_(torch.tensor(np.concatenate([m.bias for m in maps])))
        theirs.out_proj.weight.copy_(torch.tensor(np.ascontiguousarray(ours.to_out.weight.T)))
        theirs.out_proj.bias.copy_(torch.tensor(ours.to_out.bias))
    x, context = draw(2, 5, width), draw(2, 3, width, seed=1)
    mask = np.array([[True, True, False]] * 5)
    t, c = torch.tensor(x), torch.tensor(context)
    want = theirs(t, c, c, attn_mask=torch.tensor(~mask))[0].detach().numpy()
    np.testing.assert_allclose(ours(x, context=context, mask=mask), want, rtol=1e-4, atol=1e-5)


def test_a_decoder_does_not_look_ahead():
    model, tokens = MODULES["Transformer"]
    changed = tokens.copy()
    changed[:, 2:] = 4
    before, after = model(tokens), model(changed)
    np.testing.assert_allclose(before[:, :2], after[:, :2], rtol=1e-5, atol=1e-7)
    assert (before[:, 2:] != after[:, 2:]).any(-1).all()
    with pytest.raises(OperandError, match=r"tokens of shape \(1, 7\) must be \(\.\.\., T\) with T up to 6"):
        model(np.zeros((1, 7), int))


def test_resnet9_on_images_of_the_course():
    model = nn.ResNet9.init(KEY)
    shape = fg.eval_shape(lambda m, x, s: m(x, s), model, np.zeros((2, 32, 32, 3), np.float32), model.init_state())[0]
    assert shape == fg.ShapeDtypeStruct((2, 10), np.float32)
    kernels = [leaf.shape for path, leaf in fg.tree.leaves_with_path(model) if leaf.ndim == 4]
    assert kernels == [
        (7, 7, 3, 16), (3, 3, 16, 32), (3, 3, 32, 32), (3, 3, 32, 32),
        (3, 3, 32, 64), (3, 3, 64, 128), (3, 3, 128, 128), (3, 3, 128, 128),
    ]  # fmt: skip


def test_images_of_a_wrong_shape():
    images = np.zeros((2, 28, 28), np.float32)
    with pytest.raises(
        OperandError, match=r"nn.linear: x of shape \(2, 28, 28\) does not fit a weight of shape \(784, 5\)"
    ):
        nn.MLP.init(KEY, (784, 5))(images)
    model = nn.ResNet9.init(KEY, channels=1)
    for run in (lambda f: f, fg.jit):
        for x in (images, np.zeros((2, 28, 28, 3), np.float32), np.zeros((2, 1, 28, 28), np.float32)):
            with pytest.raises(
                OperandError, match=r"x of shape .* does not fit a kernel .* \(batch, \*spatial, channels\)"
            ):
                run(model)(x, model.init_state())


# Models of one's own --------------------------------------------------------------------------------------------------


@nn.module
class Twice(nn.Module):
    inner: nn.Linear
    scale: Any
    times: int = nn.static(default=2)

    def apply(self, x, state, *, train, key, shift=0.0):
        for _ in range(self.times):
            x = self.inner(x) * self.scale + shift
        return x, state


def test_a_module_of_ones_own():
    model = Twice(nn.Linear.init(KEY, 3, 3), np.float32(0.5), times=3)
    x = draw(2, 3)
    y = x
    for _ in range(3):
        y = 0.5 * (y @ model.inner.weight + model.inner.bias)
    assert_close(model(x), y.astype(np.float32))
    assert_close(nn.Sequential(model, nn.relu)(x), np.maximum(model(x), 0))
    assert (model(x, shift=1.0) != y).any()
    assert [fg.tree.keystr(p) for p, _ in fg.tree.leaves_with_path(model)] == [".inner.weight", ".inner.bias", ".scale"]
    # What is static is part of the program.
    step = fg.jit(lambda m: m(x))
    step(model)
    step(Twice(model.inner, model.scale, times=1))
    assert step.cache_info().misses == 2


def test_messages():
    @nn.module
    class Empty(nn.Module):
        pass

    with pytest.raises(TypeError, match="Empty is a nn.Module without a method apply"):
        Empty()(1.0)
    with pytest.raises(OperandError, match="nn.Sequential takes modules and functions, not 3"):
        nn.Sequential(3)
    with pytest.raises(OperandError, match="nn.Sequential takes modules and functions, not <class"):
        nn.Sequential(nn.Linear)
    with pytest.raises(OperandError, match="nn.Conv: 2 groups do not divide 3 and 4 channels"):
        nn.Conv.init(KEY, 3, 4, 3, groups=2)
    with pytest.raises(OperandError, match="nn.MultiHeadAttention: 3 heads do not divide the width 8"):
        nn.MultiHeadAttention.init(KEY, 8, 3)
    with pytest.raises(
        OperandError, match=r"nn.MLP: sizes must be those of the input and the output at least, not \(3,\)"
    ):
        nn.MLP.init(KEY, (3,))


# Models as a whole ----------------------------------------------------------------------------------------------------


def test_partition_and_combine():
    model, x = MODULES["MLP"]
    trained, frozen = nn.partition(model, lambda path, leaf: path.startswith(".layers[2]"))
    assert len(fg.tree.leaves(trained)) == len(fg.tree.leaves(frozen)) == 2
    assert_close(nn.combine(trained, frozen), model)
    assert_close(nn.combine(frozen, trained), model)
    grads = fg.jit(fg.grad(lambda t: fnp.sum(nn.combine(t, frozen)(x) ** 2)))(trained)
    full = fg.grad(lambda m: fnp.sum(m(x) ** 2))(model)
    assert_close(fg.tree.leaves(grads), fg.tree.leaves(full.layers[2]), rtol=1e-4)
    optimizer = optim.adam(0.1)
    updates, _ = optimizer.update(grads, optimizer.init(trained), trained)
    moved = nn.combine(optim.apply_updates(trained, updates), frozen)
    assert_close(moved.layers[0], model.layers[0])
    assert (moved.layers[2].weight != model.layers[2].weight).any()
    with pytest.raises(TreeError, match="both parts hold the same leaf"):
        nn.combine(model, model)
    # A parameter that is None stays so.
    bare = nn.Linear.init(KEY, 2, 2, bias=False)
    assert nn.combine(*nn.partition(bare, lambda path, leaf: True)).bias is None


def test_count_parameters():
    assert nn.count_parameters(nn.MLP.init(KEY, (4, 5, 3))) == 4 * 5 + 5 + 5 * 3 + 3
    assert nn.count_parameters(nn.Conv.init(KEY, 4, 6, (3, 2), groups=2)) == 3 * 2 * 2 * 6 + 6
    assert nn.count_parameters({"w": np.zeros(3), "steps": np.array(1)}) == 3
    assert nn.count_parameters(nn.Dropout(0.5)) == 0


def flops_of(text):
    return {line.split()[0]: int(line.split()[-1].replace(",", "")) for line in text.splitlines()[1:]}


def test_summary_counts_operations():
    model = nn.Sequential(
        nn.Conv.init(KEY, 3, 8, 5, strides=2), lambda x: fnp.mean(x, axis=(1, 2)), nn.Linear.init(KEY, 8, 10)
    )
    found = flops_of(nn.summary(model, np.zeros((4, 16, 16, 3), np.float32)))
    assert found[".layers[0].kernel"] == 2 * (4 * 8 * 8 * 8) * (5 * 5 * 3)
    assert found[".layers[2].weight"] == 2 * 4 * 8 * 10
    assert found[".layers[0].bias"] == 0
    assert found["total"] == found[".layers[0].kernel"] + found[".layers[2].weight"]


def test_summary_of_loops_and_attention():
    batch, time, inputs, hidden = 2, 7, 3, 4
    found = flops_of(
        nn.summary(
            nn.LSTM.init(KEY, inputs, hidden),
            draw(batch, time, inputs),
            nn.LSTMState(*[np.zeros((batch, hidden), np.float32)] * 2),
        )
    )
    assert found[".weight_x"] == 2 * batch * time * inputs * 4 * hidden
    assert found[".weight_h"] == 2 * batch * time * hidden * 4 * hidden
    width, heads = 8, 2
    text = nn.summary(
        nn.MultiHeadAttention.init(KEY, width, heads), fg.ShapeDtypeStruct((batch, time, width), "float32")
    )
    found = flops_of(text)
    assert found[".to_value.weight"] == 2 * batch * time * width * width
    assert found["between"] == 2 * 2 * batch * time * time * width
    assert found["total"] == 4 * found[".to_value.weight"] + found["between"]


def test_summary_of_a_model_with_a_state():
    model, x = MODULES["ResNet9"]
    lines = nn.summary(model, x).splitlines()
    assert lines[0].split() == ["parameter", "shape", "dtype", "size", "FLOPs"]
    assert lines[-1].split()[1] == f"{nn.count_parameters(model):,}"
    assert len(lines) == len(fg.tree.leaves(model)) + 2


def test_diagnose():
    model, x = MODULES["MLP"]
    grads = fg.grad(lambda m: fnp.sum(m(x) ** 2))(model)
    found = nn.diagnose.norms(model, grads)
    assert list(found) == [fg.tree.keystr(p) for p, _ in fg.tree.leaves_with_path(model)]
    weight = found[".layers[0].weight"]
    assert weight.parameter == pytest.approx(np.linalg.norm(model.layers[0].weight), rel=1e-6)
    assert weight.gradient == pytest.approx(np.linalg.norm(grads.layers[0].weight), rel=1e-6)
    with pytest.raises(TreeError):
        nn.diagnose.norms(model, model.layers[0])


def test_zero_weights_show_in_the_diagnosis():
    """Course, lecture 6: all weights zero is a fixed point; only the last bias learns."""
    model = nn.MLP.init(KEY, (4, 5, 3), weight_init=nn.init.zeros)
    grads = fg.grad(lambda m: nn.losses.mse(m(np.ones((2, 4), np.float32)), np.ones((2, 3), np.float32)))(model)
    assert nn.diagnose.zero_gradients(grads) == [".layers[0].weight", ".layers[0].bias", ".layers[2].weight"]
    assert (
        nn.diagnose.zero_gradients(fg.grad(lambda m: fnp.sum(m(np.ones((2, 4), np.float32))))(MODULES["MLP"][0])) == []
    )


# They learn -----------------------------------------------------------------------------------------------------------


def fit(model, loss, steps, rate=0.01):
    """Adam with one jitted step; the state and the key go through it."""
    optimizer = optim.adam(rate)

    @fg.jit
    def step(model, state, opt_state, key):
        (value, state), grads = fg.value_and_grad(loss, has_aux=True)(model, state, key)
        updates, opt_state = optimizer.update(grads, opt_state, model)
        return optim.apply_updates(model, updates), state, opt_state, value

    state, opt_state, values = model.init_state(), optimizer.init(model), []
    for i in range(steps):
        model, state, opt_state, value = step(model, state, opt_state, fg.random.fold_in(KEY, i))
        values.append(float(value))
    return model, state, values


def test_a_small_network_of_everything_learns():
    x = draw(12, 6, 6, 2)
    labels = np.arange(12) % 3

    def loss(model, state, key):
        scores, state = model(x, state, train=True, key=key)
        return nn.losses.softmax_cross_entropy(scores, labels), state

    model, state, values = fit(image_model(KEY), loss, 150, 0.03)
    assert values[-1] < 0.35 * values[0]
    scores, _ = model(x, state)
    assert nn.metrics.accuracy(scores, labels) > 0.8


def test_a_transformer_learns_to_copy():
    tokens = np.random.default_rng(0).integers(0, 6, (8, 7))
    tokens[:, 4:] = tokens[:, :3]  # the second half repeats the first
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    counted = np.broadcast_to(np.arange(6) >= 3, targets.shape)

    def loss(model, state, key):
        scores = model(inputs, train=True, key=key)
        return nn.losses.softmax_cross_entropy(scores, targets, where=counted), state

    model = nn.Transformer.init(KEY, vocabulary=6, length=6, width=16, layers=1, heads=2)
    model, _, values = fit(model, loss, 80, 0.02)
    assert values[0] == pytest.approx(np.log(6), rel=0.05)
    assert values[-1] < 0.1
    assert nn.metrics.accuracy(model(inputs), targets, where=counted) == 1


def test_an_lstm_learns_to_remember():
    bits = np.random.default_rng(0).integers(0, 2, (16, 8))
    x = bits[..., None].astype(np.float32)

    def loss(model, state, key):
        return nn.losses.softmax_cross_entropy(model(x), np.roll(bits, 2, axis=1), where=np.arange(8) >= 2), state

    model = nn.Sequential(nn.LSTM.init(KEY, 1, 12), nn.Linear.init(fg.random.key(5), 12, 2))
    _, _, values = fit(model, loss, 150, 0.03)
    assert values[-1] < 0.05 * values[0]


# Other transforms, other back ends ------------------------------------------------------------------------------------


def test_layers_as_a_loop():
    """Blocks drawn by vmap are one stacked model, which scan walks through; checkpoint keeps only what goes between."""
    keys = fg.random.split(KEY, 3)
    stacked = fg.vmap(lambda k: nn.TransformerBlock.init(k, 6, 2, causal=True))(keys)
    x = draw(2, 4, 6)

    def run(stacked, x):
        return fg.lax.scan(lambda h, block: (fg.checkpoint(lambda b, h: b(h))(block, h), None), x, stacked)[0]

    def loop(stacked, x):
        for i in range(3):
            x = fg.tree.map(lambda w, i=i: w[i], stacked)(x)
        return x

    assert_close(run(stacked, x), loop(stacked, x), rtol=1e-4, atol=1e-5)
    got = fg.jit(fg.grad(lambda m: fnp.sum(run(m, x) ** 2)))(stacked)
    assert_close(got, fg.grad(lambda m: fnp.sum(loop(m, x) ** 2))(stacked), rtol=1e-3, atol=1e-3)


def test_per_example_gradients_and_ensembles():
    model, x = MODULES["MLP"]
    each = fg.vmap(fg.grad(lambda m, row: fnp.sum(m(row) ** 2)), in_axes=(None, 0))(model, x)
    whole = fg.grad(lambda m: fnp.sum(m(x) ** 2))(model)
    assert_close(fg.tree.map(lambda g: g.sum(0), each), whole, rtol=1e-4, atol=1e-5)
    ensemble = fg.vmap(lambda k: nn.MLP.init(k, (4, 5, 3)))(fg.random.split(KEY, 4))
    assert fg.vmap(lambda m: m(x))(ensemble).shape == (4, 2, 3)


def test_curvature_of_a_whole_model():
    """Forward over reverse, and reverse over reverse: H v is the same."""
    model = fg.tree.map(lambda w: w.astype(np.float64), nn.MLP.init(KEY, (3, 4, 2), activation=nn.gelu))
    x, labels = draw(5, 3).astype(np.float64), np.array([0, 1, 1, 0, 1])
    v = fg.tree.map(lambda w: np.cos(np.arange(w.size)).reshape(w.shape), model)

    def loss(m):
        return nn.losses.softmax_cross_entropy(m(x), labels)

    _, forward = fg.jvp(fg.grad(loss), (model,), (v,))
    inner = lambda m: sum(fnp.sum(g * t) for g, t in zip(fg.tree.leaves(fg.grad(loss)(m)), fg.tree.leaves(v)))
    assert_close(fg.grad(inner)(model), forward, rtol=1e-9, atol=1e-12)


@pytest.fixture
def xp():
    library = pytest.importorskip("array_api_strict", reason="array_api_strict is a back end of another library")
    backend = pytest.importorskip("funcgrad_array_api").make_backend(library, "array_api_strict")
    registry.register_backend(backend)
    yield library
    registry._registry.pop(backend.name)
    for t in backend.array_types:
        registry._types.pop(t, None)


@pytest.mark.parametrize("name", ["ResNet9", "TransformerBlock", "LSTM"])
def test_models_train_on_another_back_end(name, xp):
    model, x = MODULES[name]
    state = model.init_state() if name == "ResNet9" else None

    def loss(m, x, s, key):
        return fnp.sum(call(m, x, s, train=True, key=key) ** 2)

    def there(tree):
        return fg.tree.map(lambda a: xp.asarray(np.asarray(a)), tree)

    step = fg.jit(fg.value_and_grad(loss))
    value, grads = step(model, x, state, KEY)
    other, other_grads = step(there(model), there(x), there(state), there(KEY))
    assert type(other) is type(xp.asarray(1.0))
    assert float(other) == pytest.approx(float(value), rel=1e-4)
    assert_close(fg.tree.map(np.asarray, other_grads), grads, rtol=1e-2, atol=1e-2)
