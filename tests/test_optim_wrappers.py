"""Clipping, decay, noise, masks, accumulation, averages, and hyper-parameters within them."""

import numpy as np
import pytest
from optimizers import grad_fn, trees

import funcgrad as fg
from funcgrad import lax, optim
from funcgrad.errors import OperandTypeError, TreeError

RNG = np.random.default_rng(3)


def check_equal_trees(ours, theirs, rtol=1e-12):
    assert fg.tree.structure(ours) == fg.tree.structure(theirs)
    for a, b in zip(fg.tree.leaves(ours), fg.tree.leaves(theirs)):
        np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol)


def run(optimizer, params, steps, update=None):
    state, path = optimizer.init(params), []
    for _ in range(steps):
        updates, state = (update or optimizer.update)(grad_fn(params), state, params)
        params = optim.apply_updates(params, updates)
        path.append(params)
    return path, state


def no_b(tree):
    return {key: key != "b" for key in tree}


LABELS = {"w": "fast", "b": "frozen", "s": "slow"}
CHAINS = {
    "clip": lambda o: o.chain(o.clip(0.05), o.sgd(0.5)),
    "clip_by_block_rms": lambda o: o.chain(o.clip_by_block_rms(0.05), o.sgd(0.5)),
    "clip_by_global_norm": lambda o: o.chain(o.clip_by_global_norm(0.1), o.sgd(0.5)),
    "clip_by_large_norm": lambda o: o.chain(o.clip_by_global_norm(1e3), o.sgd(0.5)),
    "adaptive_grad_clip": lambda o: o.chain(o.adaptive_grad_clip(0.1), o.sgd(0.5)),
    "coupled_decay": lambda o: o.chain(o.add_decayed_weights(0.1), o.adam(0.05)),
    "decoupled_decay": lambda o: o.adamw(0.05, weight_decay=0.1, mask=no_b),
    "scheduled_decay": lambda o: o.adamw(0.05, weight_decay=lambda count: 0.1 / (1 + count)),
    "masked": lambda o: o.masked(o.adam(0.05), no_b),
    "mask_prefix": lambda o: o.masked(o.sgd(0.05), {"w": True, "b": False, "s": True}),
    "multi_transform": lambda o: o.multi_transform(
        {"fast": o.adam(0.1), "slow": o.sgd(0.01, 0.9), "frozen": o.set_to_zero()}, LABELS
    ),
    "centralize": lambda o: o.chain(o.centralize(), o.sgd(0.5)),
    "ema": lambda o: o.chain(o.ema(0.8), o.scale(-0.1)),
    "ema_biased": lambda o: o.chain(o.ema(0.8, debias=False), o.scale(-0.1)),
    "trust_ratio": lambda o: o.chain(o.scale_by_trust_ratio(0.01, 0.5, 0.1), o.scale(-0.1)),
}


def optax_and_jax():
    optax = pytest.importorskip("optax", reason="Optax is the reference of the optimizers (extra bench)")
    return optax, pytest.importorskip("jax")


def optax_path(jax, optax, reference, params, steps, read=lambda p: p):
    path = []
    state, update = reference.init(params), jax.jit(reference.update)
    for _ in range(steps):
        updates, state = update(grad_fn(fg.tree.map(np.asarray, read(params))), state, params)
        params = jax.tree.map(np.asarray, optax.apply_updates(params, updates))
        path.append(read(params))
    return path


@pytest.mark.parametrize("case", CHAINS)
def test_chains_go_where_optax_goes(case):
    optax, jax = optax_and_jax()
    params = trees()["dict"]
    optimizer = CHAINS[case](optim)
    for update in (None, fg.jit(optimizer.update)):
        ours, _ = run(optimizer, params, 20, update)
        with jax.enable_x64(True):
            check_equal_trees(ours, optax_path(jax, optax, CHAINS[case](optax), params, 20), rtol=1e-9)


# Clipping -------------------------------------------------------------------------------------------------------------


def test_clipping_by_the_norm_of_a_leaf():
    grads = {"a": np.array([3.0, 4.0]), "b": np.array([0.3, 0.4]), "c": np.zeros(2)}
    clip = optim.clip_by_block_norm(1.0)
    clipped, _ = clip.update(grads, clip.init(grads))
    check_equal_trees(clipped, {"a": np.array([0.6, 0.8]), "b": np.array([0.3, 0.4]), "c": np.zeros(2)})


