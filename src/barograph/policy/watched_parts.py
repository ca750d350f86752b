"""The parts of the watch over a training, by name: what each looks for, and what is not known without it."""

from barograph.policy import live_signals

CONDITIONS: dict[str, tuple[str, ...]] = {
    "non_finite_loss": ("non_finite_loss",),
    "masked_loss": ("masked_loss",),
    "spikes": ("loss_spike",),
    "divergence": ("loss_diverged",),
    "plateau": ("plateau",),
    "gradients": ("exploding_gradients", "vanishing_gradients"),
    "learning_rate": ("learning_rate_high", "learning_rate_low", "learning_rate_zero"),
    "throughput": ("throughput_degraded",),
    "layers": ("dead_layers", "gradient_imbalance"),
    "evaluation_losses": ("non_finite_evaluation",),
    "evaluations": ("val_train_gap",),
    "calibration": ("poor_calibration",),
    "scores": ("constant_evaluation",),
    "gpu_memory": ("gpu_memory",),
    "gpu_temperature": ("gpu_temperature",),
    "disk_full": ("disk_full",),
}
"""Part -> the conditions that it looks for."""

FIELDS: dict[str, tuple[str, ...]] = {
    "losses": live_signals.OF_LOSSES,
    "plateau": live_signals.OF_PLATEAU,
    "throughput": live_signals.OF_THROUGHPUT,
    "evaluations": live_signals.OF_EVALUATIONS,
    "advice": ("advice",),
}
"""Part -> the fields of `Signals` that it fills."""

WITHOUT: dict[str, tuple[str, ...]] = {
    "gradient_norm": ("exploding_gradients", "vanishing_gradients"),
    "learning_rate": ("learning_rate_high", "learning_rate_low", "learning_rate_zero"),
    "tokens_per_sec": ("throughput_degraded",),
    "layers": ("dead_layers", "gradient_imbalance"),
    "validation_loss": ("non_finite_evaluation", "val_train_gap"),
    "hardware": ("gpu_memory", "gpu_temperature", "disk_full"),
}
"""Field, or what is observed -> conditions that know nothing without it."""
