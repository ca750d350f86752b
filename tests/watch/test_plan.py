"""The plan is pure: what is missing, in which order, compared with what."""

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from barograph.records.weights import origin_rank
from barograph.watch import Candidate, First, InForce, Past, PlannedJob, Reference, plan
from barograph.watch.plan import IS_FIRST, first_checkpoint, job_id

NOW = 1_000_000.0
NOTHING = Past(failed=frozenset(), in_force={}, first=None)
BASE = Reference(path="/models/base", name="base", origin="named", stamp="base-1")


def candidate(step: int | None, *, run: str = "r", **changes: object) -> Candidate:
    one = Candidate(
        run=run,
        attempt=1,
        path=f"/out/{run}/checkpoint-{step}",
        name=f"checkpoint-{step}",
        step=step,
        recorded=True,
        stamp=f"stamp-{step}",
        readable=True,
        adapter=False,
        modified=NOW - 100.0,
        reference=None,
        no_reference=None,
    )
    return replace(one, **changes)


def jobs(*found: Candidate, past: Past = NOTHING, quiet_s: float = 5.0) -> list[PlannedJob]:
    return plan(found, {one.run: past for one in found}, now=NOW, quiet_s=quiet_s).jobs


def names(found: list[PlannedJob]) -> list[str]:
    return [job.candidate.name for job in found]


def done(found: list[PlannedJob], past: Past = NOTHING) -> Past:
    """The past once these were done; a job whose checkpoint is not there fails."""
    read = [job for job in found if job.candidate.stamp]
    compared = [job for job in read if job.reference and job.reference.origin == "first_checkpoint"]
    return Past(
        failed=past.failed | {job.id for job in found if not job.candidate.stamp},
        in_force={
            **past.in_force,
            **{
                job.candidate.path: InForce(
                    stamp=job.candidate.stamp,
                    job=job.id,
                    rank=origin_rank(job.reference.origin if job.reference else None),
                )
                for job in read
            },
        },
        first=First(path=compared[0].reference.path, attempt=compared[0].candidate.attempt)
        if compared and compared[0].reference
        else past.first,
    )


def test_checkpoint_9_comes_before_checkpoint_10() -> None:
    found = [candidate(step) for step in (100, 10, 9, 1)]
    assert names(jobs(*found)) == ["checkpoint-1", "checkpoint-9", "checkpoint-10", "checkpoint-100"]


def test_what_has_no_step_comes_last() -> None:
    found = [candidate(None, path="/out/r/deployed", name="deployed"), candidate(5)]
    assert names(jobs(*found)) == ["checkpoint-5", "deployed"]


def test_the_run_that_saved_last_comes_first() -> None:
    old = [candidate(step, run="a", modified=NOW - 900.0) for step in (1, 2)]
    new = [candidate(step, run="z", modified=NOW - 10.0) for step in (1, 2)]
    assert [(job.candidate.run, job.candidate.step) for job in jobs(*old, *new)] == [
        ("z", 1),
        ("z", 2),
        ("a", 1),
        ("a", 2),
    ]


def test_one_still_being_written_waits_and_says_until_when() -> None:
    writing = candidate(3, recorded=False, modified=NOW - 2.0)
    made = plan([candidate(1), writing], {"r": NOTHING}, now=NOW, quiet_s=5.0)
    assert names(made.jobs) == ["checkpoint-1"]
    assert made.quiet_at == NOW + 3.0
    assert names(plan([writing], {"r": NOTHING}, now=NOW + 3.0, quiet_s=5.0).jobs) == ["checkpoint-3"]


def test_one_that_its_run_spoke_of_is_complete_at_once() -> None:
    assert names(jobs(candidate(3, modified=NOW))) == ["checkpoint-3"]


def test_one_that_is_not_there_is_a_job_that_fails_and_not_silence() -> None:
    (job,) = jobs(candidate(3, stamp="", readable=False, recorded=True))
    assert job.candidate.stamp == ""
    assert jobs(candidate(3, stamp="", readable=False), past=done([job])) == []
    assert names(jobs(candidate(3), past=done([job]))) == ["checkpoint-3"]  # it was brought back


def test_the_first_checkpoint_is_the_reference_of_the_others_and_of_nothing_itself() -> None:
    first, second, third = jobs(candidate(10), candidate(20), candidate(30))
    assert first.reference is None
    assert first.no_reference == IS_FIRST
    for job in (second, third):
        assert job.reference == Reference(
            path="/out/r/checkpoint-10", name="checkpoint-10", origin="first_checkpoint", stamp="stamp-10"
        )


def test_a_named_reference_is_that_of_all() -> None:
    found = jobs(candidate(10, reference=BASE), candidate(20, reference=BASE))
    assert [job.reference for job in found] == [BASE, BASE]


def test_the_first_one_stays_the_reference_when_an_earlier_one_appears() -> None:
    past = done(jobs(candidate(10), candidate(20)))
    (job,) = jobs(candidate(5), candidate(10), candidate(20), past=past)
    assert job.candidate.step == 5
    assert job.reference is not None
    assert job.reference.name == "checkpoint-10"


def test_when_the_first_one_is_deleted_no_other_takes_its_place() -> None:
    past = done(jobs(candidate(10), candidate(20)))
    (job,) = jobs(candidate(20), candidate(30), past=past)
    assert job.candidate.step == 30
    assert job.reference is None
    assert job.no_reference is not None
    assert "checkpoint-10" in job.no_reference
    assert "--reference" in job.no_reference


