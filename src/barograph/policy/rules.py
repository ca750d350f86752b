"""The rules of the folds over a training, out of a policy's tables."""

from barograph.analysis.divergence import DivergenceRule
from barograph.analysis.layer_activity import LayerRule
from barograph.analysis.plateau import PlateauRule
from barograph.analysis.streaming import StreamingRule
from barograph.analysis.throughput import ThroughputRule
from barograph.analysis.trend import TrendRule
from barograph.policy.alert_tables import ExplodingGradientsTable, VanishingGradientsTable
from barograph.policy.gradient_conditions import NormHistory
from barograph.policy.tables import Policy


def streaming(policy: Policy) -> StreamingRule:
    """For `analysis/streaming.py`."""
    table = policy.streaming
    return StreamingRule(
        ema_alpha=table.ema_alpha,
        window=table.window,
        trend_steps=table.trend_steps,
        trend=TrendRule(
            min_blocks=table.trend_min_blocks,
            max_blocks=table.trend_max_blocks,
            min_block=table.trend_min_block,
            confidence=table.trend_confidence,
        ),
    )


def plateau(policy: Policy) -> PlateauRule:
    """For `analysis/plateau.py`."""
    table = policy.alerts.plateau
    return PlateauRule(
        judged_by=table.judged_by,
        min_gain=table.min_gain,
        steps=table.steps,
        min_steps=table.min_steps,
        share=table.share,
        horizon_share=table.horizon_share,
        confidence=table.confidence,
        warm_up_steps=policy.streaming.warm_up_steps,
    )


def divergence(policy: Policy) -> DivergenceRule:
    """For `analysis/divergence.py`."""
    table = policy.alerts.loss_diverged
    return DivergenceRule(
        first=table.first,
        start_losses=table.start_losses,
        start_ratio=table.start_ratio,
        surge=table.surge,
        min_recent=table.min_recent,
        recent=table.recent,
        block=table.block,
        rise_ratio=table.rise_ratio,
        sigma=table.sigma,
        min_rise=table.min_rise,
    )


def throughput(policy: Policy) -> ThroughputRule:
    """For `analysis/throughput.py`."""
    table = policy.throughput
    return ThroughputRule(
        window=table.window,
        ema_alpha=table.ema_alpha,
        baseline_steps=table.baseline_steps,
        trend_min_steps=table.trend_min_steps,
        trend_share=table.trend_share,
        judged_steps=policy.alerts.throughput_degraded.steps,
        warm_up_steps=policy.streaming.warm_up_steps,
    )


def layer_activity(policy: Policy) -> LayerRule:
    """For `analysis/layer_activity.py`."""
    table = policy.layer_activity
    return LayerRule(
        dead_below=table.dead_below,
        dead_checks=table.dead_checks,
        needs_zero_weight=table.needs_zero_weight,
        vanishing_below=table.vanishing_below,
        exploding_above=table.exploding_above,
        vanishing_ratio=table.vanishing_ratio,
        exploding_ratio=table.exploding_ratio,
        min_history=table.min_history,
        history=table.history,
    )


def norm_history(policy: Policy, table: ExplodingGradientsTable | VanishingGradientsTable) -> NormHistory:
    """What the norms of the gradients usually are, for one condition."""
    return NormHistory(
        history=table.history,
        min_history=table.min_history,
        warm_up_steps=policy.streaming.warm_up_steps,
    )
