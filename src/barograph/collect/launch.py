"""Which process of which launch this is, from what launchers put into the environment.

torchrun, Accelerate, DeepSpeed, MPI and SLURM all start one process per rank. All ranks of one launch must agree on the
run and the attempt without talking to each other, so both follow from a launch id that each can work out for itself. A
process that opens several runs one after another (a fine-tuning, then another; a sweep) is in as many launches: all
ranks open them in the same order, so the number of runs opened before belongs to the id.
"""

import os
from hashlib import blake2b

import msgspec
import psutil

_RANK = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
_WORLD_SIZE = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
_LOCAL_SIZE = ("LOCAL_WORLD_SIZE", "LOCAL_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "MPI_LOCALNRANKS")
_NODES = ("SLURM_STEP_NUM_NODES", "SLURM_NNODES")
_THIS_HOST = frozenset({"localhost", "127.0.0.1", "::1"})
_WORDS = ("TORCHELASTIC_RUN_ID", "MASTER_ADDR", "MASTER_PORT", "SLURM_JOB_ID", "SLURM_STEP_ID")
_opened = 0


class Launch(msgspec.Struct, frozen=True, kw_only=True):
    """The place of this process in its launch."""

    rank: int
    """Global rank; 0 logs the training curve."""
    world_size: int
    """Number of ranks."""
    one_host: bool
    """Whether all ranks run on this host."""
    identified: bool
    """Whether `run_key` is no other launch's, so that a run can be named after it."""
    id: str
    """The same on all ranks of one launch, another one after an elastic restart and for each run that is opened."""
    run_key: str
    """The same on all ranks, also after an elastic restart; another one for each run that is opened."""
    begun: float
    """Unix seconds before which nothing of this launch can have happened."""


def count_opened() -> None:
    """Say that this process has opened a run: the next one is another launch."""
    global _opened
    _opened += 1


def current_launch() -> Launch:
    """Read the environment. A process that no launcher started is rank 0 of 1."""
    in_step = bool(os.environ.get("SLURM_STEP_ID"))  # without one it is SLURM's batch shell, which is one process
    rank = max(_number(*_RANK, *(("SLURM_PROCID",) if in_step else ()), otherwise=0), 0)
    tasks = ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS") if in_step else ()
    world_size = max(_number(*_WORLD_SIZE, *tasks, otherwise=1), rank + 1)
    if world_size == 1:
        begun = _process_begun(os.getpid())
        key = _hash(f"{os.getpid()}-{begun} {_opened}")
        return Launch(rank=0, world_size=1, one_host=True, identified=True, id=key, run_key=key, begun=begun)
    one_parent, one_host = _hosts(world_size)
    job = bool(os.environ.get("SLURM_JOB_ID")) and in_step
    words = [os.environ.get(name, "") for name in _WORDS]
    # Two launches may share every word (port 29500 is everyone's default): the parent tells them apart on one host.
    parent_begun = _process_begun(os.getppid())
    key = " ".join([*words, f"{os.getppid()}-{parent_begun}" if one_parent else "", str(_opened)])
    again = [os.environ.get(name, "0") for name in ("TORCHELASTIC_RESTART_COUNT", "SLURM_RESTART_COUNT")]
    return Launch(
        rank=rank,
        world_size=world_size,
        one_host=one_host,
        identified=one_parent or job,
        id=_hash(" ".join([key, *again])),
        run_key=_hash(key),
        begun=0.0 if job else parent_begun,
    )


def _hosts(world_size: int) -> tuple[bool, bool]:
    """Whether one parent process started all ranks, and whether they all run on this host."""
    local = _number(*_LOCAL_SIZE, otherwise=0)
    if local:
        return local == world_size, local == world_size
    here = os.environ.get("MASTER_ADDR", "").lower() in _THIS_HOST
    in_step = bool(os.environ.get("SLURM_STEP_ID"))
    # srun may start each rank through a shell of its own, so its ranks need not share a parent.
    return here and not in_step, here or _number(*_NODES, otherwise=0) == 1


def _number(*names: str, otherwise: int) -> int:
    """The first of the variables that is set decides; what is no number counts as not set."""
    for name in names:
        try:
            return int(os.environ.get(name, ""))
        except ValueError:
            continue
    return otherwise


def _process_begun(pid: int) -> float:
    try:
        return float(psutil.Process(pid).create_time())
    except psutil.Error:
        return 0.0


def _hash(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()