def test_what_cannot_be_read_is_no_reference() -> None:
    found = jobs(candidate(10, readable=False), candidate(20), candidate(30))
    assert [None if job.reference is None else job.reference.name for job in found] == [
        "checkpoint-20",
        None,
        "checkpoint-20",
    ]


def test_the_first_one_stays_the_reference_when_it_was_saved_or_copied_again() -> None:
    past = done(jobs(candidate(10), candidate(20)))
    again = jobs(candidate(10, stamp="other"), candidate(20), past=past)
    assert [(job.candidate.step, job.reference.name if job.reference else None) for job in again] == [
        (10, None),
        (20, "checkpoint-10"),
    ]


def test_a_later_attempt_whose_checkpoints_replaced_the_others_has_a_first_one_of_its_own() -> None:
    past = done(jobs(candidate(10), candidate(20)))
    new = [candidate(step, attempt=2) for step in (15, 30)]
    assert [job.reference.name if job.reference else None for job in jobs(*new, past=past)] == [None, "checkpoint-15"]


def test_what_was_read_and_then_deleted_is_neither_read_nor_missed() -> None:
    past = done(jobs(candidate(10), candidate(20)))
    assert jobs(candidate(10), candidate(20, stamp="", readable=False), past=past) == []


def test_a_lesser_reference_does_not_replace_a_better_one_and_the_better_one_comes_back() -> None:
    other = replace(BASE, path="/models/other", stamp="other-1")
    past = done(jobs(candidate(10), candidate(20, reference=BASE)))
    assert jobs(candidate(10), candidate(20), past=past) == []  # no --reference this time
    (back,) = jobs(candidate(20, reference=other), past=past)
    past = done([back], past)
    (again,) = jobs(candidate(20, reference=BASE), past=past)
    assert again.id == jobs(candidate(20, reference=BASE))[0].id
    from_run = replace(BASE, origin="run")
    assert jobs(candidate(20, reference=from_run), past=past) == []


def test_a_time_to_come_is_no_reason_to_wait() -> None:
    assert names(jobs(candidate(3, recorded=False, modified=NOW + 3600.0))) == ["checkpoint-3"]


def test_an_adapter_is_never_compared_with_another_one() -> None:
    found = jobs(candidate(10, adapter=True), candidate(20, adapter=True))
    assert [job.reference for job in found] == [None, None]
    assert all(job.no_reference == "the adapter names no base model" for job in found)
    assert first_checkpoint([candidate(10, adapter=True)], NOTHING) is None


def test_why_a_named_reference_cannot_be_used_is_kept() -> None:
    (job,) = jobs(candidate(10, adapter=True, no_reference="the adapter stands on x, which is not on this machine"))
    assert job.no_reference == "the adapter stands on x, which is not on this machine"


def test_one_that_changed_is_read_again() -> None:
    past = done(jobs(candidate(10, reference=BASE)))
    assert jobs(candidate(10, reference=BASE), past=past) == []
    assert names(jobs(candidate(10, reference=BASE, stamp="other"), past=past)) == ["checkpoint-10"]


def test_another_reference_means_reading_again_and_its_loss_does_not() -> None:
    past = done(jobs(candidate(10, reference=BASE)))
    assert names(jobs(candidate(10, reference=replace(BASE, stamp="base-2")), past=past)) == ["checkpoint-10"]
    assert jobs(candidate(10, no_reference="it is gone"), past=past) == []


def test_a_failed_job_is_not_tried_again_until_its_files_change() -> None:
    (job,) = jobs(candidate(10))
    failed = replace(NOTHING, failed=frozenset({job.id}))
    assert jobs(candidate(10), past=failed) == []
    assert names(jobs(candidate(10, stamp="mended"), past=failed)) == ["checkpoint-10"]


@given(
    steps=st.lists(st.integers(0, 60), unique=True, max_size=12),
    cuts=st.lists(st.integers(1, 3), max_size=12),
    named=st.booleans(),
)
def test_done_one_by_one_in_any_portions_nothing_is_left_out_or_done_twice(
    steps: list[int], cuts: list[int], named: bool
) -> None:
    found = [candidate(step, reference=BASE if named else None) for step in steps]
    past, did = NOTHING, []
    portions = iter([*cuts, *([1] * 100)])
    while left := jobs(*found, past=past):
        now_done = left[: next(portions)]  # then it is killed, and another one begins from the journal
        did += [job.candidate.path for job in now_done]
        past = done(now_done, past)
    assert sorted(did) == sorted(one.path for one in found)
    assert did == [one.path for one in sorted(found, key=lambda one: one.step or 0)]


@given(st.text(), st.text(), st.text(), st.text())
def test_the_id_tells_contents_and_references_apart(path: str, stamp: str, other: str, other_stamp: str) -> None:
    reference = Reference(path=other, name="x", origin="run", stamp=other_stamp)
    ids = {
        job_id(path, stamp, None),
        job_id(path, stamp, reference),
        job_id(path, stamp + "'", reference),
        job_id(path, stamp, replace(reference, stamp=other_stamp + "'")),
    }
    assert len(ids) == 4
    assert job_id(path, stamp, reference) == job_id(path, stamp, replace(reference, name="y", origin="named"))