@pytest.mark.parametrize("shape", [(), (4,), (4, 1), (3, 4), (2, 3, 4), (2, 2, 3, 4), (2, 2, 2, 3, 4)])
def test_adaptive_clipping_of_every_rank(shape):
    optax, jax = optax_and_jax()
    w, g = RNG.normal(size=shape), 5 * RNG.normal(size=shape)
    ours, theirs = optim.adaptive_grad_clip(0.2), optax.adaptive_grad_clip(0.2)
    with jax.enable_x64(True):
        expected, _ = theirs.update(jax.numpy.asarray(g), theirs.init(w), jax.numpy.asarray(w))
    np.testing.assert_allclose(ours.update(g, ours.init(w), w)[0], expected, rtol=1e-12)


def test_the_global_norm():
    tree = {"a": RNG.normal(size=(3, 2)), "b": [RNG.normal(size=4) + 1j]}
    flat = np.concatenate([np.ravel(x) for x in fg.tree.leaves(tree)])
    np.testing.assert_allclose(optim.global_norm(tree), np.linalg.norm(flat), rtol=1e-14)
    assert optim.global_norm({}) == 0.0
    np.testing.assert_array_equal(fg.grad(optim.global_norm)(np.zeros(2)), [0.0, 0.0])
    assert optim.global_norm(np.full(4, 300.0, np.float16)) == np.float32(600.0)  # its square overflows in float16


@pytest.mark.parametrize(
    "clip", [optim.clip_by_global_norm(0.5), optim.clip_by_block_norm(0.5), optim.clip_by_block_rms(0.5)]
)
def test_clipping_keeps_dtypes_and_differentiates(clip):
    grads = {"half": np.full(3, 100.0, np.float16), "single": np.ones(2, np.float32)}
    clipped, _ = clip.update(grads, clip.init(grads))
    assert {k: v.dtype for k, v in clipped.items()} == {"half": np.float16, "single": np.float32}
    for x in (np.array([3.0, 4.0]), np.array([0.1, 0.2])):
        fg.testing.check_grads(lambda g: clip.update(g, clip.init(g))[0], (x,), order=2)


def test_clipping_values_of_complex_gradients():
    with pytest.raises(OperandTypeError, match="clip has no meaning for complex gradients; use clip_by_block_norm"):
        optim.clip(1.0).update(np.ones(1, complex), optim.clip(1.0).init(None))


# Noise ----------------------------------------------------------------------------------------------------------------


def test_noise_has_the_variance_it_should():
    zeros = {"a": np.zeros(20_000), "b": np.zeros(20_000)}
    noise = optim.add_noise(0.25, 1.0, fg.random.key(0))
    state = noise.init(zeros)
    seen = []
    for t in (1, 2, 3):
        updates, state = fg.jit(noise.update)(zeros, state)
        seen += [updates["a"], updates["b"]]
        assert updates["a"].var() == pytest.approx(0.25 / t, rel=0.05)
    correlations = np.corrcoef(seen) - np.eye(6)
    assert np.abs(correlations).max() < 0.05
    again, _ = noise.update(zeros, noise.init(zeros))
    np.testing.assert_array_equal(again["a"], seen[0])


# Masks ----------------------------------------------------------------------------------------------------------------


def test_a_mask_spares_the_memory_of_what_it_leaves_out():
    params = {"body": [np.ones(2), np.ones(3)], "head": np.ones(4)}
    optimizer = optim.masked(optim.adam(0.1), {"body": False, "head": True})
    state = optimizer.init(params)
    assert state.inner[0].mu["body"] == [None, None]
    updates, _ = optimizer.update(params, state, params)
    np.testing.assert_array_equal(updates["body"][1], np.ones(3))
    np.testing.assert_allclose(updates["head"], -0.1)


def test_labels_by_a_function():
    params = {"w": np.ones((2, 2)), "b": np.ones(2)}

    def by_rank(tree):
        return fg.tree.map(lambda x: "matrix" if np.ndim(x) > 1 else "rest", tree)

    optimizer = optim.multi_transform({"matrix": optim.sgd(0.1), "rest": optim.set_to_zero()}, by_rank)
    (path, *_), _ = run(optimizer, params, 1)
    np.testing.assert_array_equal(path["b"], params["b"])
    np.testing.assert_allclose(path["w"], params["w"] - 0.1 * grad_fn(params)["w"])


