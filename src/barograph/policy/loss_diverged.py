"""The condition of a loss that stays above where it was: the learning rate is too high, or the data became harder."""

from barograph.analysis.divergence import Divergence, DivergenceRule, Rise
from barograph.policy.alert_tables import LossDivergedTable
from barograph.policy.checked import Checked, unknown

CAME_BACK = "The losses after it came back near to where they were."
"""What is said of a rise, once the newest losses are low again."""


_BACK = Checked(seen=False, text=CAME_BACK)


class LossDiverged:
    """A fold over the losses of one attempt: whether they stay above where they were, by the policy's rule."""

    def __init__(self, table: LossDivergedTable, rule: DivergenceRule) -> None:
        self._table = table
        self._rule = rule
        self._fold = Divergence(rule)

    def begin_anew(self) -> None:
        """The curve begins again somewhere else: losses are not compared with those before."""
        self._fold = Divergence(self._rule)

    def update(self, step: int, loss: float, gradient_norm: float | None = None) -> Checked:
        """Take one loss in, and the newest norm of the gradients."""
        fold = self._fold
        fold.update(step, loss, gradient_norm)
        if fold.unknown:
            return unknown(fold.unknown)
        return _BACK if fold.rise is None else loss_diverged(step, fold.rise, table=self._table)


def loss_diverged(step: int, rise: Rise, *, table: LossDivergedTable) -> Checked:
    """What is said of losses that have risen, `step` being the newest."""
    times, began = rise.mean / rise.level, rise.above == "start"
    evidence = {
        "mean": rise.mean,
        "losses": float(rise.losses),
        "level": rise.level,
        "level_step": float(rise.level_step),
        "level_losses": float(rise.level_losses),
        "ratio": table.start_ratio if began else table.rise_ratio,
    }
    if rise.sigma is not None:
        evidence |= {"standard_errors": rise.sigma, "sigma": table.sigma}
    if rise.surge is not None:
        evidence |= {"norm_ratio": rise.surge, "surge": table.surge}
    return Checked(
        seen=True,
        title=f"The loss stays at {rise.mean:.4g}; {'it began at' if began else 'it had been at'} {rise.level:.4g}",
        text=f"The mean of the {rise.losses} losses up to step {step} is {rise.mean:.4g}, {times:.2f} times"
        f" {_where(rise)}.{_why(rise)}",
        evidence=evidence,
        recommendation="" if began else table.recommendation_later,
        severity=None if began or times >= table.start_ratio else table.severity_small,
        step=step,
    )


def _where(rise: Rise) -> str:
    if rise.level_losses == 1:
        return f"the {rise.level:.4g} of the first one"
    first = "first " if rise.above == "start" else ""
    return f"the {rise.level:.4g} of the {first}{rise.level_losses} up to step {rise.level_step}"


def _why(rise: Rise) -> str:
    """What more the rise rested on when it was found."""
    if rise.surge is not None:
        return f" The norm of the gradients rose to {rise.surge:.3g} times its first."
    if rise.sigma is not None:
        return f" When it was found, that was {rise.sigma:.3g} standard errors above the noise."
    return ""
