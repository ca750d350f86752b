"""The gradients of a training as two observers tell of them: their norm at every step, and the layers now and then."""

import math
from collections import deque

from barograph.analysis.layer_activity import LayerActivity, LayerValues
from barograph.policy import rules
from barograph.policy.checked import NOT_SEEN, Checked, unknown
from barograph.policy.gradient_conditions import (
    dead_layers,
    exploding_gradients,
    exploding_layers,
    gradient_imbalance,
    vanishing_gradients,
    vanishing_layers,
)
from barograph.policy.tables import Policy
from barograph.policy.watched_conditions import WatchedConditions

RECENT_REWARDS = 10
"""Logs of the share of equal rewards that count, the newest: a step is seen before its own log, and has few groups."""


class GradientWatch:
    """A fold over norms and layers; what it finds it tells the conditions.

    That gradients explode or vanish is told by both. While layers of the newest collection do, a norm that is as usual
    does not say that they do not; and a step that both tell of counts once.
    """

    def __init__(self, policy: Policy, conditions: WatchedConditions) -> None:
        self._alerts = policy.alerts
        self._conditions = conditions
        self._warm_up_steps = policy.streaming.warm_up_steps
        large, small = policy.alerts.exploding_gradients, policy.alerts.vanishing_gradients
        same = (large.history, large.min_history) == (small.history, small.min_history)
        self._norms = rules.norm_history(policy, large)
        self._small_norms = self._norms if same else rules.norm_history(policy, small)
        self._seen = 0
        self._exploding = self._vanishing = NOT_SEEN
        self._rewards: deque[float] = deque(maxlen=RECENT_REWARDS)
        self._counted: dict[str, int] = {}
        self._norm: float | None = None
        self._norm_step = -1
        self.layer_activity = LayerActivity(rules.layer_activity(policy))
        """The layers as they stand."""

    @property
    def norm(self) -> float | None:
        """The newest norm before clipping; None before the first."""
        return self._norm

    def norm_at(self, step: int) -> float | None:
        """The norm of that step, if it is the newest."""
        return self._norm if self._norm_step == step else None

    def rewards(self, equal_share: float) -> None:
        """Take in which share of the groups of completions has equal rewards: their gradients are zero by design."""
        if math.isfinite(equal_share):
            self._rewards.append(equal_share)

    @property
    def _equal_rewards(self) -> float | None:
        return max(self._rewards, default=None)

    def update(self, step: int, time: float, norm: float, *, max_norm: float | None = None) -> None:
        """Take the norm of one step in; `max_norm` is what the gradients are clipped to, None if nobody said."""
        self._norm_step, self._norm = step, norm
        self._seen += 1
        if self._seen <= self._warm_up_steps and math.isfinite(norm):
            large = small = unknown(f"the first {self._warm_up_steps} norms are ignored")
        else:
            large = exploding_gradients(
                step,
                norm,
                usual=self._norms.usual,
                table=self._alerts.exploding_gradients,
                layers=self._exploding.subjects,
                max_norm=max_norm,
            )
            small = vanishing_gradients(
                step,
                norm,
                usual=self._small_norms.usual,
                table=self._alerts.vanishing_gradients,
                layers=self._vanishing.subjects,
                equal_rewards=self._equal_rewards,
            )
        self._norms.update(norm)
        if self._small_norms is not self._norms:
            self._small_norms.update(norm)
        if large.seen or not self._exploding.seen:
            self._judge("exploding_gradients", large, step, time)
        if small.seen or not self._vanishing.seen:
            self._judge("vanishing_gradients", small, step, time)

    def layers(self, step: int, time: float, values: LayerValues, *, learning_rate: float | None = None) -> None:
        """Take one collection of layers in; `learning_rate` is the newest, None if not known."""
        alerts, conditions = self._alerts, self._conditions
        self.layer_activity.update(step, values)
        summary = self.layer_activity.summary()
        rows = self.layer_activity.rows() if summary.vanishing or summary.dead else []
        dead = dead_layers(
            step,
            summary,
            rows,
            table=alerts.dead_layers,
            learning_rate=learning_rate,
            equal_rewards=self._equal_rewards,
        )
        conditions.judge("dead_layers", dead, step=step, time=time)
        imbalance = gradient_imbalance(step, summary, table=alerts.gradient_imbalance)
        conditions.judge("gradient_imbalance", imbalance, step=step, time=time)
        large = exploding_layers(step, summary, table=alerts.exploding_gradients)
        small = vanishing_layers(
            step, summary, rows, table=alerts.vanishing_gradients, equal_rewards=self._equal_rewards
        )
        self._exploding, self._vanishing = large, small
        for name, found in (("exploding_gradients", large), ("vanishing_gradients", small)):
            if found.seen or self._norm is None:
                self._judge(name, found, step, time)

    def _judge(self, name: str, found: Checked, step: int, time: float) -> None:
        again = self._counted.get(name) == step
        if found.seen:
            self._counted[name] = step
        self._conditions.judge(name, found, step=step, time=time, again=again)
