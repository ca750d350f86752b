"""The seed's four monitors, in loops as their users write them, against what the quantities are by other means."""

import math
from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import barograph
from barograph.errors import UsageError

TOKENS = st.integers(1, 10_000)


class Adapted(torch.nn.Module):
    """Two adapted weights under the names that PEFT gives them, one of which takes no part."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = [_adapter(), _adapter()]
        for number, weight in enumerate(self.weights):
            layer = torch.nn.ModuleDict({"q_proj": weight})
            self.add_module(f"layers_{number}", layer)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first = self.weights[0]
        found: torch.Tensor = x + torch.einsum(
            "oi,bi->bo", _matrix(first, "lora_B"), torch.einsum("oi,bi->bo", _matrix(first, "lora_A"), x)
        )
        return found


def _adapter() -> torch.nn.ModuleDict:
    a, b = torch.nn.Linear(4, 2, bias=False), torch.nn.Linear(2, 4, bias=False)
    torch.nn.init.zeros_(b.weight)
    return torch.nn.ModuleDict(
        {"lora_A": torch.nn.ModuleDict({"default": a}), "lora_B": torch.nn.ModuleDict({"default": b})}
    )


def _matrix(adapter: torch.nn.ModuleDict, name: str) -> torch.Tensor:
    return adapter.get_parameter(f"{name}.default.weight")


FIRST, SECOND = "layers_0.q_proj", "layers_1.q_proj"


def trained(model: torch.nn.Module, optimizer: torch.optim.Optimizer) -> Iterator[int]:
    """A loop; the caller's code runs between the backward pass and the optimizer's step."""
    data = torch.arange(12.0).reshape(3, 4)
    for step in range(6):
        optimizer.zero_grad()
        model(data).square().mean().backward()
        yield step
        optimizer.step()


def test_every_adapter_is_one_row_and_its_norms_are_those_of_its_matrices() -> None:
    torch.manual_seed(0)
    model = Adapted()
    monitor = barograph.create_lora_monitor(model)
    matrices = [parameter for name, parameter in model.named_parameters() if "layers_0" in name]
    norms, updates = [], []
    before = [one.detach().clone() for one in matrices]
    for step in trained(model, torch.optim.SGD(model.parameters(), lr=0.01)):
        norms.append(math.hypot(*(float(one.grad.double().norm()) for one in matrices if one.grad is not None)))
        updates.append(
            math.hypot(*(float((one.detach() - old).norm()) for one, old in zip(matrices, before, strict=True)))
        )
        before = [one.detach().clone() for one in matrices]
        found = monitor.collect_gradients()
        assert found == {FIRST: pytest.approx(norms[-1], rel=1e-6), SECOND: None}, step
    stats = monitor.get_layer_stats()
    assert list(stats) == [FIRST, SECOND]
    assert stats[FIRST]["current_grad_norm"] == pytest.approx(norms[-1], rel=1e-6)
    assert stats[FIRST]["mean_grad_norm"] == pytest.approx(np.mean(norms), rel=1e-6)
    assert stats[FIRST]["max_grad_norm"] == pytest.approx(max(norms), rel=1e-6)
    assert stats[FIRST]["current_update"] == pytest.approx(updates[-1], rel=1e-4)
    assert stats[FIRST]["max_update"] == pytest.approx(max(updates[1:]), rel=1e-4)
    assert stats[FIRST]["num_updates"] == 6
    assert (stats[SECOND]["current_grad_norm"], stats[SECOND]["status"]) == (None, "dead"), "never reached"
    assert monitor.get_summary()["total_layers"] == 2
    assert monitor.get_summary()["top_active_layers"] == [FIRST]


def test_to_monitor_a_model_changes_nothing_of_its_training() -> None:
    found = []
    for monitored in (False, True):
        torch.manual_seed(0)
        model = Adapted()
        monitor = barograph.create_lora_monitor(model)
        for _ in trained(model, torch.optim.AdamW(model.parameters(), lr=0.01)):
            if monitored:
                monitor.collect_gradients()
                monitor.get_summary()
        found.append(torch.cat([one.detach().reshape(-1) for one in model.parameters()]))
    assert torch.equal(found[0], found[1])


def test_zero_gradients_are_dead_and_absent_ones_are_not() -> None:
    model = Adapted()
    for parameter in model.weights[1].parameters():
        parameter.grad = torch.zeros_like(parameter)
    monitor = barograph.create_lora_monitor(model)
    monitor.collect_gradients()
    stats = monitor.get_layer_stats()
    assert (stats[FIRST]["status"], stats[SECOND]["status"]) == ("unknown", "dead")
    assert monitor.get_summary()["dead"] == [SECOND]


def test_a_gradient_that_is_no_number_is_told_as_such() -> None:
    model = Adapted()
    for parameter in model.parameters():
        parameter.grad = torch.full_like(parameter, math.nan)
    monitor = barograph.create_lora_monitor(model)
    norms = monitor.collect_gradients()
    assert all(norm is not None and math.isnan(norm) for norm in norms.values())
    assert monitor.get_summary()["non_finite_layers"] == 2


def test_a_model_without_adapters_has_its_blocks_and_one_that_is_frozen_has_a_reason() -> None:
    plain = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.Linear(3, 1))
    plain(torch.ones(2, 3)).sum().backward()
    assert list(barograph.create_lora_monitor(plain).collect_gradients()) == ["0", "1"]
    frozen = plain.requires_grad_(False)
    monitor = barograph.create_lora_monitor(frozen)
    assert monitor.collect_gradients() == {}
    assert monitor.get_layer_stats() == {}
    assert monitor.get_summary()["available"] is False
    assert "No parameter of the model is trained" in str(monitor.get_summary()["sentence"])


@given(st.lists(st.floats(0.1, 100.0), min_size=1, max_size=60), st.floats(0.01, 0.9))
def test_the_smoothed_loss_is_that_of_pandas(losses: list[float], alpha: float) -> None:
    tracker = barograph.create_streaming_tracker(ema_alpha=alpha)
    wanted = pd.Series(losses).ewm(alpha=alpha, adjust=True).mean()
    for loss, smooth in zip(losses, wanted, strict=True):
        assert tracker.update_loss(loss)["streaming_ce"] == pytest.approx(smooth, rel=1e-9)


def test_what_is_no_number_is_counted_and_a_nan_poisons_nothing() -> None:
    tracker = barograph.create_streaming_tracker()
    for loss in (2.0, math.nan, "2.0", None, 1j, [1.0], torch.tensor([1.0, 2.0]), math.inf, torch.tensor(2.0)):
        found = tracker.update_loss(loss)
    assert found["streaming_ce"] == pytest.approx(2.0)
    assert (found["num_updates"], found["non_finite"], found["left_out"]) == (4, 2, 5)


def test_what_is_not_known_of_a_loss_is_null_with_a_reason() -> None:
    tracker = barograph.create_streaming_tracker()
    found = tracker.get_statistics()
    why = found["why"]
    assert isinstance(why, dict)
    missing = {name for name, value in found.items() if value is None or value == "unknown"} - {"loss"}
    assert missing <= set(why) | {"loss_change_per_1000"}
    tracker.update_token_entropy(torch.tensor(1.5))
    tracker.update_token_entropy("high")
    assert tracker.get_statistics()["token_entropy"] == 1.5


def test_the_trend_of_a_falling_loss_is_improving() -> None:
    tracker = barograph.create_streaming_tracker()
    for step in range(500):
        tracker.update_loss(5.0 * 0.998**step, step)
    assert tracker.get_statistics()["loss_trend"] == "improving"


def test_a_loss_that_is_no_number_alerts_at_its_step_and_once() -> None:
    manager = barograph.create_alerts_manager()
    began = []
    for step in range(100):
        loss = math.nan if step >= 37 else 2.0 - step / 1000
        began += [(step, alert) for alert in manager.check_all(step=step, loss=loss)]
    nans = [(step, alert) for step, alert in began if alert["condition"] == "non_finite_loss"]
    assert [step for step, _ in nans] == [37]
    alert = nans[0][1]
    assert (alert["severity"], alert["category"], alert["state"]) == ("critical", "loss", "firing")
    assert list(alert)[:6] == ["severity", "category", "message", "details", "recommendation", "timestamp"]
    assert "Stop" in str(alert["recommendation"])
    (active,) = [one for one in manager.get_active_alerts() if one["condition"] == "non_finite_loss"]
    assert active["count"] == 63
    assert manager.get_summary()["critical"] == 1


def test_a_healthy_training_has_no_alert() -> None:
    manager = barograph.create_alerts_manager(policy="default")
    noise = np.random.default_rng(0).normal(0.0, 0.01, 300)
    for step, wiggle in enumerate(noise):
        loss = 3.0 / (1 + step / 100) + float(wiggle)
        assert manager.check_all(step=step, loss=loss, gradient_norms={"a": 1.0, "b": 0.5}, learning_rate=1e-4) == []
    assert manager.get_active_alerts() == []
    summary = manager.get_summary()
    assert (summary["total"], summary["critical"]) == (0, 0)
    conditions = summary["conditions"]
    assert isinstance(conditions, dict)
    assert conditions["non_finite_loss"] == "ok"
    assert conditions["gpu_memory"] == "no_data"


@pytest.mark.parametrize(
    ("given", "condition"),
    [
        ({"gradient_norms": {"layers.0": 250.0, "layers.1": 1.0}}, "exploding_gradients"),
        ({"gradient_norms": {"layers.0": math.nan, "layers.1": 1.0}}, "exploding_gradients"),
        ({"gradient_norms": 1e-9}, "vanishing_gradients"),
        ({"gradient_norms": [0.0, 0.0]}, "vanishing_gradients"),
        ({"learning_rate": 0.5}, "learning_rate_high"),
        ({"ece": 0.4, "ece_n": 500}, "poor_calibration"),
    ],
)
def test_what_the_seed_detects_is_detected_by_its_thresholds(given: dict[str, object], condition: str) -> None:
    manager = barograph.create_alerts_manager()
    found: list[object] = []
    for step in range(5):
        found += [one["condition"] for one in manager.check_all(step=step, loss=2.0, **given)]  # type: ignore[arg-type]
    assert condition in found


def test_whoever_looks_now_and_then_gives_the_losses_between() -> None:
    losses = [2.0 + 0.01 * math.sin(step) for step in range(200)]
    losses[120] = 9.0
    now_and_then = barograph.create_alerts_manager()
    found = []
    for step in range(20, 200, 25):
        found += now_and_then.check_all(step=step, loss=losses[step], recent_losses=losses[: step + 1][-50:])
    spikes = [one for one in found if one["condition"] == "loss_spike"]
    assert [one["step"] for one in spikes] == [120]
    every = barograph.create_alerts_manager()
    told = [one for step, loss in enumerate(losses) for one in every.check_all(step=step, loss=loss)]
    assert [one["step"] for one in told if one["condition"] == "loss_spike"] == [120]


def test_alerts_are_asked_with_anything_and_never_raise() -> None:
    manager = barograph.create_alerts_manager()
    for thing in (None, "x", 1j, [], {}, object(), torch.ones(3), math.nan, -math.inf, 10**400, b"2"):
        manager.check_all(
            loss=thing,
            streaming_ce=thing,
            gradient_norms=thing,
            learning_rate=thing,
            recent_losses=[thing, thing],
            ece=thing,
            ece_n=thing,
            metrics={"eval/loss": thing},
        )
        manager.check_all(step=0, gradient_norms={"a": thing, "b": None})
    assert isinstance(manager.get_summary()["left_out"], int)


@given(st.lists(st.tuples(TOKENS, st.floats(0.01, 100.0)), min_size=1, max_size=80), st.integers(2, 60))
def test_the_pace_is_that_of_the_steps_and_no_interval_is_missing(steps: list[tuple[int, float]], window: int) -> None:
    clock = iter([0.0, *np.cumsum([seconds for _, seconds in steps]).tolist()])
    monitor = barograph.create_throughput_monitor(window_size=window, clock=lambda: next(clock))
    monitor.start()
    for tokens, _ in steps:
        found = monitor.update(tokens)
    newest = steps[-window:]
    assert found["tokens_per_sec"] == pytest.approx(
        sum(tokens for tokens, _ in newest) / sum(seconds for _, seconds in newest), rel=1e-6
    )
    assert found["tokens_per_sec_avg"] == pytest.approx(
        sum(tokens for tokens, _ in steps) / sum(seconds for _, seconds in steps), rel=1e-6
    )
    assert found["num_updates"] == len(steps)


def test_without_a_start_the_first_call_only_starts_the_clock_and_pauses_can_be_left_out() -> None:
    now = 0.0
    monitor = barograph.create_throughput_monitor(clock=lambda: now)
    assert monitor.update(1000)["tokens_per_sec"] is None
    for _ in range(4):
        now += 1.0
        assert monitor.update(1000)["tokens_per_sec"] == pytest.approx(1000.0)
    now += 500.0
    monitor.start()
    now += 1.0
    assert monitor.update(1000)["tokens_per_sec_avg"] == pytest.approx(1000.0)
    assert monitor.get_statistics(total_steps=16)["eta_s"] == pytest.approx(10.0)


def test_a_pace_that_falls_is_degrading_and_what_is_not_known_has_a_reason() -> None:
    now = 0.0
    monitor = barograph.create_throughput_monitor(clock=lambda: now)
    found = monitor.update("many")
    why = found["why"]
    assert isinstance(why, dict)
    assert {name for name, value in found.items() if value is None or value == "unknown"} == set(why)
    assert found["left_out"] == 1
    for step in range(60):
        now += 1.0 if step < 30 else 2.0
        found = monitor.update(1000)
    assert found["throughput_trend"] == "degrading"


@pytest.mark.parametrize("wrong", [0.0, 1.5, math.nan, "x"])
def test_a_weight_that_cannot_be_is_refused_in_a_sentence(wrong: object) -> None:
    with pytest.raises(UsageError, match="ema_alpha"):
        barograph.create_streaming_tracker(ema_alpha=wrong)  # type: ignore[arg-type]  # on purpose
