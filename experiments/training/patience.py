"""Early stopping: a run ends after a number of validations without improvement."""

from collections.abc import Sequence

from experiments.progress.display import Record
from shared.tasks.task import Figure, merit


class Patience:
    """Counts validations since the best; `limit` None never stops. A resumed run first counts those in its log."""

    def __init__(self, limit: int | None, figures: Sequence[Figure], history: Sequence[Record] = ()) -> None:
        self.limit, self.figures = limit, figures
        self.since_best = 0
        self.best: tuple[float, float] | None = None
        for record in history:
            if record["kind"] == "validation":
                self.see(record)

    def see(self, validation: Record) -> None:
        """Count a validation."""
        found = merit(validation, self.figures)
        is_better = self.best is None or found > self.best
        self.since_best = 0 if is_better else self.since_best + 1
        self.best = found if is_better else self.best

    @property
    def is_spent(self) -> bool:
        return self.limit is not None and self.since_best >= self.limit

    def __str__(self) -> str:
        return f"{self.since_best} validations without improvement"
