"""What happens to a journal when its process forks, is killed, or runs into its limits."""

import itertools
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from barograph.journal import Batch, layout
from barograph.records import Banner, LostRecords, Record, Step

Records = Callable[[Path], list[list[Record]]]
Reader = Callable[[Path], Batch]

BEGIN = """
import os, resource, sys, time
from pathlib import Path
from barograph.journal import JournalWriter, layout
from barograph.records import Banner, Step
run = Path(sys.argv[1])
def opener():
    attempt = layout.claim_attempt(run, launch_id=str(os.getpid()), now=time.time())
    return Banner(run="r", attempt=attempt, writer="train", time=time.time())
def step(number):
    return Step(step=number, loss=0.5, time=time.time())
def log(begin, end):
    for number in range(begin, end):
        writer.append(number, step, number)
"""

FORKS = """
writer = JournalWriter(run, opener)
log(0, 100)
assert writer.flush()
log(100, 200)
children = []
for index in range(5):
    log(200 + index * 10, 210 + index * 10)
    child = os.fork()
    if not child:
        log(1000, 1100)
        assert writer.flush()
        assert writer.close()
        if index % 2:
            os._exit(0)
        sys.exit(0)
    children.append(child)
log(250, 300)
assert [os.waitpid(child, 0)[1] for child in children] == [0] * 5
log(300, 400)
assert writer.close()
"""

CHILD_HAS_ITS_OWN = """
parents = JournalWriter(run, opener)
assert parents.flush()
child = os.fork()
writer = parents if child else JournalWriter(run, opener)
log(0 if child else 1000, 10 if child else 1010)
assert writer.close()
if child:
    assert os.waitpid(child, 0)[1] == 0
"""

LIVES = """
writer = JournalWriter(run, opener)
log(0, 1000)
print("logged", flush=True)
time.sleep(60)
"""

TRAINS = """
writer = JournalWriter(run, opener)
assert writer.flush()
for number in range(1_000_000):
    writer.append(number, step, number)
    os.write(1, b"%d %.6f\\n" % (number, time.time()))
    time.sleep(0.001)
"""

MEETS_LIMITS = """
writer = JournalWriter(run, opener, interval=0.01, backlog_bytes=20_000)
assert writer.flush()
resource.setrlimit(resource.RLIMIT_FSIZE, (8192, resource.RLIM_INFINITY))
for number in range(1000):
    log(number, number + 1)
    time.sleep(0.0005)
deadline = time.monotonic() + 20
while writer.trouble is None and time.monotonic() < deadline:
    time.sleep(0.01)
assert "size limit" in writer.trouble or "File too large" in writer.trouble, writer.trouble
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
assert writer.flush()
assert writer.close()
"""

HAS_NO_DESCRIPTORS = """
import errno
taken = []
resource.setrlimit(resource.RLIMIT_NOFILE, (32, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
try:
    while True:
        taken.append(os.open("/dev/null", os.O_RDONLY))
except OSError as error:
    assert error.errno == errno.EMFILE
writer = JournalWriter(run, opener, interval=0.01)
log(0, 100)
deadline = time.monotonic() + 20
while writer.trouble is None and time.monotonic() < deadline:
    time.sleep(0.01)
assert "Too many open files" in writer.trouble, writer.trouble
log(100, 200)
for descriptor in taken:
    os.close(descriptor)
assert writer.close()
"""

ENDS = """
sys.stdin.readline()
writer = JournalWriter(run, opener, interval=0.01)
log(0, 50)
assert writer.flush()
log(50, 100)
assert writer.close()
"""


def python(script: str, run: Path) -> list[str]:
    return [sys.executable, "-c", BEGIN + script, os.fspath(run)]


def steps(records: list[Record]) -> list[int]:
    return [record.step for record in records if isinstance(record, Step)]


def test_a_forked_child_writes_nothing_and_disturbs_nothing(tmp_path: Path, records_of: Records) -> None:
    done = subprocess.run(python(FORKS, tmp_path), check=True, timeout=60, capture_output=True, text=True)
    assert [steps(records) for records in records_of(tmp_path)] == [list(range(400))]
    warned = [line for line in done.stderr.splitlines() if "is not recorded" in line]
    assert len(warned) == len(set(warned)) == 5, "each child says once, with its process id, that it records nothing"


def test_a_forked_child_may_have_a_journal_of_its_own(tmp_path: Path, records_of: Records) -> None:
    subprocess.run(python(CHILD_HAS_ITS_OWN, tmp_path), check=True, timeout=60)
    assert [steps(records) for records in records_of(tmp_path)] == [list(range(10)), list(range(1000, 1010))]


