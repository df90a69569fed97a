"""How far a search for widths is, counted in windows that go through the network."""

from __future__ import annotations

from dataclasses import dataclass

from tsimpute.training.progress import ShareBar


@dataclass(frozen=True)
class Work:
    """What a search does at most; each number of windows counts one a step and sample.

    Attributes
    ----------
    variance : int
        Windows behind the variance, which is learned first.
    population, generations : int
        Strategies of a generation, and generations.
    few : int
        Windows behind the score of a strategy.
    finalists : int
        Strategies that are scored again.
    more : int
        Windows behind that score.
    """

    variance: int
    population: int
    generations: int
    few: int
    finalists: int
    more: int

    def after_generation(self, number: int) -> int:
        """Windows until the end of a generation; the first is 1."""
        return self.variance + number * self.population * self.few

    @property
    def total(self) -> int:
        """Windows until the end."""
        return self.after_generation(self.generations) + self.finalists * self.more


class SearchBar(ShareBar):
    """One bar over the whole search; what need not be computed again takes no time."""

    def __init__(self, work: Work, silent: bool) -> None:
        super().__init__("search widths", silent)
        self.work = work
        self._done = self._generation = 0

    def add(self, windows: int) -> None:
        """So many windows went through the network, or need not go."""
        self._done += windows
        self.reach(self._done / self.work.total)

    def after_variance(self) -> None:
        """The variance is known."""
        self._go_to(self.work.variance)

    def after_generation(self) -> None:
        """One more generation is over."""
        self._generation += 1
        self._go_to(self.work.after_generation(self._generation))
        self.note(f"generation {self._generation} of {self.work.generations}")

    def before_finalists(self) -> None:
        """No strategy is tried any more."""
        self._go_to(self.work.after_generation(self.work.generations))
        self.note("finalists")

    def finish(self) -> None:
        """All is done."""
        self._go_to(self.work.total)

    def _go_to(self, windows: int) -> None:
        self.add(max(0, windows - self._done))
