"""The one error of ``funcgrad.data``."""

__all__ = ["DataError"]


class DataError(ValueError):
    """A data file is missing, damaged, of another format, or does not fit the file it belongs to.

    The message is one line: the file, then what is wrong with it.

    >>> raise DataError("images.gz: truncated: the header promises 7840016 bytes, the file holds 512")
    Traceback (most recent call last):
        ...
    funcgrad.data.errors.DataError: images.gz: truncated: the header promises 7840016 bytes, the file holds 512
    """
