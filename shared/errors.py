"""Errors meant for the user: one sentence with what was expected, what was got and what to do."""


class IsogradError(ValueError):
    """A mistake that the user can fix; the command line prints it as is and exits with code 2."""


class WeightsError(IsogradError, KeyError):
    """Arrays that do not fit a module; lists every missing, unused and misshapen name."""

    def __str__(self) -> str:
        return str(self.args[0]) if self.args else ""