def test_messages_of_masks():
    params = {"w": np.ones(2), "b": np.ones(2)}
    with pytest.raises(TreeError, match="the label 'other' at \\['b'\\] has no transformation; there are 'train'"):
        optim.multi_transform({"train": optim.sgd(0.1)}, {"w": "train", "b": "other"}).init(params)
    with pytest.raises(TreeError, match="masked: the mask is not a prefix"):
        optim.masked(optim.sgd(0.1), {"w": True}).init(params)
    with pytest.raises(TreeError, match="the leaves of a mask are True or False, known before any array is, not [01]"):
        optim.masked(optim.sgd(0.1), {"w": 1, "b": 0}).init(params)


# Accumulation and averages --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("mean", [True, False])
def test_accumulation_is_that_of_optax(jit, mean):
    optax, jax = optax_and_jax()
    params = trees()["dict"]
    ours = optim.multi_steps(optim.adam(0.05), lambda step: 2 + step % 2, use_grad_mean=mean)
    path, state = run(ours, params, 11, fg.jit(ours.update) if jit else None)
    with jax.enable_x64(True):
        theirs = optax.MultiSteps(optax.adam(0.05), lambda step: 2 + step % 2, use_grad_mean=mean)
        check_equal_trees(path, optax_path(jax, optax, theirs, params, 11), rtol=1e-5)  # it accumulates in float32
    assert int(state.gradient_step) == int(state.inner[0].count) == 4
    assert int(state.mini_step) == 1


def test_accumulated_batches_are_one_batch():
    params, grads = np.zeros(3), RNG.normal(size=(4, 3))
    one, many = optim.adam(0.1), optim.multi_steps(optim.adam(0.1), 4)
    expected, _ = one.update(grads.mean(0), one.init(params))
    state = many.init(params)
    for g in grads:
        updates, state = many.update(g, state)
    np.testing.assert_allclose(updates, expected, rtol=1e-12)
    with pytest.raises(ValueError, match="at least one gradient for an update, not 0"):
        optim.multi_steps(one, 0)


@pytest.mark.parametrize("reset", [False, True])
def test_lookahead_goes_where_optax_goes(reset):
    optax, jax = optax_and_jax()
    params = trees()["dict"]
    optimizer = optim.lookahead(optim.adam(0.05), 4, 0.3, reset)
    path, state = run(optimizer, params, 20, fg.jit(optimizer.update))
    with jax.enable_x64(True):
        theirs = optax.lookahead(optax.adam(0.05), 4, 0.3, reset)
        pair = optax.LookaheadParams.init_synced(params)
        check_equal_trees(path, optax_path(jax, optax, theirs, pair, 20, lambda p: p.fast), rtol=1e-9)
    check_equal_trees(state.slow, path[-1])
    with pytest.raises(ValueError, match="a sync_period of at least 1, not 0"):
        optim.lookahead(optim.sgd(0.1), 0, 0.5)


def test_the_average_of_parameters():
    params = trees()["dict"]
    path, state = run(optim.chain(optim.adam(0.1), optim.ema_params(0.7)), params, 6)
    average = params
    for p in path:
        average = fg.tree.map(lambda a, b: 0.7 * a + 0.3 * b, average, p)
    check_equal_trees(state[-1].ema, average)
    check_equal_trees(optim.incremental_update({"a": 1.0}, {"a": 0.0}, 0.25), {"a": 0.25})


def test_wrappers_within_scan_keep_their_types():
    params = fg.tree.map(np.float32, trees()["dict"])
    optimizer = optim.multi_steps(
        optim.lookahead(
            optim.chain(optim.clip_by_global_norm(1.0), optim.masked(optim.adamw(lambda c: 0.1 / (1 + c)), no_b)),
            2,
            0.5,
        ),
        3,
    )
    optimizer = optim.chain(optimizer, optim.ema_params(0.9))

    def step(carry, _):
        p, state = carry
        updates, state = optimizer.update(grad_fn(p), state, p)
        return (optim.apply_updates(p, updates), state), None

    (found, state), _ = fg.jit(lambda p: lax.scan(step, (p, optimizer.init(p)), None, length=12))(params)
    path, expected = run(optimizer, params, 12)
    check_equal_trees((found, state), (path[-1], expected), rtol=1e-5)
    assert all(x.dtype == np.float32 for x in fg.tree.leaves(found))


# Hyper-parameters -----------------------------------------------------------------------------------------------------


