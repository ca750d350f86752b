"""`barograph watch`: reads the weights of every checkpoint as it appears."""

import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated

import typer

from barograph.cli.base_dir import BaseDir, root_of
from barograph.cli.weights_report import Bar, PolicyName, judging, printable
from barograph.errors import UsageError

if TYPE_CHECKING:
    from barograph.policy import Policy
    from barograph.watch.plan import PlannedJob
    from barograph.weights import Pass

FAILED = 1


def watch(
    base_dir: BaseDir = None,
    once: Annotated[
        bool, typer.Option("--once", help="Read what there is, write the documents, and exit: for scripts and timers.")
    ] = False,
    every: Annotated[
        float,
        typer.Option(
            "--every",
            min=1.0,
            max=86_400.0,
            metavar="S",
            help="Seconds between two looks at everything; what is new is seen at once anyway.",
        ),
    ] = 600.0,
    checkpoints: Annotated[
        list[Path] | None,
        typer.Option(
            "--checkpoints",
            metavar="DIR",
            help="Folder with more checkpoints (checkpoint-N, or weights of its own); repeatable.",
        ),
    ] = None,
    reference: Annotated[
        Path | None,
        typer.Option("--reference", metavar="REFERENCE", help="Model that every checkpoint is compared with."),
    ] = None,
    policy: PolicyName = "default",
) -> None:
    """Read the weights of every checkpoint once, as it appears: how far each layer moved, and whether it is sound.

    Checkpoints are those that the runs speak of, and those in --checkpoints. Each is compared with --reference, else
    with the base model that an adapter names, else with the model that its run began from if it lies on this machine,
    else with the run's first checkpoint. Nothing is downloaded and nothing is unpickled.

    What it does is in the runs' journals: stop it at any moment, start it again, and it goes on. The newest numbers
    are in each run's status/layer_drift.json and status/parameter_stability.json.

    Exit codes: 0 stopped, or all was read; 1 with --once if a checkpoint could not be read; 2 it could not begin.

    \b
    Examples:
      barograph watch
      barograph watch --base-dir /data/runs --reference /models/Qwen3-0.6B
      barograph watch --once --checkpoints output/
      barograph serve --watch           (the dashboard and this in one)
    """
    from barograph.policy import load
    from barograph.watch.inventory import in_folder
    from barograph.watch.sentinel import Sentinel
    from barograph.watch.watcher import Settings, Watcher
    from barograph.weights import stamp_of

    root, judge = root_of(base_dir), load(policy)
    for folder in checkpoints or []:
        if not folder.is_dir():
            raise UsageError(
                "--checkpoints is not a folder", where=str(folder), advice="Name one with checkpoint-N in it"
            )
        if not in_folder(folder):
            typer.echo(f"{folder} holds no checkpoint-N yet; it is looked at again", err=True)
    if reference is not None:
        with judging():
            stamp_of(reference)  # raises now what would else be said of each checkpoint
    if once and not root.exists() and not checkpoints:
        raise UsageError("there is no such folder of runs", where=str(root), advice="Name one with --base-dir")
    settings = Settings(
        policy=judge,
        reference=None if reference is None else reference.absolute(),
        folders=tuple(folder.absolute() for folder in checkpoints or []),
        every_s=every,
    )
    said = _Terminal(judge)
    with judging():
        watcher = Watcher(root, settings, said)
    with watcher:
        _stop_on_signals(watcher.stop)
        if once:
            watcher.run_once()
        else:
            typer.echo(f"barograph watches {root} (Ctrl-C stops)")
            with Sentinel(root, policy=judge):
                watcher.run()
        said.close()
        unread = watcher.unread
        typer.echo(f"{watcher.done} checkpoints read, {unread} could not be")
        if once and unread:
            raise typer.Exit(FAILED)


def _stop_on_signals(stop: Callable[[], None]) -> None:
    """The first signal ends after the checkpoint that is being read; the second one ends at once."""

    def leave(number: int, frame: FrameType | None) -> None:
        signal.signal(number, signal.SIG_DFL)
        stop()

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, leave)


class _Terminal:
    """Tells the terminal: a bar while something long is read, a line for what was."""

    def __init__(self, policy: "Policy") -> None:
        from barograph.watch.said import Told

        self._told = Told(policy)
        self._bar: Bar | None = None
        self._left = 0

    def planned(self, jobs: "Sequence[PlannedJob]") -> None:
        """How much there is to do."""
        self._left = len(jobs)

    def started(self, job: "PlannedJob") -> Callable[[int], Callable[[int], None]]:
        """A bar, should it take more than a second."""
        more = f", {self._left - 1} more" if self._left > 1 else ""
        title = printable(f"{job.candidate.run} {job.candidate.name}{more}")

        def begin(total: int) -> Callable[[int], None]:
            self._bar = Bar(title, total=total)
            return self._bar.advance

        return begin

    def ended(self, job: "PlannedJob", done: "Pass | None", failure: str | None) -> None:
        """One line."""
        self.close()
        self._left -= 1
        said = printable(self._told.update(job, done, failure))
        typer.echo(said, err=failure is not None)
        sys.stdout.flush()

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
