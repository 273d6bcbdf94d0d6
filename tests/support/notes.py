"""A progress display that keeps its notes, for tests of what a run tells."""

from experiments.progress.display import Progress


class Notes(Progress):
    """Keeps every note, and shows nothing."""

    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)