def rate(state):
    return float(optim.hyperparameters(state)["learning_rate"])


@pytest.mark.parametrize("jit", [False, True])
def test_a_scheduled_value_is_read_held_and_given_back(jit):
    optimizer = optim.adam(lambda count: 1.0 / (1 + count))
    update = fg.jit(optimizer.update) if jit else optimizer.update
    g = np.ones(1)
    state = optimizer.init(g)
    seen = []
    for t in range(7):
        if t == 2:
            state = optim.with_hyperparameters(state, learning_rate=0.125, eps=1e-9)
        if t == 4:
            state = optim.with_hyperparameters(state, learning_rate=None)
        seen.append(rate(state))
        updates, state = update(g, state)
        np.testing.assert_allclose(updates, -seen[-1], rtol=1e-6)
    assert seen == [1.0, 0.5, 0.125, 0.125, 0.125, 1 / 6, 1 / 7]
    assert float(optim.hyperparameters(state)["eps"]) == 1e-9


def test_any_hyperparameter_has_a_schedule():
    optimizer = optim.with_schedules(
        optim.chain(optim.clip_by_global_norm(1.0), optim.sgd(1.0)), max_norm=optim.linear_schedule(4.0, 1.0, 3)
    )
    state = optimizer.init(np.ones(1))
    for expected in (4.0, 3.0, 2.0, 1.0, 1.0):
        updates, state = fg.jit(optimizer.update)(np.array([10.0]), state)
        np.testing.assert_allclose(updates, [-expected], rtol=1e-12)
    with pytest.raises(ValueError, match="'max_nrom' is no hyper-parameter of this state; it has learning_rate"):
        optim.with_schedules(optim.sgd(1.0), max_nrom=abs).init(np.ones(1))


def test_a_schedule_for_all_labels():
    params = trees()["dict"]
    groups = optim.multi_transform({"a": optim.sgd(1.0), "b": optim.sgd(1.0)}, {"w": "a", "b": "b", "s": "b"})
    optimizer = optim.with_schedules(groups, learning_rate=optim.linear_schedule(1.0, 0.0, 4))
    state = optimizer.init(params)
    for expected in (1.0, 0.75, 0.5):
        updates, state = fg.jit(optimizer.update)(params, state)
        check_equal_trees(updates, fg.tree.map(lambda p: -expected * p, params))  # noqa: B023
    held = optim.with_hyperparameters(state, learning_rate=0.125)
    updates, held = optimizer.update(params, held)
    updates, _ = optimizer.update(params, held)
    check_equal_trees(updates, fg.tree.map(lambda p: -0.125 * p, params))


def test_hyperparameters_under_labels():
    params = trees()["dict"]
    state = CHAINS["multi_transform"](optim).init(params)
    found = optim.hyperparameters(state)
    assert {k: sorted(v) for k, v in found.items()} == {
        "fast": ["b1", "b2", "eps", "learning_rate"], "slow": ["decay", "learning_rate"], "frozen": [],
    }  # fmt: skip
    one = optim.hyperparameters(optim.with_hyperparameters(state, fast={"learning_rate": 0.5}))
    assert (float(one["fast"]["learning_rate"]), float(one["slow"]["learning_rate"])) == (0.5, 0.01)
    both = optim.hyperparameters(optim.with_hyperparameters(state, learning_rate=0.5))
    assert float(both["fast"]["learning_rate"]) == float(both["slow"]["learning_rate"]) == 0.5
    with pytest.raises(ValueError, match="'b1' is no hyper-parameter of this state; it has decay, learning_rate"):
        optim.with_hyperparameters(state, slow={"b1": 0.5})


def test_none_without_a_schedule():
    with pytest.raises(ValueError, match="gives a hyper-parameter back to its schedule, but 'learning_rate' has none"):
        optim.with_hyperparameters(optim.sgd(0.1).init(np.ones(1)), learning_rate=None)


def test_names_are_listed_once_and_exist():
    assert len(set(optim.__all__)) == len(optim.__all__)
    assert all(hasattr(optim, name) for name in optim.__all__)


@pytest.mark.parametrize("make", [lambda: optim.rmsprop(0.1, nesterov=True), lambda: optim.sgd(0.1, nesterov=True)])
def test_nesterov_needs_momentum(make):
    with pytest.raises(ValueError, match="looks ahead along the momentum; give one, as in momentum=0.9"):
        make()
