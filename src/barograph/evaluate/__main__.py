"""`python -m barograph.evaluate --base-dir D --run-id ID`: evaluate a run's checkpoints while it trains.

Asks a frozen probe set: held-out problems of every task, which training never sees. Ends when training is over
and every checkpoint was asked, or when the process that started it is gone.
"""

import argparse
import os
import signal
import sys
from pathlib import Path

from barograph.journal import layout
from barograph.records import ExactMatch


def main() -> int:
    """Parse the command line and follow the run; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m barograph.evaluate", description=__doc__)
    parser.add_argument("--base-dir", type=Path, default=layout.default_root(), help="folder of all runs")
    parser.add_argument("--run-id", required=True, help="name of the run's folder")
    parser.add_argument("--seed", type=int, default=0, help="seed of the probe set")
    parser.add_argument("--short", action="store_true", help="ask a seventh of the problems: for a model that is slow")
    parser.add_argument("--threads", type=int, default=1, help="processor threads to use")
    arguments = parser.parse_args()

    stopped: list[int] = []
    signal.signal(signal.SIGINT, lambda number, _: stopped.append(number))
    parent = os.getppid()
    # Read when transformers is imported: whatever a checkpoint's files name, nothing is looked up on a hub.
    os.environ.update({"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"})

    import torch
    from transformers.utils.logging import disable_progress_bar

    from barograph.evaluate.follow import follow
    from barograph.evaluate.probe_set import SHORT, STANDARD, frozen

    torch.set_num_threads(arguments.threads)
    disable_progress_bar()
    os.nice(5)  # training goes first
    root = arguments.base_dir.absolute()
    probes = frozen(
        root / arguments.run_id / "config" / "probe_set.json",
        seed=arguments.seed,
        quotas=SHORT if arguments.short else STANDARD,
    )
    follow(
        root,
        root / arguments.run_id,
        probes,
        until=lambda: bool(stopped) or os.getppid() != parent,
        done=_say,
    )
    return 0


def _say(results: list[ExactMatch]) -> None:
    for found in results:
        line = f"{found.checkpoint} {found.task} {found.level}: {found.correct} of {found.n} exactly right"
        sys.stdout.write(line + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
