"""The mathematics: first-order primitives, a file a family, each with all of its rules."""

from . import (
    callback,
    collective,
    contraction,
    determinant,
    elementwise,
    fft,
    indexing,
    keys,
    linalg,
    reduction,
    special,
    spectral,
    structure,
)
from .callback import *
from .collective import *
from .contraction import *
from .determinant import *
from .elementwise import *
from .fft import *
from .indexing import *
from .keys import *
from .linalg import *
from .reduction import *
from .special import *
from .spectral import *
from .structure import *

__all__ = [
    *callback.__all__,
    *collective.__all__,
    *contraction.__all__,
    *determinant.__all__,
    *elementwise.__all__,
    *fft.__all__,
    *indexing.__all__,
    *keys.__all__,
    *linalg.__all__,
    *reduction.__all__,
    *special.__all__,
    *spectral.__all__,
    *structure.__all__,
]
