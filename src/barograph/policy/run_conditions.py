"""Conditions that a dead or hanging process cannot raise itself: whoever reads its log looks for them."""

from barograph.analysis.run_state import RunState
from barograph.policy.alert_tables import RunCrashedTable, RunSilentTable
from barograph.policy.checked import NOT_SEEN, SWITCHED_OFF, Checked, unknown


def run_silent(
    state: RunState,
    *,
    step: int | None,
    since_step_s: float | None,
    seconds_per_step: float | None,
    table: RunSilentTable,
) -> Checked:
    """The process lives and makes no step: `since_step_s` seconds since the newest one (or since it began, if there is
    none), pauses left out; `seconds_per_step` is what a step usually takes, None if that is not known."""
    if not table.enabled:
        return unknown(SWITCHED_OFF)
    if state.state != "training":
        return unknown(state.reason) if state.state == "idle" else NOT_SEEN
    if since_step_s is None:
        return unknown("no line of the run says when its newest step was made")
    if since_step_s <= table.after_s:
        return NOT_SEEN
    if seconds_per_step is not None and since_step_s <= table.after_steps * seconds_per_step:
        return NOT_SEEN
    usual = "" if seconds_per_step is None else f"; a step usually takes {seconds_per_step:.3g} s"
    newest = "It has made no step yet" if step is None else f"Its newest step is {step}"
    return Checked(
        seen=True,
        title=f"No step for {_span(since_step_s)}",
        text=f"The process lives, and has made no step for {since_step_s:.0f} s. {newest}{usual}.",
        evidence={
            "since_step_s": since_step_s,
            "after_s": table.after_s,
            **(
                {}
                if seconds_per_step is None
                else {"seconds_per_step": seconds_per_step, "after_steps": table.after_steps}
            ),
        },
        step=step,
    )


def run_crashed(state: RunState, *, step: int | None, silent_s: float, table: RunCrashedTable | None = None) -> Checked:
    """The process ended without saying so, or with an error; `silent_s` seconds since its file last grew. Without a
    table nobody has switched it off."""
    if table is not None and not table.enabled:
        return unknown(SWITCHED_OFF)
    if state.state == "idle":
        return unknown(state.reason)
    if state.state != "crashed":
        return NOT_SEEN
    where = "" if step is None else f" Its newest step is {step}."
    return Checked(
        seen=True,
        title="The training crashed" + ("" if step is None else f" after step {step}"),
        text=f"{state.reason}.{where}",
        evidence={"since_last_line_s": silent_s},
        step=step,
    )


def _span(seconds: float) -> str:
    """A duration as a person says it."""
    if seconds < 120.0:
        return f"{seconds:.0f} s"
    return f"{seconds / 60.0:.0f} min" if seconds < 7_200.0 else f"{seconds / 3_600.0:.1f} h"
