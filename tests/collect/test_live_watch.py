"""The watch beside the loop goes on whatever is lost, looks at the machine early, and says what a training died of."""

import json
import threading
import time
from pathlib import Path

import pytest

from barograph.analysis.training_status import error_of
from barograph.collect.begin import init
from barograph.collect.ending import ending_of
from barograph.journal import TailReader, layout
from barograph.records import Alert, Checkpoint, Hardware, LostRecords, Record, Signals


def records(directory: Path) -> list[Record]:
    found: list[Record] = []
    for file in layout.journal_files(directory):
        with TailReader(directory, file.path) as reader:
            found += [entry.record for entry in reader.read(1 << 30).entries]  # type: ignore[misc]  # all known
    return found


def test_after_an_overflow_of_the_queue_the_watch_goes_on_and_what_is_said_once_is_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("barograph.collect.live_watch.PULSE_S", 0.02)
    monkeypatch.setattr("barograph.collect.live_watch.EVERY_S", 0.05)
    entered, opened = threading.Event(), threading.Event()

    def gate() -> None:
        entered.set()
        assert opened.wait(10.0)

    run = init("p", dir=tmp_path)
    writer = run.writer
    assert writer is not None
    writer._capacity = 50
    run.log({"loss": 1.0}, step=0)
    writer.append(None, gate)
    assert entered.wait(10.0)
    deadline = time.monotonic() + 10.0
    while not writer._queue:  # the pulse; one that came later would take the place of a value
        assert time.monotonic() < deadline
        time.sleep(0.005)
    run.alert("mine")
    run.checkpoint(1, tmp_path / "checkpoint-1")
    run.set_total_steps(5_000)
    for step in range(1, 400):
        run.log({"loss": 1.0}, step=step)
    opened.set()
    assert writer.flush()  # that of the run puts one more entry into the queue
    before = len([one for one in records(run.directory) if isinstance(one, Hardware)])
    time.sleep(0.4)
    run.finish()
    found = records(run.directory)
    assert [one.title for one in found if isinstance(one, Alert) and not one.condition] == ["mine"]
    assert [one.step for one in found if isinstance(one, Checkpoint)] == [1]
    assert sum(one.count for one in found if isinstance(one, LostRecords)) == 349
    assert len([one for one in found if isinstance(one, Hardware)]) > before + 1, "the pulse goes on"
    assert [one for one in found if isinstance(one, Signals)][-1].step == 399
    document = json.loads((run.directory / "status" / "training_status.json").read_bytes())
    assert document["total_steps"] == 5_000


def test_a_pulse_that_is_lost_is_not_waited_for_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("barograph.collect.live_watch.PULSE_S", 0.02)
    monkeypatch.setattr("barograph.collect.live_watch.PULSE_LOST_S", 0.1)
    run = init("p", dir=tmp_path)
    live = run._live
    assert live is not None
    live._pulsed_at = time.monotonic()  # as after the loss of that entry
    time.sleep(0.5)
    assert live._threads_at > 0.0
    run.finish()


def test_a_run_of_a_second_has_a_sample_of_its_machine(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    run.log({"loss": 1.0}, step=0)
    time.sleep(0.6)
    run.finish()
    samples = [one for one in records(run.directory) if isinstance(one, Hardware)]
    assert len(samples) == 1
    assert samples[0].ram_total_gb is not None


class OutOfMemory(RuntimeError):
    """Stands for an error of a library: its name has its module in front."""


@pytest.mark.parametrize(
    ("error", "message", "kind"),
    [
        (ValueError("no such file"), "no such file", "ValueError"),
        (RuntimeError("CUDA error: lost"), "CUDA error: lost", "RuntimeError"),
        (NotImplementedError(), None, "NotImplementedError"),
        (KeyboardInterrupt(), None, "KeyboardInterrupt"),
        (OutOfMemory("all of it"), "all of it", f"{__name__}.OutOfMemory"),
    ],
)
def test_an_error_is_its_type_and_its_text_and_what_is_missing_has_a_reason(
    error: BaseException, message: str | None, kind: str
) -> None:
    found = error_of(ending_of(error).reason)
    assert (found.message, found.type) == (message, kind)
    assert ("error_message" in found.why) is (message is None)


def test_a_reason_that_names_no_error_is_a_message() -> None:
    found = error_of("training began again before it had ended")
    assert (found.message, found.type) == ("training began again before it had ended", None)
    assert "error_type" in found.why
    assert error_of(None) == error_of("")


def test_an_error_without_a_text_has_its_type_in_the_status_document(tmp_path: Path) -> None:
    run = init("p", dir=tmp_path)
    with pytest.raises(NotImplementedError), run:
        raise NotImplementedError
    document = json.loads((run.directory / "status" / "training_status.json").read_bytes())
    assert (document["error_type"], document["error_message"]) == ("NotImplementedError", None)
    assert document["why"]["error_message"] == "the error has no text"
