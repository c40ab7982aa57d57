"""The strict operations, under the names of ``jax.lax``.

They are the primitives with their types checked at once: operands have one dtype, and one shape or rank 0; nothing is
promoted or broadcast but Python scalars, which take the dtype of the arrays beside them if it holds them. What does not
fit raises OperandError (shapes) or OperandTypeError (dtypes). For NumPy's rules use ``funcgrad.numpy``.

Deviations from JAX: an index or window out of range raises instead of being moved into range (:func:`dynamic_slice`,
:func:`dynamic_update_slice`), and indices are int64.
"""

from . import _contraction, _convolution, _elementwise, _reduction, _structure
from ._contraction import *
from ._convolution import *
from ._elementwise import *
from ._reduction import *
from ._structure import *

__all__ = [
    *_contraction.__all__,
    *_convolution.__all__,
    *_elementwise.__all__,
    *_reduction.__all__,
    *_structure.__all__,
]
