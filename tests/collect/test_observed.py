"""What was seen of a step is read once everything has arrived, and what is no number costs only itself."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.analysis.throughput import StepTiming
from barograph.collect.device_values import HostValue
from barograph.collect.logged_values import Refused
from barograph.collect.observed import CLIP_FACTOR, GRADIENT_NORM, STEP_SECONDS, TOKENS, Observed, clip_factor, read


@settings(deadline=None)
@given(st.floats(0.0, 1e6), st.floats(1e-3, 10.0))
def test_the_clip_factor_is_what_torch_multiplies_with(norm: float, limit: float) -> None:
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    weight.grad = torch.tensor([norm], dtype=torch.float64)
    total = float(torch.nn.utils.clip_grad_norm_([weight], limit))
    assert weight.grad.item() == pytest.approx(norm * clip_factor(total, limit))


def test_a_norm_that_is_no_number_has_a_factor_that_is_none() -> None:
    assert math.isnan(clip_factor(math.nan, 1.0))
    assert clip_factor(math.inf, 1.0) == 0.0


def test_everything_that_was_measured_is_read() -> None:
    timing = StepTiming(tokens=None, seconds=2.0, data_wait_s=0.5, batch_size=4)
    found = read(
        Observed(
            losses=(1.5, HostValue(torch.tensor(0.25))),
            gradient_norm=HostValue(torch.tensor(4.0)),
            max_norm=1.0,
            tokens=HostValue(torch.tensor(96)),
            timing=timing,
            token_entropy=0.7,
            top1_probability=0.5,
        )
    )
    assert (found.loss, found.gradient_norm, found.token_entropy, found.top1_probability) == (1.75, 4.0, 0.7, 0.5)
    assert found.timing == StepTiming(tokens=96.0, seconds=2.0, data_wait_s=0.5, batch_size=4)
    assert found.metrics[GRADIENT_NORM] == 4.0
    assert found.metrics[CLIP_FACTOR] == pytest.approx(0.25)
    assert (found.metrics[TOKENS], found.metrics[STEP_SECONDS]) == (96.0, 2.0)


def test_what_was_not_measured_has_no_metric() -> None:
    assert read(Observed(losses=(1.0,))).metrics == {}
    assert read(Observed()).loss is None


@pytest.mark.parametrize("norm", [math.nan, math.inf])
@pytest.mark.parametrize("scaled", [False, True])
def test_under_a_loss_scaler_a_norm_that_is_no_number_is_recorded_and_not_judged(norm: float, *, scaled: bool) -> None:
    found = read(Observed(losses=(1.0,), gradient_norm=norm, scaled=scaled))
    assert repr(found.metrics[GRADIENT_NORM]) == repr(norm)
    assert (found.gradient_norm is None) is scaled


def test_a_loss_that_is_no_number_is_said_and_the_rest_is_there() -> None:
    found = read(Observed(losses=(1.0, Refused("Tensor of shape [3]")), gradient_norm=2.0, tokens=Refused("str")))
    assert (found.loss, found.unreadable, found.gradient_norm) == (None, "Tensor of shape [3]", 2.0)
