"""What evaluations say of a training: their losses, their scores, and how well its confidence is earned."""

from barograph.policy.evaluation_conditions import (
    Evaluation,
    Evaluations,
    Scores,
    poor_calibration,
    val_train_gap,
)
from barograph.policy.logged_names import Calibration
from barograph.policy.tables import Policy
from barograph.policy.watched_conditions import WatchedConditions


class EvaluationWatch:
    """A fold over evaluations; what it finds it tells the conditions."""

    def __init__(self, policy: Policy, conditions: WatchedConditions) -> None:
        self._alerts = policy.alerts
        self._conditions = conditions
        self._scores = Scores(policy.alerts.constant_evaluation)
        self._answers: int | None = None
        self.losses = Evaluations()
        """The evaluation losses."""

    def loss(self, step: int, time: float, loss: float, *, training_loss: float | None) -> None:
        """Take an evaluation loss in, nats, with what the training loss is about then."""
        self.losses.update(Evaluation(step, loss, training_loss))
        found = val_train_gap(self.losses, table=self._alerts.val_train_gap)
        self._conditions.judge("val_train_gap", found, step=step, time=time)

    def calibration(self, step: int, time: float, said: Calibration) -> None:
        """Take an expected calibration error in; its number of answers may have been said before."""
        self._answers = self._answers if said.answers is None else said.answers
        found = poor_calibration(step, said.error, self._answers, table=self._alerts.poor_calibration)
        self._conditions.judge("poor_calibration", found, step=step, time=time)

    def scores(self, step: int, time: float, scores: dict[str, float]) -> None:
        """Take the scores of one evaluation in."""
        self._scores.update(step, scores)
        self._conditions.judge("constant_evaluation", self._scores.constant(), step=step, time=time)
