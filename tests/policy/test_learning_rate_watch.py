"""What learning rates say is told to the conditions, a rate of zero above all."""

import itertools

import pytest

from barograph.policy import Policy, load
from barograph.policy.learning_rate_watch import LearningRateWatch
from barograph.policy.watched_conditions import WatchedConditions

BEGAN = 1.7e9
DEFAULT, CONTRACT = load("default"), load("contract")


class Watched:
    """A watch over learning rates beside the conditions that it tells."""

    def __init__(self, policy: Policy, *, total_steps: int | None = None) -> None:
        ids = itertools.count(1)
        self.conditions = WatchedConditions(policy, new_id=lambda: f"alert-{next(ids)}")
        self.watch = LearningRateWatch(policy, self.conditions)
        self._total_steps = total_steps

    def rates(self, *rates: float, first: int = 1) -> "Watched":
        for step, rate in enumerate(rates, first):
            self.watch.update(step, BEGAN + step, rate, total_steps=self._total_steps)
        return self

    def word(self, name: str) -> str:
        return self.conditions.words()[name]


@pytest.mark.parametrize("policy", [DEFAULT, CONTRACT], ids=["default", "contract"])
def test_a_rate_of_zero_is_one_warning_that_lasts_to_the_end(policy: Policy) -> None:
    watched = Watched(policy, total_steps=1200).rates(*[0.0] * 21)
    assert watched.word("learning_rate_zero") == "firing"
    watched.rates(*[0.0] * 1179, first=22)
    assert (watched.word("learning_rate_zero"), watched.word("learning_rate_low")) == ("firing", "ok")
    found = watched.conditions.current("learning_rate_zero")
    assert found is not None
    assert (found.level, found.first_step, found.count) == ("warning", 21, 1180)
    assert "nan" not in found.text


def test_the_newest_rate_and_its_schedule_are_known() -> None:
    watched = Watched(DEFAULT)
    assert (watched.watch.rate, watched.watch.schedule) == (None, None)
    watched.rates(0.5, 1.0, 0.25)
    assert watched.watch.schedule is not None
    assert (watched.watch.rate, watched.watch.schedule.share) == (0.25, 0.25)
