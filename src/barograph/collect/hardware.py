"""What the machine says of itself: processor, memory, disk and every GPU, asked every few seconds.

A driver may hang for minutes, and so may a disk on the network. So each source is asked in a thread of its own, which
keeps the newest answer; `newest` never waits. A source that has not answered for three periods has its fields null,
with that as the reason, and so has one that raises. The others do not notice. A thread that hangs is never joined by a
second one.
"""

import functools
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec
import psutil

from barograph.collect.nvml import Gpus, Nvml, installed_nvml
from barograph.journal.writer import described
from barograph.records.signals import Hardware

EVERY_S = 10.0
STALE_AFTER = 3.0
"""Periods after which an answer is too old to be told."""

FIRST_S = 0.2
"""Seconds that the first use of the processor is taken over; later ones are taken over a period. Use is what was used
since the same thread asked before, so every source is asked once for nothing."""

STOP_S = 0.5
"""Longest time that `stop` waits for threads that are in the middle of a question."""

GB = 1e9


class Question(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that a source is asked."""

    fields: tuple[str, ...]
    """Fields of `Hardware` that the answer fills."""
    ask: Callable[[], Hardware]
    """Makes the answer; may raise anything, and may take for ever."""


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """What a question brought."""

    at: float
    """Monotonic time at which it was there."""
    found: Hardware | str
    """The answer, or what was raised."""


class Source:
    """Owns the thread that asks some questions again and again, and the newest answer to each."""

    def __init__(
        self, name: str, questions: tuple[Question, ...], *, every_s: float, close: Callable[[], None] | None = None
    ) -> None:
        """`close` is called in the thread when it ends."""
        self.questions = questions
        self._every_s = every_s
        self._close = close
        self._began = time.monotonic()
        self._answers: dict[tuple[str, ...], Answer] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._live, name=f"barograph-{name}", daemon=True)

    def start(self) -> None:
        """Ask for the first time, and from now on every period."""
        self._began = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Ask no more. Does not wait for an answer."""
        self._stopping.set()

    def join(self, within_s: float) -> None:
        """Wait a little until the thread has ended."""
        if self._thread.is_alive():
            self._thread.join(max(0.0, within_s))

    def newest(self, question: Question) -> Hardware | str:
        """The newest answer, or why there is none."""
        answer = self._answers.get(question.fields)
        silent_s = time.monotonic() - (self._began if answer is None else answer.at)
        if silent_s > STALE_AFTER * self._every_s:
            return f"it has not answered for {silent_s:.0f} s"
        return "it was asked, and has not answered yet" if answer is None else answer.found

    def _live(self) -> None:
        for question in self.questions:
            self._answer(question)
        pause = min(FIRST_S, self._every_s)
        while not self._stopping.wait(pause):
            pause = self._every_s
            for question in self.questions:
                self._answers[question.fields] = self._answer(question)
        if self._close is not None:
            self._close()

    def _answer(self, question: Question) -> Answer:
        try:
            found: Hardware | str = question.ask()
        except Exception as error:  # noqa: BLE001 - the one boundary of this thread; it must outlive anything
            found = described(error)
        return Answer(at=time.monotonic(), found=found)


class Process:
    """What this process uses; processor use is that since the question before."""

    def __init__(self) -> None:
        self._process: psutil.Process | None = None

    def ask(self) -> Hardware:
        """Its fields of `Hardware`, now."""
        process = self._process = self._process or psutil.Process()
        with process.oneshot():
            resident = process.memory_info().rss / GB
            return Hardware(time=time.time(), process_cpu_pct=process.cpu_percent(None), process_ram_gb=resident)


class HardwareSampler:
    """Owns the threads that ask this machine about itself, from `start` to `stop`."""

    def __init__(
        self,
        directory: Path,
        *,
        every_s: float = EVERY_S,
        nvml: Callable[[], Nvml | None] = installed_nvml,
        sources: tuple[Source, ...] = (),
    ) -> None:
        """`directory` is the run's: its disk is the one that is looked at. `nvml` finds the library of the GPUs, and
        `sources` stand in for all that are asked."""
        gpus = Gpus(nvml)
        self._sources = sources or (
            Source("machine", machine_questions(), every_s=every_s),
            Source("disk", (disk_question(directory),), every_s=every_s),
            Source("gpus", (Question(fields=("gpus",), ask=gpus.ask),), every_s=every_s, close=gpus.close),
        )

    def start(self) -> None:
        """Begin to ask; the first answers are there a moment later."""
        for source in self._sources:
            source.start()

    def stop(self) -> None:
        """End the threads; one whose source hangs is left to it."""
        deadline = time.monotonic() + STOP_S
        for source in self._sources:
            source.stop()
        for source in self._sources:
            source.join(deadline - time.monotonic())

    def newest(self, step: int | None) -> Hardware:
        """What is known now, at `step`. Does not wait."""
        found = Hardware(time=time.time(), step=step)
        why: dict[str, str] = {}
        for source in self._sources:
            for question in source.questions:
                answer = source.newest(question)
                if isinstance(answer, str):
                    why |= dict.fromkeys(question.fields, answer)
                else:
                    known = {field: getattr(answer, field) for field in question.fields}
                    found = msgspec.structs.replace(found, **known)
                    why |= answer.why
        return msgspec.structs.replace(found, why=why)


def machine_questions() -> tuple[Question, ...]:
    """Processor and memory, of the machine and of this process."""
    return (
        Question(fields=("cpu_pct",), ask=_processor),
        Question(fields=("load",), ask=_load),
        Question(fields=("process_cpu_pct", "process_ram_gb"), ask=Process().ask),
        Question(fields=("ram_used_gb", "ram_total_gb"), ask=_memory),
        Question(fields=("swap_used_gb", "swap_total_gb"), ask=_swap),
    )


def disk_question(directory: Path) -> Question:
    """The disk that `directory` lies on, or will lie on."""
    fields = ("disk_used_gb", "disk_total_gb", "disk_free_gb")
    return Question(fields=fields, ask=functools.partial(_disk, directory))


def _processor() -> Hardware:
    return Hardware(time=time.time(), cpu_pct=psutil.cpu_percent(None))


def _load() -> Hardware:
    return Hardware(time=time.time(), load=os.getloadavg()[0])


def _memory() -> Hardware:
    """Used is what could not be given to a process that asked for it: caches count as free."""
    found = psutil.virtual_memory()
    return Hardware(time=time.time(), ram_used_gb=(found.total - found.available) / GB, ram_total_gb=found.total / GB)


def _swap() -> Hardware:
    found = psutil.swap_memory()
    return Hardware(time=time.time(), swap_used_gb=found.used / GB, swap_total_gb=found.total / GB)


def _disk(directory: Path) -> Hardware:
    place = directory.absolute()
    while not place.exists() and place != place.parent:
        place = place.parent
    found = os.statvfs(place)
    if not found.f_blocks:
        raise OSError(f"the file system of {place} does not tell its size")
    return Hardware(
        time=time.time(),
        disk_used_gb=(found.f_blocks - found.f_bfree) * found.f_frsize / GB,
        disk_total_gb=found.f_blocks * found.f_frsize / GB,
        disk_free_gb=found.f_bavail * found.f_frsize / GB,
    )
