"""The strict level: primitives with the names of ``jax.lax``, control flow, and operations over named axes.

Nothing is promoted or broadcast here, save that a Python scalar takes the dtype of its partner.
"""

from . import collective, control, ops
from .collective import *
from .control import *
from .ops import *

__all__ = [*collective.__all__, *control.__all__, *ops.__all__]
