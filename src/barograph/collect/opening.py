"""The first thing that the writer's thread does: take the run's attempt, and complete the banner with what takes time
to learn."""

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from barograph.collect import environment, work_tree
from barograph.collect.launch import Launch
from barograph.journal import NotYet, layout
from barograph.records import Banner

RANK_0_WAIT_S = 60.0


class Opening:
    """Makes the banner of one run's journal; called again whenever the file could not be created."""

    def __init__(self, run: Path, banner: Banner, launch: Launch, *, learn_commit: Callable[[str], None]) -> None:
        """`learn_commit` is called from another thread where git answers after the banner."""
        self.attempt: int | None = None
        """Number of this attempt; None until one could be claimed."""
        self._run = run
        self._banner = banner
        self._launch = launch
        self._learn_commit = learn_commit
        self._known: Banner | None = None

    def __call__(self) -> Banner:
        """Take the attempt (rank 0), or learn it from rank 0. Raises `NotYet`, `OSError` or `WriteError`."""
        learnt = self._attempt_of_rank_0() if self._launch.rank else None
        if self._known is None:  # what fails is tried again, and git need not be asked each time
            commit = work_tree.commit_soon(self._learn_commit)
            self._known = msgspec.structs.replace(self._banner, git_commit=commit, versions=environment.versions())
        # Last, because each try would claim another one.
        attempt = learnt or layout.claim_attempt(self._run, launch_id=self._launch.id, now=time.time())
        self.attempt = attempt
        return msgspec.structs.replace(self._known, attempt=attempt)

    def _attempt_of_rank_0(self) -> int:
        launch = self._launch
        learnt = layout.attempt_of_launch(self._run, launch_id=launch.id, not_before=launch.begun - 5.0)
        if learnt is not None:
            return learnt
        if time.time() - self._banner.time < RANK_0_WAIT_S:
            raise NotYet
        raise OSError(f"rank 0 has begun no attempt of {self._banner.run} yet")
