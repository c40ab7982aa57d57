"""Neural networks: pure functions, and modules that hold their parameters. There is no third level.

    from funcgrad import nn

**Functions** take arrays and return arrays: ``linear``, ``conv``, ``layer_norm``, ``lstm``, the activations. Features are
the last axis everywhere, a batch comes first. What changes is passed in and comes back: ``batch_norm`` returns its new
statistics, ``lstm`` its state; what is random takes a key.

Functions whose derivative or kernel deserves a name of its own (``softmax``, ``log_softmax``, ``logsumexp``,
``standardize``, ``layer_norm``, ``rms_norm``, ``dot_product_attention``) are jitted: one call in a program, which a back
end may replace by a kernel, and which every transform sees through.
"""

from . import activations, init, losses, metrics
from ._attention import dot_product_attention
from ._convolution import avg_pool, conv, conv_transpose, max_pool
from ._dropout import dropout
from ._linear import embedding, linear, one_hot
from ._normalization import BatchNormState, batch_norm, group_norm, layer_norm, rms_norm, standardize
from ._recurrent import LSTMState, gru, lstm, rnn
from ._softmax import log_softmax, logsumexp, softmax, sparsemax
from .activations import *

__all__ = [
    *activations.__all__,
    "BatchNormState", "LSTMState", "avg_pool", "batch_norm", "conv", "conv_transpose", "dot_product_attention", "dropout",
    "embedding", "group_norm", "gru", "init", "layer_norm", "linear", "log_softmax", "logsumexp", "losses", "lstm", "max_pool", "metrics", "one_hot",
    "rms_norm", "rnn", "softmax", "sparsemax", "standardize",
]  # fmt: skip
