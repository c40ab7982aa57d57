"""Multi-head attention, the block of a transformer, and a transformer that predicts the next token."""

from __future__ import annotations

from typing import Any

import funcgrad.numpy as fnp
from funcgrad.core.errors import OperandError

from . import init as initializers
from ._attention import dot_product_attention
from ._containers import Sequential
from ._layers import Dropout, Embedding, LayerNorm, Linear
from ._module import Module, keys_for, module, static
from .activations import gelu

__all__ = ["MultiHeadAttention", "Transformer", "TransformerBlock"]


@module
class MultiHeadAttention(Module):
    """:func:`nn.dot_product_attention` between linear maps, in ``heads`` parts of the width.

    ``x`` is (..., T, width); further inputs of a call are ``context`` (..., S, width), where keys and values come from if
    not from ``x``, and ``mask``, which broadcasts to (..., heads, T, S). The result is (..., T, width).

    >>> import numpy as np
    >>> from funcgrad.random import key
    >>> layer = MultiHeadAttention.init(key(0), 8, 2, causal=True)
    >>> layer(np.ones((3, 5, 8), np.float32)).shape
    (3, 5, 8)
    """

    to_query: Linear
    to_key: Linear
    to_value: Linear
    to_out: Linear
    heads: int = static()
    causal: bool = static(default=False)
    dropout: float = static(default=0.0)

    @classmethod
    def init(
        cls,
        key: Any,
        width: int,
        heads: int,
        *,
        causal: bool = False,
        dropout: float = 0.0,
        bias: bool = True,
        dtype: Any = fnp.float32,
    ) -> MultiHeadAttention:
        """``dropout``: the rate at which weights are dropped in training. Raises OperandError unless ``heads`` divides ``width``."""
        if heads < 1 or width % heads:
            raise OperandError(f"nn.MultiHeadAttention: {heads} heads do not divide the width {width}")
        maps = (Linear.init(k, width, width, bias=bias, dtype=dtype) for k in keys_for(key, 4, True))
        return cls(*maps, heads=heads, causal=causal, dropout=dropout)

    def apply(
        self, x: Any, state: Any, *, train: bool, key: Any, context: Any = None, mask: Any = None
    ) -> tuple[Any, Any]:
        context = x if context is None else context
        q, k, v = (
            fnp.reshape(y, (*y.shape[:-1], self.heads, y.shape[-1] // self.heads))
            for y in (self.to_query(x), self.to_key(context), self.to_value(context))
        )
        y = dot_product_attention(
            q, k, v, mask=mask, is_causal=self.causal,
            dropout_rate=self.dropout if train else 0.0, dropout_key=key if train else None,
        )  # fmt: skip
        return self.to_out(fnp.reshape(y, (*y.shape[:-2], -1))), state


@module
class TransformerBlock(Module):
    """x + attention(norm(x)), then x + mlp(norm(x)) (pre-norm), with dropout of the weights of attention and of what is
    added.

    (Vaswani et al., arXiv:1706.03762; the norms as in Xiong et al., arXiv:2002.04745.) ``mask`` as of the attention.
    """

    attention_norm: LayerNorm
    attention: MultiHeadAttention
    mlp_norm: LayerNorm
    mlp: Sequential
    dropout: Dropout

    @classmethod
    def init(
        cls,
        key: Any,
        width: int,
        heads: int,
        *,
        mlp_width: int | None = None,
        dropout: float = 0.0,
        causal: bool = False,
        dtype: Any = fnp.float32,
    ) -> TransformerBlock:
        """``mlp_width``: of the hidden layer, by default 4 times ``width``."""
        inner = 4 * width if mlp_width is None else mlp_width
        attention, first, second = keys_for(key, 3, True)
        return cls(
            LayerNorm.init(width, dtype=dtype),
            MultiHeadAttention.init(attention, width, heads, causal=causal, dropout=dropout, dtype=dtype),
            LayerNorm.init(width, dtype=dtype),
            Sequential(
                Linear.init(first, width, inner, dtype=dtype), gelu, Linear.init(second, inner, width, dtype=dtype)
            ),
            Dropout(dropout),
        )

    def apply(self, x: Any, state: Any, *, train: bool, key: Any, mask: Any = None) -> tuple[Any, Any]:
        weights, first, second = keys_for(key, 3, train)
        y = self.attention(self.attention_norm(x), train=train, key=weights, mask=mask)
        x = x + self.dropout(y, train=train, key=first)
        y = self.mlp(self.mlp_norm(x))
        return x + self.dropout(y, train=train, key=second), state


@module
class Transformer(Module):
    """A decoder: from tokens (..., T) to the scores (..., T, vocabulary) of each next one.

    Token and learned position embeddings, blocks with causal attention, a last norm, and a linear map to scores.

    >>> import numpy as np
    >>> from funcgrad.random import key
    >>> model = Transformer.init(key(0), vocabulary=11, length=8, width=4, layers=2, heads=2)
    >>> model(np.array([[1, 2, 3]])).shape
    (1, 3, 11)
    """

    tokens: Embedding
    positions: Embedding
    dropout: Dropout
    blocks: tuple[TransformerBlock, ...]
    norm: LayerNorm
    to_scores: Linear

    @classmethod
    def init(
        cls,
        key: Any,
        *,
        vocabulary: int,
        length: int,
        width: int,
        layers: int,
        heads: int,
        mlp_width: int | None = None,
        dropout: float = 0.0,
        dtype: Any = fnp.float32,
    ) -> Transformer:
        """``length``: the longest sequence. Embeddings and the map to scores are normal with the standard deviation 0.02,
        as in GPT-2, so that at first all tokens are about as likely."""
        tokens, positions, scores, *rest = keys_for(key, 3 + layers, True)
        small = initializers.normal(0.02)
        return cls(
            Embedding.init(tokens, vocabulary, width, weight_init=small, dtype=dtype),
            Embedding.init(positions, length, width, weight_init=small, dtype=dtype),
            Dropout(dropout),
            tuple(
                TransformerBlock.init(k, width, heads, mlp_width=mlp_width, dropout=dropout, causal=True, dtype=dtype)
                for k in rest
            ),
            LayerNorm.init(width, dtype=dtype),
            Linear.init(scores, width, vocabulary, bias=False, weight_init=small, dtype=dtype),
        )

    def apply(self, x: Any, state: Any, *, train: bool, key: Any, mask: Any = None) -> tuple[Any, Any]:
        x = fnp.asarray(x)
        length = fnp.shape(self.positions.table)[0]
        if not x.ndim or x.shape[-1] > length:
            raise OperandError(f"nn.Transformer: tokens of shape {x.shape} must be (..., T) with T up to {length}")
        first, *rest = keys_for(key, 1 + len(self.blocks), train)
        h = self.tokens(x) + self.positions.table[: x.shape[-1]]
        h = self.dropout(h, train=train, key=first)
        for block, k in zip(self.blocks, rest):
            h = block(h, train=train, key=k, mask=mask)
        return self.to_scores(self.norm(h)), state
