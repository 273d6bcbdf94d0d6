"""The exit codes of the command line, besides 0 and, where twins disagree, 1."""

BAD_INPUT, INTERRUPTED = 2, 130


class ChildFailed(Exception):
    """A child command failed with this exit code; it printed the reason itself unless a sentence is given."""

    def __init__(self, code: int, sentence: str = "") -> None:
        super().__init__(sentence)
        self.code = code
