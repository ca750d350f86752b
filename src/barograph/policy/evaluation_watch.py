"""What evaluations say of a training: their losses, their scores, and how well its confidence is earned."""

from collections.abc import Mapping

from barograph.policy.evaluation_conditions import (
    Evaluation,
    Evaluations,
    Scores,
    poor_calibration,
    val_train_gap,
)
from barograph.policy.logged_names import Calibration
from barograph.policy.non_finite_evaluation import NonFiniteEvaluations
from barograph.policy.tables import Policy
from barograph.policy.watched_conditions import WatchedConditions


class EvaluationWatch:
    """A fold over evaluations; what it finds it tells the conditions."""

    def __init__(self, policy: Policy, conditions: WatchedConditions) -> None:
        self._alerts = policy.alerts
        self._conditions = conditions
        self._scores = Scores(policy.alerts.constant_evaluation)
        self._non_finite = NonFiniteEvaluations(policy.alerts.non_finite_evaluation)
        self._judged: tuple[int, bool | None] | None = None
        self._answers: int | None = None
        self.losses = Evaluations()
        """The evaluation losses."""

    def loss(self, step: int, time: float, loss: float, *, training_loss: float | None) -> None:
        """Take an evaluation loss in, nats, with what the training loss is about then."""
        self.losses.update(Evaluation(step, loss, training_loss))
        found = val_train_gap(self.losses, table=self._alerts.val_train_gap)
        self._conditions.judge("val_train_gap", found, step=step, time=time)

    def numbers(self, step: int, time: float, losses: Mapping[str, float], *, training_loss: float | None) -> None:
        """Take the losses of an evaluation in by their names, which may be numbers or not; `training_loss` is the
        newest loss of a step, whatever it is. Several sets of one step count once."""
        found = self._non_finite.update(step, losses, training_loss=training_loss)
        if found is None:
            return
        again = self._judged == (step, found.seen)
        self._judged = (step, found.seen)
        if found.seen or not again:
            self._conditions.judge("non_finite_evaluation", found, step=step, time=time, again=again)

    def sound_at(self, step: int) -> bool:
        """Whether the newest evaluation up to that step gave numbers alone; True where there was none."""
        return self._non_finite.sound_at(step)

    def calibration(self, step: int, time: float, said: Calibration) -> None:
        """Take an expected calibration error in; its number of answers may have been said before."""
        self._answers = self._answers if said.answers is None else said.answers
        found = poor_calibration(step, said.error, self._answers, table=self._alerts.poor_calibration)
        self._conditions.judge("poor_calibration", found, step=step, time=time)

    def scores(self, step: int, time: float, scores: dict[str, float]) -> None:
        """Take the scores of one evaluation in."""
        self._scores.update(step, scores)
        self._conditions.judge("constant_evaluation", self._scores.constant(), step=step, time=time)
