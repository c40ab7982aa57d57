"""Neural networks: pure functions, and modules that hold their parameters. There is no third level.

    from funcgrad import nn

**Functions** take arrays and return arrays: ``linear``, ``conv``, ``layer_norm``, ``lstm``, the activations. Features are
the last axis everywhere, a batch comes first. What changes is passed in and comes back: ``batch_norm`` returns its new
statistics, ``lstm`` its state; what is random takes a key.

Functions whose derivative or kernel deserves a name of its own (``softmax``, ``log_softmax``, ``logsumexp``,
``standardize``, ``layer_norm``, ``rms_norm``, ``dot_product_attention``) are jitted: one call in a program, which a back
end may replace by a kernel, and which every transform sees through.

**Modules** are frozen dataclasses whose array fields are pytree leaves: ``fg.grad(loss)(model, batch)`` is a model of
gradients. ``Linear(weight, bias)`` takes parameters, ``Linear.init(key, 3, 4)`` draws them. A call is ``y = model(x)``;
with a state (``model.init_state()``) it is ``y, state = model(x, state)``; ``train=`` and ``key=`` are given to it.

>>> import numpy as np
>>> import funcgrad as fg
>>> model = Sequential(Linear.init(fg.random.key(0), 2, 8), tanh, Linear.init(fg.random.key(1), 8, 3))
>>> x, labels = np.float32([[0.0, 1.0], [1.0, 0.0]]), np.array([0, 2])
>>> loss = lambda model: losses.softmax_cross_entropy(model(x), labels)
>>> before = loss(model)
>>> for _ in range(20):
...     model = fg.tree.map(lambda w, g: w - np.float32(0.5) * g, model, fg.grad(loss)(model))
>>> before > 0.5, loss(model) < 0.1, model.layers[0]
(np.True_, np.True_, Linear(weight=f32[2,8], bias=f32[8]))
"""

from . import activations, diagnose, init, losses, metrics, mixed_precision
from ._attention import dot_product_attention
from ._containers import Function, Residual, Sequential
from ._convolution import avg_pool, conv, conv_transpose, max_pool
from ._dropout import dropout
from ._layers import BatchNorm, Conv, ConvTranspose, Dropout, Embedding, GroupNorm, LayerNorm, Linear, RMSNorm
from ._linear import embedding, linear, one_hot
from ._models import MLP, ResNet9
from ._module import Module, module, static
from ._normalization import BatchNormState, batch_norm, group_norm, layer_norm, rms_norm, standardize
from ._partition import combine, count_parameters, partition
from ._recurrent import LSTMState, gru, lstm, rnn
from ._recurrent_layers import GRU, LSTM, RNN
from ._softmax import log_softmax, logsumexp, softmax, sparsemax
from ._summary import summary
from ._transformer import MultiHeadAttention, Transformer, TransformerBlock
from .activations import *

__all__ = [
    # functions
    *activations.__all__,
    "BatchNormState", "LSTMState", "avg_pool", "batch_norm", "conv", "conv_transpose", "dot_product_attention", "dropout",
    "embedding", "group_norm", "gru", "layer_norm", "linear", "log_softmax", "logsumexp", "lstm", "max_pool", "one_hot",
    "rms_norm", "rnn", "softmax", "sparsemax", "standardize",
    # modules
    "BatchNorm", "Conv", "ConvTranspose", "Dropout", "Embedding", "Function", "GRU", "GroupNorm", "LSTM", "LayerNorm",
    "Linear", "MLP", "Module", "MultiHeadAttention", "RMSNorm", "RNN", "ResNet9", "Residual", "Sequential",
    "Transformer", "TransformerBlock", "module", "static",
    # models as a whole
    "combine", "count_parameters", "partition", "summary",
    # modules of Python
    "diagnose", "init", "losses", "metrics", "mixed_precision",
]  # fmt: skip
