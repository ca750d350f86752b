"""What changed, numbered and kept for a while: what the event stream tells, and where a client goes on later."""

from collections.abc import Sequence

from msgspec import Struct

from barograph.index import Change, ScanResult

NAMED = 256
"""Most runs that one change names; beyond, it says that everything may have changed."""


class News(Struct, frozen=True, kw_only=True):
    """What changed between two moments."""

    changed: tuple[Change, ...] = ()
    """Runs with news, and the kinds of it; a run is there once."""
    gone: tuple[str, ...] = ()
    """Runs that are not there any more."""
    rebuilt: bool = False
    """Whether everything may have changed."""
    timestamp: str = ""
    """When it was told, ISO 8601 UTC."""

    def __len__(self) -> int:
        """How many runs it names."""
        return len(self.changed) + len(self.gone)

    def about(self, run: str | None) -> "News | None":
        """The part that is about `run`; None if there is none. All of it for no run."""
        if run is None:
            return self
        changed = tuple(change for change in self.changed if change.run == run)
        gone = tuple(name for name in self.gone if name == run)
        if not (changed or gone or self.rebuilt):
            return None
        return News(changed=changed, gone=gone, rebuilt=self.rebuilt, timestamp=self.timestamp)


def union(results: Sequence[ScanResult], *, timestamp: str) -> News:
    """What several scans found, as if one had found it: the last word on each run counts."""
    what: dict[str, set[str]] = {}
    gone: dict[str, None] = {}
    for result in results:
        for name in result.gone:
            what.pop(name, None)
            gone[name] = None
        for change in result.changed:
            gone.pop(change.run, None)
            what.setdefault(change.run, set()).update(change.what)
    rebuilt = any(result.rebuilt is not None for result in results)
    if len(what) + len(gone) > NAMED:
        return News(rebuilt=True, timestamp=timestamp)
    return News(
        changed=tuple(Change(run=run, what=tuple(sorted(kinds))) for run, kinds in what.items()),
        gone=tuple(gone),
        rebuilt=rebuilt,
        timestamp=timestamp,
    )


class Ring:
    """The newest changes by number, counted from 1; the oldest go first.

    Bounded by `most` changes, and by `most_named` runs that they name together: what a change weighs.
    """

    def __init__(self, *, most: int = 1024, most_named: int = 32_768) -> None:
        self._most = most
        self._most_named = most_named
        self._kept: dict[int, News] = {}
        self._named = 0
        self.newest = 0
        """Number of the newest change; 0 before the first."""

    @property
    def before_oldest(self) -> int:
        """The number before the oldest change that is kept: who knows up to there can go on without a gap."""
        return self.newest - len(self._kept)

    def update(self, news: News) -> None:
        """Keep a change under the next number."""
        self.newest += 1
        self._kept[self.newest] = news
        self._named += len(news)
        while len(self._kept) > self._most or (self._named > self._most_named and len(self._kept) > 1):
            self._named -= len(self._kept.pop(self.before_oldest + 1))

    def get(self, number: int) -> News | None:
        """The change of that number; None if it is not kept."""
        return self._kept.get(number)
