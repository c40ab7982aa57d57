"""The suites: a module each, whose `cases(tiny)` are its rows. `NAMES` is here so that no suite is imported unasked."""

NAMES = ("foundation", "surface", "compiler", "programs", "learning", "gpu")
