"""Optimizers as pure pairs of functions, ``(init, update)``, with Optax's names.

An optimizer holds nothing: ``init(params)`` makes the state, ``update(grads, state, params)`` gives the updates and the
next state, ``apply_updates(params, updates)`` takes the step. All three are ordinary functions of pytrees: ``jit``
them, ``vmap`` them over learning rates, differentiate through them. Larger optimizers are chains of small
transformations. The gradient of a complex parameter is given as the direction of steepest ascent, the conjugate of what
``grad`` returns.

>>> import numpy as np
>>> params = {"w": np.array([1.0, -2.0])}
>>> optimizer = sgd(0.1)
>>> state = optimizer.init(params)
>>> for _ in range(3):
...     grads = {"w": 2 * params["w"]}  # of sum(w ** 2)
...     updates, state = optimizer.update(grads, state, params)
...     params = apply_updates(params, updates)
>>> params["w"]
array([ 0.512, -1.024])
"""

from .accumulation import MultiStepsState, multi_steps
from .adafactor import (
    FactoredMoment,
    FullMoment,
    ScaleByFactoredRmsState,
    adafactor,
    scale_by_factored_rms,
    scale_by_param_block_rms,
)
from .adam import (
    ScaleByAdamState,
    ScaleByAmsgradState,
    adam,
    adamw,
    amsgrad,
    nadam,
    nadamw,
    radam,
    scale_by_adam,
    scale_by_amsgrad,
    scale_by_radam,
)
from .adaptive import (
    ScaleByAdadeltaState,
    ScaleByRmsState,
    ScaleByRssState,
    ScaleByStddevState,
    adadelta,
    adagrad,
    rmsprop,
    scale_by_adadelta,
    scale_by_rms,
    scale_by_rss,
    scale_by_stddev,
)
from .averaging import EmaParamsState, LookaheadState, ema_params, incremental_update, lookahead
from .base import GradientTransformation, apply_updates, chain, identity, stateless
from .clipping import (
    ClipState,
    adaptive_grad_clip,
    clip,
    clip_by_block_norm,
    clip_by_block_rms,
    clip_by_global_norm,
    global_norm,
)
from .hyperparameters import ScheduledState, hyperparameters, with_hyperparameters, with_schedules
from .layerwise import ScaleByTrustRatioState, lamb, lars, scale_by_trust_ratio
from .lbfgs import ScaleByLbfgsState, lbfgs, scale_by_lbfgs
from .learning_rate import ScalarOrSchedule, ScaleByLearningRateState, scale, scale_by_learning_rate
from .line_search import (
    BacktrackingLinesearchState,
    ZoomLinesearchState,
    scale_by_backtracking_linesearch,
    scale_by_zoom_linesearch,
    value_and_grad_from_state,
)
from .masking import Mask, MaskedState, MultiTransformState, masked, multi_transform, set_to_zero
from .momentum import EmaState, LookaheadNesterovState, ema, ema_momentum, lookahead_nesterov
from .newton import (
    DampedState,
    gauss_newton,
    newton,
    newton_cg,
    scale_by_gauss_newton,
    scale_by_newton,
    scale_by_newton_cg,
)
from .noise import AddNoiseState, add_noise, centralize, noisy_sgd
from .schedules import (
    Schedule,
    constant_schedule,
    cosine_decay_schedule,
    cosine_onecycle_schedule,
    exponential_decay,
    join_schedules,
    linear_onecycle_schedule,
    linear_schedule,
    piecewise_constant_schedule,
    piecewise_interpolate_schedule,
    polynomial_schedule,
    sgdr_schedule,
    warmup_constant_schedule,
    warmup_cosine_decay_schedule,
    warmup_exponential_decay_schedule,
)
from .sgd import TraceState, sgd, trace
from .sign import ScaleByLionState, lion, scale_by_lion, scale_by_sign, sign_sgd
from .weight_decay import AddDecayedWeightsState, add_decayed_weights

__all__ = [
    # the protocol
    "GradientTransformation",
    "apply_updates",
    "chain",
    "identity",
    "stateless",
    "hyperparameters",
    "with_hyperparameters",
    "with_schedules",
    # optimizers
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamw",
    "amsgrad",
    "ema_momentum",
    "gauss_newton",
    "lamb",
    "lars",
    "lbfgs",
    "lion",
    "lookahead_nesterov",
    "nadam",
    "nadamw",
    "newton",
    "newton_cg",
    "noisy_sgd",
    "radam",
    "rmsprop",
    "sgd",
    "sign_sgd",
    # wrappers of optimizers
    "lookahead",
    "masked",
    "multi_steps",
    "multi_transform",
    "set_to_zero",
    # averages of parameters
    "ema_params",
    "incremental_update",
    # clipping
    "adaptive_grad_clip",
    "clip",
    "clip_by_block_norm",
    "clip_by_block_rms",
    "clip_by_global_norm",
    "global_norm",
    # schedules
    "Schedule",
    "constant_schedule",
    "cosine_decay_schedule",
    "cosine_onecycle_schedule",
    "exponential_decay",
    "join_schedules",
    "linear_onecycle_schedule",
    "linear_schedule",
    "piecewise_constant_schedule",
    "piecewise_interpolate_schedule",
    "polynomial_schedule",
    "sgdr_schedule",
    "warmup_constant_schedule",
    "warmup_cosine_decay_schedule",
    "warmup_exponential_decay_schedule",
    # line searches
    "scale_by_backtracking_linesearch",
    "scale_by_zoom_linesearch",
    "value_and_grad_from_state",
    # types of arguments
    "Mask",
    "ScalarOrSchedule",
    # the transformations that optimizers are made of
    "add_decayed_weights",
    "add_noise",
    "centralize",
    "ema",
    "scale",
    "scale_by_adadelta",
    "scale_by_adam",
    "scale_by_amsgrad",
    "scale_by_factored_rms",
    "scale_by_gauss_newton",
    "scale_by_lbfgs",
    "scale_by_learning_rate",
    "scale_by_lion",
    "scale_by_newton",
    "scale_by_newton_cg",
    "scale_by_param_block_rms",
    "scale_by_radam",
    "scale_by_rms",
    "scale_by_rss",
    "scale_by_sign",
    "scale_by_stddev",
    "scale_by_trust_ratio",
    "trace",
    # their states
    "AddDecayedWeightsState",
    "AddNoiseState",
    "BacktrackingLinesearchState",
    "ClipState",
    "DampedState",
    "EmaParamsState",
    "EmaState",
    "FactoredMoment",
    "FullMoment",
    "LookaheadNesterovState",
    "LookaheadState",
    "MaskedState",
    "MultiStepsState",
    "MultiTransformState",
    "ScaleByAdadeltaState",
    "ScaleByAdamState",
    "ScaleByAmsgradState",
    "ScaleByFactoredRmsState",
    "ScaleByLbfgsState",
    "ScaleByLearningRateState",
    "ScaleByLionState",
    "ScaleByRmsState",
    "ScaleByRssState",
    "ScaleByStddevState",
    "ScaleByTrustRatioState",
    "ScheduledState",
    "TraceState",
    "ZoomLinesearchState",
]
