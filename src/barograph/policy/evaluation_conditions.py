"""Conditions of what evaluations say: the gap to the training loss, a score that never changes, calibration."""

import math
from functools import lru_cache

import numpy as np
from msgspec import Struct

from barograph.policy.alert_tables import ConstantEvaluationTable, PoorCalibrationTable, ValTrainGapTable
from barograph.policy.checked import NOT_SEEN, Checked, unknown
from barograph.records.quantities import spelled

BINS = 10
"""Bins of equal width that an expected calibration error is taken of."""

TRIALS = 500
"""Calibrated models that the null distribution is made of."""

MOST_ANSWERS = 200
"""Answers of each; for more of them the error falls with the square root of their number."""

MOST_SCORES = 256
"""Scores that are followed, the first."""


class Evaluation(Struct, frozen=True):
    """One evaluation loss and what the training loss was about then."""

    step: int
    """Step of the evaluation."""
    loss: float
    """Evaluation loss, nats; may be non-finite."""
    training_loss: float | None
    """The moving average of the training loss, nats; None if there was none."""


class Evaluations:
    """A fold over the evaluation losses: newest, best, and how many came since."""

    def __init__(self) -> None:
        self.newest: Evaluation | None = None
        """The newest."""
        self.best: Evaluation | None = None
        """That of the least finite loss; of equals, the first."""
        self.since_best = 0
        """Evaluations after the best, of those whose loss was a number: the others say nothing of better or worse."""
        self.count = 0
        """Evaluations whose loss was a number."""
        self.changed = False
        """Whether any two of them differ."""
        self._counted: int | None = None

    def update(self, evaluation: Evaluation) -> None:
        """Take one in. A second one of the same step takes its place."""
        self.newest = evaluation
        if not math.isfinite(evaluation.loss):
            return
        if evaluation.step != self._counted:
            self.count += 1
            self.since_best += 1
        self._counted = evaluation.step
        self.changed = self.changed or (self.best is not None and evaluation.loss != self.best.loss)
        if self.best is None or evaluation.loss < self.best.loss:
            self.best, self.since_best = evaluation, 0


def val_train_gap(evaluations: Evaluations, *, table: ValTrainGapTable) -> Checked:
    """The evaluation loss is far above the training loss; where the policy asks for it, and above its own best."""
    newest, best = evaluations.newest, evaluations.best
    if newest is None:
        return unknown("no evaluation loss is logged")
    if newest.training_loss is None:
        return unknown("no training loss is known beside the evaluation loss")
    if not math.isfinite(newest.loss):
        return unknown(f"the evaluation loss is {spelled(newest.loss)} at step {newest.step}")
    gap = newest.loss - newest.training_loss
    risen = best is not None and newest.loss > best.loss
    if gap <= table.above or (table.needs_rise and not risen):
        return NOT_SEEN
    overfitting = gap > table.overfitting_above
    bound = table.overfitting_above if overfitting else table.above
    least = "" if best is None else f" Its least was {best.loss:.4g} at step {best.step}."
    return Checked(
        seen=True,
        title=("Overfitting: the" if overfitting else "The") + f" evaluation loss is {gap:.2g} above the training loss",
        text=f"At step {newest.step} the evaluation loss is {newest.loss:.4g} and the training loss"
        f" {newest.training_loss:.4g}: a gap of {gap:.3g}, above {bound:g}.{least}",
        evidence={
            "validation_loss": newest.loss,
            "training_loss": newest.training_loss,
            "gap": gap,
            "above": bound,
            **({} if best is None else {"best_loss": best.loss, "best_step": float(best.step)}),
        },
        step=newest.step,
    )


