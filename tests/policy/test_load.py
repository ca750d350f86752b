"""A policy is one of ours or a file; what it does not know it refuses, naming the file, the key and what is known."""

import json
import math
import os
import re
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.errors import PolicyError
from barograph.policy import Policy, load
from barograph.policy.load import SHIPPED


def tables(policy: Policy) -> dict[str, dict[str, object]]:
    said: dict[str, dict[str, object]] = msgspec.to_builtins(policy)
    said.pop("name")
    return said


def toml(values: dict[str, object], prefix: str = "") -> str:
    """Nested tables as dotted keys."""
    lines = []
    for key, value in values.items():
        if isinstance(value, dict):
            lines.append(toml(value, f"{prefix}{key}."))
        else:
            lines.append(f"{prefix}{key} = {json.dumps(value) if isinstance(value, str | bool) else value}")
    return "\n".join(lines)


def flat(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Nested tables as one, with dotted keys."""
    found: dict[str, object] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return found


def written(folder: Path, text: str, name: str = "mine.toml") -> Path:
    path = folder / name
    path.write_text(text)
    return path


@pytest.mark.parametrize("name", SHIPPED)
def test_the_shipped_policies_fill_every_table(name: str) -> None:
    policy = load(name)
    assert policy.name == name
    assert policy.loss_finite.max_non_finite == 0


def test_the_contract_has_the_values_of_its_documents() -> None:
    contract = load("contract")
    assert contract.loss_finite.max_non_finite == 0, "NaN/Inf loss: critical, stop immediately"
    assert contract.exact_match_gain.min_items == 100
    drift, stability = contract.layer_drift, contract.weight_stability
    assert (drift.pattern_ratio, drift.minimal_below, drift.significant_above) == (1.5, 0.10, 0.30)
    assert (drift.yellow_from, drift.red_above) == (0.20, 0.35)
    assert (stability.max_abs_warning, stability.max_abs_critical) == (100.0, 150.0)
    assert (stability.min_abs_warning, stability.min_abs_critical) == (1e-10, 1e-12)


def test_ours_differs_from_the_contract_only_where_it_says_so() -> None:
    ours, contract = flat({**tables(load())}), flat({**tables(load("contract"))})
    changed = {key for key in ours if ours[key] != contract[key]}
    changed -= {key for key in ours if key.startswith("weight_stability.")}  # every rule is another one
    assert changed == {
        "loss_finite.min_points",
        *(f"layer_drift.{key}" for key in ("minimal_below", "significant_above", "yellow_from", "red_above")),
        *(f"training_drift.{key}" for key in ("judged_by", "spike_tail")),
        "gradient_ghost.max_ratio",
        "gradient_ghost.early",
        "streaming.warm_up_steps",
        *(f"layer_activity.{key}" for key in ("dead_checks", "needs_zero_weight", "min_history")),
        *(f"layer_activity.{key}" for key in ("vanishing_below", "vanishing_ratio")),
        *(f"layer_activity.{key}" for key in ("exploding_above", "exploding_ratio")),
        "throughput.baseline_steps",
        "alerts.loss_spike.judged_by",
        *(f"alerts.exploding_gradients.{key}" for key in ("above", "above_median")),
        *(f"alerts.vanishing_gradients.{key}" for key in ("below", "below_median")),
        *(f"alerts.vanishing_gradients.life.{key}" for key in ("fire_after", "cooldown_s")),
        "alerts.dead_layers.active_share_below",
        "alerts.gradient_imbalance.ratio_above",
        *(f"alerts.gradient_imbalance.life.{key}" for key in ("severity", "fire_after", "cooldown_s")),
        "alerts.plateau.judged_by",
        "alerts.val_train_gap.needs_rise",
        "alerts.poor_calibration.judged_by",
        *(f"alerts.learning_rate_low.{key}" for key in ("below", "before_end_share")),
        *(f"alerts.throughput_degraded.{key}" for key in ("judged_by", "life.fire_after")),
        *(f"alerts.gpu_temperature.{key}" for key in ("above_c", "below_limit_c")),
        *(f"interpretation.{name}.{key}" for name in ("exploding", "exploding_top") for key in ("cause", "action")),
    }


def test_a_file_replaces_single_keys_of_its_base(tmp_path: Path) -> None:
    path = written(tmp_path, 'base = "default"\n[loss_finite]\nmax_non_finite = 3\n[exact_match_gain]\nmin_gain = 0.25')
    policy, base = load(path), load("default")
    assert policy.name == "mine"
    assert (policy.loss_finite.max_non_finite, policy.exact_match_gain.min_gain) == (3, 0.25)
    assert policy.loss_finite.min_points == base.loss_finite.min_points
    assert policy.exact_match_gain.min_items == base.exact_match_gain.min_items
    assert policy.run_state == base.run_state
    assert load(str(path)) == policy


def test_a_table_inside_a_table_is_replaced_key_by_key(tmp_path: Path) -> None:
    path = written(tmp_path, 'base = "default"\n[interpretation.spike]\naction = "Look at the batch"')
    spike, base = load(path).interpretation.spike, load("default").interpretation.spike
    assert (spike.action, spike.cause) == ("Look at the batch", base.cause)


def test_a_base_may_be_a_file_beside_the_file(tmp_path: Path) -> None:
    written(tmp_path, 'base = "contract"\n[run_state]\ncrashed_after_s = 60.0\n[loss_finite]\nmin_points = 7', "a.toml")
    (tmp_path / "sub").mkdir()
    path = written(tmp_path / "sub", 'base = "../a.toml"\n[run_state]\ncrashed_after_s = 90', "b.toml")
    policy = load(path)
    assert (policy.run_state.crashed_after_s, policy.loss_finite.min_points) == (90.0, 7)


def test_a_file_without_a_base_must_say_everything(tmp_path: Path) -> None:
    every = "\n".join(f"[{table}]\n{toml(keys)}" for table, keys in tables(load()).items())
    assert tables(load(written(tmp_path, every))) == tables(load())
    without = every.replace("judged_by", "# judged_by", 1)
    with pytest.raises(PolicyError, match=r"missing key `judged_by` in \[training_drift\]"):
        load(written(tmp_path, without))
    with pytest.raises(PolicyError, match=r"missing table \[loss_finite\]"):
        load(written(tmp_path, "[run_state]\ncrashed_after_s = 1.0"))


SPIKE_KEYS = (
    "Known in [alerts.loss_spike]: enabled, life, recommendation, judged_by, ratio, mean_of, window, min_window,"
    " sigma, min_ratio, tail, merge"
)


@pytest.mark.parametrize(
    ("text", "problem", "advice"),
    [
        (
            "[loss_finit]\nmin_points = 1",
            "unknown table [loss_finit]; did you mean [loss_finite]?",
            "Known tables: [run",
        ),
        (
            "[loss_finite]\nmin_point = 1",
            "unknown key `min_point` in [loss_finite]; did you mean `min_points`?",
            "Known in [loss_finite]: max_non_finite, min_points",
        ),
        (
            "[alerts.loss_spike]\nmin_ration = 1.5",
            "unknown key `min_ration` in [alerts.loss_spike]; did you mean `min_ratio`?",
            SPIKE_KEYS,
        ),
        ("[alerts.loss_spike]\nzzz = 1.5", "unknown key `zzz` in [alerts.loss_spike]", SPIKE_KEYS),
        (
            "[alerts.loss_spik]\nsigma = 1.5",
            "unknown table [alerts.loss_spik]; did you mean [alerts.loss_spike]?",
            "Known in [alerts]: non_finite_loss, masked_loss, loss_spike,",
        ),
        (
            "[alerts.loss_spike]\nlife = { fire_afer = 2 }",
            "unknown key `fire_afer` in [alerts.loss_spike.life]; did you mean `fire_after`?",
            "Known in [alerts.loss_spike.life]: severity, fire_after, resolve_after, cooldown_s",
        ),
        (
            "min_points = 1",
            "unknown key `min_points` outside of any table",
            "Known tables: [run_state], [loss_finite],",
        ),
        (
            '[alerts.loss_spike]\njudged_by = "robst"',
            '`judged_by` in [alerts.loss_spike] is "robst"; did you mean "robust"?',
            'It must be one of "ratio", "robust"',
        ),
        (
            "[alerts.loss_spike]\njudged_by = 1",
            "`judged_by` in [alerts.loss_spike] is 1",
            'It must be one of "ratio", "robust"',
        ),
        ("[alerts.disk_full]\nenabled = 0", "`enabled` in [alerts.disk_full] is 0", "It must be true or false"),
        (
            '[alerts.disk_full]\nrecommendation = ""',
            '`recommendation` in [alerts.disk_full] is ""',
            "It must be a text that is not empty",
        ),
        (
            '[loss_finite]\nmin_points = "1"',
            '`min_points` in [loss_finite] is "1"',
            "It must be a whole number, 1 or more",
        ),
        (
            "[loss_finite]\nmin_points = true",
            "`min_points` in [loss_finite] is true",
            "It must be a whole number, 1 or more",
        ),
        (
            "[loss_finite]\nmin_points = 1.5",
            "`min_points` in [loss_finite] is 1.5",
            "It must be a whole number, 1 or more",
        ),
        ("[loss_finite]\nmin_points = 0", "`min_points` in [loss_finite] is 0", "It must be a whole number, 1 or more"),
        (
            "[run_state]\ncrashed_after_s = 0.0",
            "`crashed_after_s` in [run_state] is 0.0",
            "It must be a number, above 0",
        ),
        (
            "[run_state]\ncrashed_after_s = nan",
            "`crashed_after_s` in [run_state] is nan",
            "It must be a number, above 0",
        ),
        (
            "[exact_match_gain]\nmin_gain = 1.1",
            "`min_gain` in [exact_match_gain] is 1.1",
            "It must be a number, 0 or more and at most 1",
        ),
        (
            "[alerts.throughput_degraded]\nbelow_share = 0",
            "`below_share` in [alerts.throughput_degraded] is 0",
            "It must be a number, above 0 and below 1",
        ),
        ("loss_finite = 5", "[loss_finite] is 5, and must be a table", "Write [loss_finite] above its keys"),
        ("[[loss_finite]]\nmin_points = 1", "[loss_finite] is [{'min_points': 1}], and must be a table", "Write"),
        (
            "[training_drift]\nspike_window = 5\nspike_min_window = 9",
            "`spike_min_window` is above `spike_window` in [training_drift]",
            "Known in [training_drift]: min_steps,",
        ),
    ],
)
def test_what_is_not_known_or_out_of_range_is_refused_in_the_files_own_words(
    text: str, problem: str, advice: str, tmp_path: Path
) -> None:
    path = written(tmp_path, f'base = "default"\n{text}')
    with pytest.raises(PolicyError) as refused:
        load(path)
    assert refused.value.problem == problem
    assert refused.value.advice is not None
    assert refused.value.advice.startswith(advice)
    assert refused.value.where == f"policy {path}"


@given(key=st.text(min_size=1, max_size=200), table=st.sampled_from(["", "[alerts.plateau]", "[streaming]"]))
@settings(deadline=None)
def test_whatever_key_is_unknown_the_error_names_it(
    key: str, table: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    escaped = "".join(f"\\U{ord(one):08X}" for one in key)
    path = tmp_path_factory.getbasetemp() / f"key-{os.getpid()}.toml"
    path.write_text(f'base = "default"\n{table}\n"{escaped}-" = 1')
    with pytest.raises(PolicyError) as refused:
        load(path)
    assert key.partition("`")[0] in refused.value.problem


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("base = 5", "`base` is 5"),
        ('base = ""', "cannot be read"),
        ('base = "missing.toml"', "cannot be read: No such file or directory"),
        ('base = "mine.toml"', "more than 4 policies build on each other"),
        ('base = "default"\nname = "x"', "unknown key `name`"),
        ("base = default", "is no TOML"),
        ("[loss_finite]\n[loss_finite]", "is no TOML"),
        ("a = " + "[" * 20_000, "is no TOML"),
        ('base = "a\\u0000b"', "is no TOML"),
    ],
)
def test_what_is_no_policy_is_refused(text: str, said: str, tmp_path: Path) -> None:
    path = written(tmp_path, text)
    with pytest.raises(PolicyError, match=re.escape(said)):
        load(path)


def test_what_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    for path in (tmp_path, tmp_path / "missing.toml", tmp_path / "bytes.toml"):
        with pytest.raises(PolicyError, match=re.escape(f"(at policy {path})")):
            load(path)
    with pytest.raises(PolicyError, match="Name a TOML file, or one of default, contract"):
        load("defualt")


def test_two_files_that_build_on_each_other_are_refused(tmp_path: Path) -> None:
    written(tmp_path, 'base = "b.toml"', "a.toml")
    written(tmp_path, 'base = "a.toml"', "b.toml")
    with pytest.raises(PolicyError, match="more than 4 policies build on each other"):
        load(tmp_path / "a.toml")


def test_a_file_may_have_the_name_of_a_shipped_policy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path, 'base = "default"\n[run_state]\ncrashed_after_s = 99.0', "contract")
    assert load("contract").run_state.crashed_after_s == 15.0
    assert load(Path("contract")).run_state.crashed_after_s == 99.0


@settings(deadline=None)
@given(gain=st.floats(0.0, 1.0), seconds=st.floats(0.0, exclude_min=True, allow_infinity=False))
def test_what_a_file_says_is_what_the_policy_holds(
    gain: float, seconds: float, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = f'base = "default"\n[exact_match_gain]\nmin_gain = {gain!r}\n[run_state]\ncrashed_after_s = {seconds!r}'
    path = tmp_path_factory.getbasetemp() / f"{os.getpid()}.toml"
    path.write_text(text)
    policy = load(path)
    assert policy.exact_match_gain.min_gain == gain
    assert math.isclose(policy.run_state.crashed_after_s, seconds, rel_tol=0.0)
