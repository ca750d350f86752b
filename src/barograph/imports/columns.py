"""Which column of a table is the step, which the loss and which the time: guessed from names and from what is in them.

A guess is shown to the user, who can say otherwise. Names are compared in lower case with every separator as `_`; the
list is in order of preference, and a column is taken only if what is in it can be what its name says.
"""

import re
from collections.abc import Callable, Mapping, Sequence

from msgspec import Struct

from barograph.errors import ImportFailed, NothingYet, UsageError
from barograph.imports import cells
from barograph.imports.cells import shown

STEP_NAMES = (
    *("step", "global_step", "trainer_global_step", "iteration", "iter", "current_step", "current_steps"),
    *("optimizer_step", "train_step", "training_step", "train_iter", "num_updates", "updates", "update"),
    *("iterations", "iters", "steps", "num_steps", "it", "batch", "batch_idx", "epoch"),
)
LOSS_NAMES = (
    *("loss", "train_loss", "loss_train", "training_loss", "train_loss_step", "train_train_loss", "lm_loss"),
    *("ce_loss", "train_ce", "train_nll", "nll", "nll_loss", "cross_entropy", "ce", "total_loss", "loss_total"),
)
TIME_NAMES = ("time", "timestamp", "wall_time", "ts", "datetime", "date", "created_at", "logged_at")
RANK_NAMES = ("rank", "global_rank", "process_index", "proc", "worker", "local_rank")
RUN_NAMES = ("run", "run_id", "run_name", "attempt", "restart")
NO_TRAINING = frozenset({"val", "valid", "validation", "eval", "test", "dev", "aux", "min", "max"})
MAPPED = ("step", "loss", "time")
_SEPARATORS = re.compile(r"[^a-z0-9]+")

Values = Mapping[str, object]
Fits = Callable[[object], bool]


class Columns(Struct, frozen=True, kw_only=True):
    """Which column is what."""

    step: str
    """Optimizer step."""
    loss: str | None
    """Training loss; None if there is none."""
    time: str | None
    """When a row was logged."""
    rank: str | None
    """Which process wrote a row, if one of them is 0."""
    run: str | None
    """Which training a row is of."""

    @property
    def mapping(self) -> dict[str, str]:
        """As it is shown and said."""
        found = {"step": self.step, "loss": self.loss, "time": self.time, "rank": self.rank, "run": self.run}
        return {key: column for key, column in found.items() if column is not None}


def columns(names: Sequence[str], sample: Sequence[Values], said: Mapping[str, str], *, where: str) -> Columns:
    """Which of `names` is what, from the first rows and from what the user said.

    Raises `UsageError` for a word that is none of `MAPPED`, `ImportFailed` for a column that is not there, or if none
    can be the step; `NothingYet` if nothing of it is a loss and nothing a number.
    """
    for key, column in said.items():
        if key not in MAPPED:
            raise UsageError(f"--map {key}=...", advice=f"What can be mapped is {', '.join(MAPPED)}")
        if column not in names:
            raise ImportFailed(
                f"there is no column {shown(column)} in its first rows", where=where, advice=_there_are(names)
            )
    step = said.get("step") or _first(names, STEP_NAMES, sample, _is_step)
    if step is None:
        advice = f"Say which it is, with --map step=COLUMN. {_there_are(names)}"
        raise ImportFailed("no column looks like the step", where=where, advice=advice)
    loss = said.get("loss") or _first(names, LOSS_NAMES, sample, _is_number) or _some_loss(names, sample)
    if loss is None and not any(_is_number(row.get(name)) for row in sample for name in names if name != step):
        raise NothingYet("no column of it holds numbers beside the step", where=where, advice=_there_are(names))
    return Columns(
        step=step,
        loss=loss,
        time=said.get("time") or _first(names, TIME_NAMES, sample, _is_time),
        rank=_rank(names, sample),
        run=_first(names, RUN_NAMES, sample, _is_name),
    )


def normal(name: str) -> str:
    """A name as it is compared."""
    return _SEPARATORS.sub("_", name.lower()).strip("_")


def _first(names: Sequence[str], known: Sequence[str], sample: Sequence[Values], fits: Fits) -> str | None:
    by_name: dict[str, str] = {}
    for name in names:
        by_name.setdefault(normal(name), name)
    found = (by_name[word] for word in known if word in by_name)
    return next((name for name in found if _mostly(name, sample, fits)), None)


def _some_loss(names: Sequence[str], sample: Sequence[Values]) -> str | None:
    """The first column that has `loss` among its words, and none that says that it is not of the training."""
    for name in names:
        words = set(normal(name).split("_"))
        if "loss" in words and not words & NO_TRAINING and _mostly(name, sample, _is_number):
            return name
    return None


def _mostly(name: str, sample: Sequence[Values], fits: Fits) -> bool:
    """Whether at least half of what is in a column can be what its name says; an empty column cannot."""
    values = [row[name] for row in sample if row.get(name) not in (None, "")]
    return bool(values) and 2 * sum(map(fits, values)) >= len(values)


def _rank(names: Sequence[str], sample: Sequence[Values]) -> str | None:
    name = _first(names, RANK_NAMES, sample, _is_step)
    if name is None or not any(rank_of(row.get(name)) == 0 for row in sample):
        return None
    return name


def rank_of(value: object) -> int | None:
    """The rank that a value is; None if it is none."""
    try:
        found = cells.step_of(value)
    except ValueError:
        return None
    return found if found < 1_000_000 else None


def _is_step(value: object) -> bool:
    try:
        cells.step_of(value)
    except ValueError:
        return False
    return True


def _is_number(value: object) -> bool:
    return cells.number_of(value) is not None


def _is_time(value: object) -> bool:
    return cells.time_of(value) is not None


def _is_name(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _there_are(names: Sequence[str]) -> str:
    return f"Its columns are {', '.join(map(shown, names[:20]))}{', ...' if len(names) > 20 else ''}"