def poor_calibration(step: int, ece: float, answers: int | None, *, table: PoorCalibrationTable) -> Checked:
    """The expected calibration error is above the policy's bound, or above what a calibrated model has by chance."""
    if not math.isfinite(ece):
        return unknown(f"the expected calibration error is {spelled(ece)} at step {step}")
    evidence = {"ece": ece}
    if table.judged_by == "value":
        bound, said = table.above, f"above {table.above:g}"
        evidence["above"] = bound
    elif answers is None or answers < 1:
        return unknown("an expected calibration error says nothing without its number of answers (fixed_eval_n)")
    else:
        bound = calibrated_error(answers, table.quantile)
        said = f"above {bound:.3f}, which {table.quantile:.0%} of calibrated models stay below with {answers} answers"
        evidence |= {"null_quantile": bound, "answers": float(answers), "quantile": table.quantile}
    if ece <= bound:
        return NOT_SEEN
    return Checked(
        seen=True,
        title=f"Poor calibration: the expected error is {ece:.3f}",
        text=f"At step {step} the expected calibration error is {ece:.4f}, {said}.",
        evidence=evidence,
        step=step,
    )


@lru_cache(maxsize=64)
def calibrated_error(answers: int, quantile: float) -> float:
    """The quantile of the expected calibration error of a model that is perfectly calibrated, with so many answers.

        ECE = sum over bins of n_b / n |accuracy_b - confidence_b|

    An estimate of it is above zero by chance (Broecker & Smith 2007 call the same of a diagram its consistency bands):
    each answer is right with the probability of its confidence, in 500 simulated evaluations of a fixed seed. The
    confidences themselves are not known here; they are taken as even between 0.5 and 1, as of answers that a model
    prefers. Beyond 200 answers the error is that of 200, less by the square root of how many times more there are.
    """
    simulated = min(answers, MOST_ANSWERS)
    random = np.random.default_rng(20_240_601)
    confidence = random.uniform(0.5, 1.0, (TRIALS, simulated))
    right = random.random((TRIALS, simulated)) < confidence
    bins = np.minimum((confidence * BINS).astype(np.int64), BINS - 1) + BINS * np.arange(TRIALS)[:, None]
    apart = np.bincount(bins.ravel(), weights=(right - confidence).ravel(), minlength=BINS * TRIALS)
    errors = np.abs(apart).reshape(TRIALS, BINS).sum(axis=1) / simulated
    return float(np.quantile(errors, quantile)) * math.sqrt(simulated / answers)


class _Score(Struct):
    step: int
    value: float
    equal: int
    changed: bool


class Scores:
    """A fold over the scores of evaluations: which of them are the same again and again."""

    def __init__(self, table: ConstantEvaluationTable) -> None:
        self._needed = table.evaluations
        self._scores: dict[str, _Score] = {}

    def update(self, step: int, scores: dict[str, float]) -> None:
        """Take the scores of one evaluation in."""
        for name, value in scores.items():
            known = self._scores.get(name)
            if known is None:
                if len(self._scores) < MOST_SCORES:
                    self._scores[name] = _Score(step, value, 1, False)
            elif step != known.step:
                same = value == known.value or (math.isnan(value) and math.isnan(known.value))
                known.equal = known.equal + 1 if same else 1
                known.changed = known.changed or not same
                known.step, known.value = step, value

    def constant(self) -> Checked:
        """Whether one of them did not change. One that has risen to 1.0 has nothing left to gain, and is left out."""
        if not self._scores:
            return unknown("no score of an evaluation is logged")
        same = {name: one for name, one in self._scores.items() if one.equal >= self._needed}
        found = {name: one for name, one in same.items() if not (one.value == 1.0 and one.changed)}
        if not found:
            if same or any(one.changed for one in self._scores.values()):
                return NOT_SEEN
            made = max(one.equal for one in self._scores.values())
            return unknown(f"{made} of {self._needed} evaluations are made")
        name, score = next(iter(found.items()))
        others = len(found) - 1
        more = f" {others} other{'s' * (others > 1)} did not change either." if others else ""
        return Checked(
            seen=True,
            title=f"{name} is {score.value:.6g} at {score.equal} evaluations in a row",
            text=f"{name} was exactly {score.value:.6g} at each of the last {score.equal} evaluations, the newest at"
            f" step {score.step}.{more}",
            evidence={"value": score.value, "evaluations": float(score.equal), "needed": float(self._needed)},
            subjects=tuple(found),
            step=score.step,
        )
