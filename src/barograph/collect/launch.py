"""Which process of which launch this is, from what launchers put into the environment.

torchrun, Accelerate, DeepSpeed and SLURM all start one process per rank. All ranks of one launch must agree on the run
and the attempt without talking to each other, so both follow from a launch id that each can work out for itself.
"""

import os
from hashlib import blake2b

import msgspec
import psutil


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """The place of this process in its launch."""

    rank: int
    """Global rank; 0 logs the training curve."""
    world_size: int
    """Number of ranks."""
    one_host: bool
    """Whether all ranks were started by the same parent process."""
    id: str
    """The same on all ranks of one launch, another one after an elastic restart."""
    run_key: str
    """The same on all ranks, also after an elastic restart."""
    begun: float
    """Unix seconds before which nothing of this launch can have happened."""


def current_launch() -> Launch:
    """Read the environment. A process that no launcher started is rank 0 of 1."""
    rank = max(_number("RANK", _number("SLURM_PROCID", 0)), 0)
    world_size = max(_number("WORLD_SIZE", _number("SLURM_NTASKS", 1)), rank + 1)
    if world_size == 1:
        key = f"{os.getpid()}-{_process_begun(os.getpid())}"
        begun = _process_begun(os.getpid())
        return Launch(rank=0, world_size=1, one_host=True, id=_hash(key), run_key=_hash(key), begun=begun)
    one_host = _number("LOCAL_WORLD_SIZE", 0) == world_size
    words = [os.environ.get(name, "") for name in ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT")]
    words += [os.environ.get(name, "") for name in ("SLURM_JOB_ID", "SLURM_STEP_ID")]
    # Two launches may share every word (port 29500 is everyone's default): the parent tells them apart on one host.
    parent_begun = _process_begun(os.getppid())
    key = " ".join([*words, f"{os.getppid()}-{parent_begun}" if one_host else ""])
    restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return Launch(
        rank=rank,
        world_size=world_size,
        one_host=one_host,
        id=_hash(f"{key} {restart}"),
        run_key=_hash(key),
        begun=parent_begun,
    )


def _number(name: str, otherwise: int) -> int:
    try:
        return int(os.environ.get(name, ""))
    except ValueError:
        return otherwise


def _process_begun(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def _hash(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()
