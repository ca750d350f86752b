"""The settings of a run as users meet them: a mapping that records what is added to it."""

import dataclasses
import logging
from collections.abc import Callable, Iterator, Mapping, MutableMapping

logger = logging.getLogger("barograph")


def mapping_of(config: object) -> dict[str, object]:
    """The settings in a mapping, an `argparse.Namespace`, a dataclass or any object with attributes.

    Never raises: what cannot be read as settings is warned of, and there are none.
    """
    try:
        if config is None:
            return {}
        if isinstance(config, Mapping):
            return dict(config)
        if dataclasses.is_dataclass(config) and not isinstance(config, type):
            return {field.name: getattr(config, field.name, None) for field in dataclasses.fields(config)}
        return {name: value for name, value in vars(config).items() if not (name.startswith("_") or callable(value))}
    except Exception:  # noqa: BLE001 - a user's object may raise anything when it is looked into
        kind = type(config).__name__
        logger.warning("barograph: config=%s holds no settings, and none are recorded. Pass a dict.", kind)
        return {}


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
