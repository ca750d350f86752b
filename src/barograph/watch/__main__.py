"""`python -m barograph.watch --base-dir D`: watch a root for as long as the process that started this one lives.

What `barograph demo` and `barograph serve --watch` run beside them: a process of its own, so that the dashboard
outlives whatever a checkpoint's files do to its reader.
"""

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from barograph.errors import BarographError
from barograph.journal import layout
from barograph.policy import Policy, load
from barograph.watch.plan import PlannedJob
from barograph.watch.said import Told
from barograph.watch.watcher import Settings, Watcher
from barograph.weights import Pass

LOOK_S = 0.5
"""Seconds between two looks at whether the process that started this one still lives."""


class Lines:
    """Says on standard output what was done."""

    def __init__(self, policy: Policy) -> None:
        self._told = Told(policy)

    def planned(self, jobs: Sequence[PlannedJob]) -> None:
        """Nothing to say: lines are about what was done."""

    def started(self, job: PlannedJob) -> Callable[[int], Callable[[int], None]]:
        """No bar: nobody looks."""
        return lambda total: lambda count: None

    def ended(self, job: PlannedJob, done: Pass | None, failure: str | None) -> None:
        """One line."""
        said = self._told.update(job, done, failure)
        sys.stdout.write("".join(letter if letter.isprintable() else repr(letter)[1:-1] for letter in said) + "\n")
        sys.stdout.flush()


def main() -> int:
    """Parse the command line and watch; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m barograph.watch", description=__doc__)
    parser.add_argument("--base-dir", type=Path, default=layout.default_root(), help="folder of all runs")
    parser.add_argument("--policy", default="default", help="default, contract, or a TOML file")
    arguments = parser.parse_args()
    parent = os.getppid()
    os.nice(10)  # training goes first
    policy = load(arguments.policy)
    try:
        watcher = Watcher(arguments.base_dir, Settings(policy=policy), Lines(policy))
    except BarographError as error:
        sys.stdout.write(f"barograph: {error}\n")
        return 2
    with watcher:
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, lambda *_: watcher.stop())
        threading.Thread(target=_until_orphaned, args=(parent, watcher), daemon=True).start()
        watcher.run()
    return 0


def _until_orphaned(parent: int, watcher: Watcher) -> None:
    while os.getppid() == parent:
        time.sleep(LOOK_S)
    watcher.stop()


if __name__ == "__main__":
    sys.exit(main())
