"""The processes that a command starts beside itself."""

import subprocess
import sys
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Self

STOP_S = 0.7
"""Seconds that they get to end by themselves before they are killed."""


class Children:
    """Owns processes of ours; none outlives the block.

    Each has a session of its own: Ctrl-C reaches only us.
    """

    def __init__(self, folder: Path | None = None) -> None:
        """`folder` takes what they print; without it that goes where ours goes."""
        self._folder = folder
        self._started: list[subprocess.Popen[bytes]] = []

    def start(self, what: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Run `python -m barograph.<what>`; what it prints goes to `<what>.log` in the folder."""
        with ExitStack() as stack:
            log = None
            if self._folder is not None:
                log = stack.enter_context((self._folder / f"{what}.log").open("wb"))
            child = subprocess.Popen(  # noqa: S603 - our own interpreter and module
                [sys.executable, "-m", f"barograph.{what}", *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=None if log is None else subprocess.STDOUT,
                start_new_session=True,
            )
        self._started.append(child)
        return child

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Ask all to end, wait for them together, end those that did not: their journals survive it."""
        for child in self._started:
            child.terminate()
        deadline = time.monotonic() + STOP_S
        for child in self._started:
            with suppress(subprocess.TimeoutExpired):
                child.wait(max(0.0, deadline - time.monotonic()))
            child.kill()
            child.wait()
