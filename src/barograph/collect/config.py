"""The settings of a run as users meet them: a mapping that records what is added to it."""

from collections.abc import Callable, Iterator, Mapping, MutableMapping


class Config(MutableMapping[str, object]):
    """The run's settings; what is set here is recorded, and nothing can be deleted."""

    def __init__(self, values: Mapping[str, object], *, record: Callable[[Mapping[str, object]], None]) -> None:
        """Begins with `values`, which the banner has recorded; `record` is called with each setting added later."""
        self._values = dict(values)
        self._record = record

    def __getitem__(self, key: str) -> object:
        return self._values[key]

    def __setitem__(self, key: str, value: object) -> None:
        self._values[key] = value
        self._record({key: value})

    def __delitem__(self, key: str) -> None:
        raise TypeError("a setting that was recorded cannot be deleted; set it to None instead")

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)