def test_a_kill_a_quarter_of_a_second_after_the_last_step_loses_none(tmp_path: Path, records_of: Records) -> None:
    for attempt in range(3):
        with subprocess.Popen(python(LIVES, tmp_path), stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == b"logged\n"
            time.sleep(0.25)
            process.kill()
        assert steps(records_of(tmp_path)[attempt]) == list(range(1000))


def test_a_kill_at_any_moment_loses_at_most_about_one_interval(tmp_path: Path, read: Reader) -> None:
    for attempt in range(3):
        with subprocess.Popen(python(TRAINS, tmp_path), stdout=subprocess.PIPE) as process:
            time.sleep(0.7 + 0.017 * attempt)
            process.kill()
            assert process.stdout is not None
            said = [line.split() for line in process.stdout.read().splitlines(keepends=True) if line.endswith(b"\n")]
        batch = read(layout.journal_files(tmp_path)[attempt].path)
        assert batch.bad == []
        written = [entry.record.step for entry in batch.entries if isinstance(entry.record, Step)]
        assert written == list(range(len(written)))
        assert said
        lost = [float(at) for number, at in said if int(number) >= len(written)]
        assert not lost or float(said[-1][1]) - lost[0] < 0.25, "five intervals, because the machine may be busy"


def test_a_limit_on_file_size_is_survived_and_the_loss_is_counted(tmp_path: Path, records_of: Records) -> None:
    subprocess.run(python(MEETS_LIMITS, tmp_path), check=True, timeout=60)
    (records,) = records_of(tmp_path)
    lost = sum(record.count for record in records if isinstance(record, LostRecords))
    assert lost > 0
    assert len(steps(records)) + lost == 1000


def test_a_process_out_of_descriptors_writes_when_it_has_one_again(tmp_path: Path, records_of: Records) -> None:
    subprocess.run(python(HAS_NO_DESCRIPTORS, tmp_path), check=True, timeout=60)
    (records,) = records_of(tmp_path)
    assert steps(records) == list(range(200))


KILLED_AT = ("mkdir", "openat", "write", "link", "unlink", "fdatasync", "close")


def killed_at(call: str, number: int, run: Path) -> bool:
    """Runs a whole journal and kills it at its `number`-th system call of that name; False if it made fewer."""
    with subprocess.Popen(python(ENDS, run), stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        while b"\0" not in Path(f"/proc/{process.pid}/cmdline").read_bytes():
            time.sleep(0.01)
        wait = time.monotonic() + 20
        while "pipe" not in Path(f"/proc/{process.pid}/wchan").read_text() and time.monotonic() < wait:
            time.sleep(0.01)  # until it reads its standard input
        inject = f"inject={call}:signal=KILL:when={number}"
        strace = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
        tracer = subprocess.Popen([*strace, "-p", str(process.pid)], stderr=subprocess.PIPE)
        while "TracerPid:\t0\n" in Path(f"/proc/{process.pid}/status").read_text():
            if tracer.poll() is not None:
                process.kill()
                pytest.skip(f"strace cannot attach here: {tracer.stderr and tracer.stderr.read()!r}")
            time.sleep(0.01)
        process.stdin.write(b"go\n")
        process.stdin.close()
        returned = process.wait(60)
        tracer.wait(60)
        assert tracer.stderr is not None
        tracer.stderr.close()
    assert returned in {0, -signal.SIGKILL}
    return returned != 0


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("strace") is None, reason="strace is not installed")
@pytest.mark.parametrize("call", KILLED_AT)
def test_a_kill_between_any_two_system_calls_leaves_a_clean_prefix_and_two_starts_succeed(
    call: str, tmp_path: Path, read: Reader
) -> None:
    for number in itertools.count(1):
        run = tmp_path / str(number)
        run.mkdir()
        killed = killed_at(call, number, run)
        for _ in range(2):
            subprocess.run(python(ENDS, run), input=b"go\n", check=True, timeout=60)
        files = layout.journal_files(run)
        attempts = sorted({file.attempt for file in files})
        assert attempts[-2:] == [attempts[-1] - 1, attempts[-1]]
        for file in files:
            batch = read(file.path)
            assert batch.bad == []
            records = [entry.record for entry in batch.entries]
            written = [record.step for record in records if isinstance(record, Step)]
            assert written == list(range(len(written)))
            if records:
                assert isinstance(records[0], Banner)
                assert records[0].attempt == file.attempt
        for file in files[-2:]:
            assert len(read(file.path).entries) == 101
        if not killed:
            assert number > 1, "the calls were not seen at all"
            break
