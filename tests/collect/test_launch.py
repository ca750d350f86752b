"""What launchers put into the environment tells each process its place, and all ranks the same launch."""

import itertools
import os
import time

import psutil
import pytest

from barograph.collect import launch as launches
from barograph.collect.launch import Launch, count_opened, current_launch

VARIABLES = (
    *("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"),
    *("TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"),
    *("SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_NUM_TASKS", "SLURM_JOB_ID", "SLURM_STEP_ID"),
    *("SLURM_NNODES", "SLURM_STEP_NUM_NODES", "SLURM_RESTART_COUNT", "LOCAL_SIZE", "MPI_LOCALNRANKS"),
    *("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_SIZE", "PMI_RANK", "PMI_SIZE"),
)
TORCHRUN = {"WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "4", "MASTER_ADDR": "h", "MASTER_PORT": "1"}


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(launches, "_opened", 0)


def launched(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Launch:
    with monkeypatch.context() as environment:
        for name, value in variables.items():
            environment.setenv(name, value)
        return current_launch()


def test_a_process_that_no_launcher_started_is_alone() -> None:
    launch = current_launch()
    assert (launch.rank, launch.world_size, launch.one_host) == (0, 1, True)
    assert launch.begun == pytest.approx(psutil.Process().create_time(), abs=1.0)
    assert launch == current_launch()


def test_all_ranks_of_a_launch_agree_on_its_id(monkeypatch: pytest.MonkeyPatch) -> None:
    ranks = [launched(monkeypatch, RANK=str(rank), **TORCHRUN) for rank in range(4)]
    assert [launch.rank for launch in ranks] == [0, 1, 2, 3]
    assert {(launch.world_size, launch.one_host) for launch in ranks} == {(4, True)}
    assert len({launch.id for launch in ranks}) == 1
    assert len({launch.run_key for launch in ranks}) == 1
    assert ranks[0].begun == pytest.approx(psutil.Process(os.getppid()).create_time(), abs=1.0)


def test_launches_that_differ_in_one_word_differ_in_their_id(monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("MASTER_ADDR", "MASTER_PORT", "TORCHELASTIC_RUN_ID", "SLURM_JOB_ID", "SLURM_STEP_ID")
    launches = [launched(monkeypatch, RANK="0", **TORCHRUN)]
    launches += [launched(monkeypatch, **{"RANK": "0", **TORCHRUN, word: "other"}) for word in words]
    for one, other in itertools.combinations(launches, 2):
        assert one.id != other.id
        assert one.run_key != other.run_key


def test_an_elastic_restart_is_another_launch_of_the_same_run(monkeypatch: pytest.MonkeyPatch) -> None:
    first = launched(monkeypatch, RANK="1", **TORCHRUN)
    assert launched(monkeypatch, RANK="1", TORCHELASTIC_RESTART_COUNT="0", **TORCHRUN) == first
    again = launched(monkeypatch, RANK="1", TORCHELASTIC_RESTART_COUNT="1", **TORCHRUN)
    assert again.id != first.id
    assert again.run_key == first.run_key


def test_launches_of_one_host_that_share_every_word_have_different_parents(monkeypatch: pytest.MonkeyPatch) -> None:
    one = launched(monkeypatch, RANK="0", **TORCHRUN)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    other = launched(monkeypatch, RANK="0", **TORCHRUN)
    assert one.id != other.id
    assert one.run_key != other.run_key


def test_ranks_of_several_hosts_do_not_depend_on_their_parents(monkeypatch: pytest.MonkeyPatch) -> None:
    words = {**TORCHRUN, "LOCAL_WORLD_SIZE": "2"}
    here = launched(monkeypatch, RANK="0", **words)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    there = launched(monkeypatch, RANK="2", **words)
    assert not here.one_host
    assert (here.id, here.run_key) == (there.id, there.run_key)


def test_slurm_says_it_in_its_own_words_and_torchrun_inside_of_it_wins(monkeypatch: pytest.MonkeyPatch) -> None:
    slurm = {"SLURM_PROCID": "3", "SLURM_NTASKS": "8", "SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_NNODES": "2"}
    launch = launched(monkeypatch, **slurm)
    assert (launch.rank, launch.world_size, launch.one_host) == (3, 8, False)
    assert launched(monkeypatch, **{**slurm, "SLURM_NNODES": "1"}).one_host
    launch = launched(monkeypatch, **slurm, RANK="1", **TORCHRUN)
    assert (launch.rank, launch.world_size) == (1, 4)


def test_the_batch_shell_of_a_slurm_job_is_one_process(monkeypatch: pytest.MonkeyPatch) -> None:
    launch = launched(monkeypatch, SLURM_PROCID="0", SLURM_NTASKS="8", SLURM_JOB_ID="77", SLURM_NNODES="2")
    assert (launch.rank, launch.world_size) == (0, 1)


def test_a_slurm_step_is_the_same_launch_on_all_hosts_and_another_one_when_requeued(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    step = {"SLURM_NTASKS": "8", "SLURM_JOB_ID": "77", "SLURM_STEP_ID": "0", "SLURM_NNODES": "2"}
    here = launched(monkeypatch, SLURM_PROCID="0", **step)
    again = launched(monkeypatch, SLURM_PROCID="0", SLURM_RESTART_COUNT="1", **step)
    monkeypatch.setattr(os, "getppid", lambda: 1)
    there = launched(monkeypatch, SLURM_PROCID="7", **step)
    assert here.identified
    assert (here.id, here.run_key, here.begun) == (there.id, there.run_key, there.begun)
    assert again.run_key == here.run_key
    assert again.id != here.id


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"RANK": "2", "WORLD_SIZE": "4", "LOCAL_SIZE": "4", "MASTER_ADDR": "h"}, (2, 4, True)),
        ({"RANK": "2", "WORLD_SIZE": "4", "LOCAL_SIZE": "2", "MASTER_ADDR": "h"}, (2, 4, False)),
        ({"RANK": "2", "WORLD_SIZE": "4", "MASTER_ADDR": "localhost"}, (2, 4, True)),
        ({"RANK": "2", "WORLD_SIZE": "4", "MASTER_ADDR": "10.0.0.1"}, (2, 4, False)),
        ({"RANK": "2", "WORLD_SIZE": "4", "LOCAL_WORLD_SIZE": "2", "MASTER_ADDR": "localhost"}, (2, 4, False)),
        (
            {"OMPI_COMM_WORLD_RANK": "1", "OMPI_COMM_WORLD_SIZE": "3", "OMPI_COMM_WORLD_LOCAL_SIZE": "3"},
            (1, 3, True),
        ),
        ({"PMI_RANK": "1", "PMI_SIZE": "3"}, (1, 3, False)),
    ],
)
def test_other_launchers_say_it_in_their_words(
    variables: dict[str, str], place: tuple[int, int, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = launched(monkeypatch, **variables)
    assert (launch.rank, launch.world_size, launch.identified) == place


def test_each_run_that_a_process_opens_is_another_launch_on_which_all_ranks_agree(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = [launched(monkeypatch, RANK=str(rank), **TORCHRUN) for rank in range(4)]
    alone = current_launch()
    count_opened()
    second = [launched(monkeypatch, RANK=str(rank), **TORCHRUN) for rank in range(4)]
    assert len({launch.id for launch in second}) == len({launch.run_key for launch in second}) == 1
    assert second[0].id != first[0].id
    assert second[0].run_key != first[0].run_key
    assert current_launch().id != alone.id


@pytest.mark.parametrize(
    ("variables", "place"),
    [
        ({"RANK": "0", "WORLD_SIZE": "1"}, (0, 1)),
        ({"RANK": "-1", "WORLD_SIZE": "1"}, (0, 1)),
        ({"RANK": "-1", "WORLD_SIZE": "2"}, (0, 2)),
        ({"RANK": "", "WORLD_SIZE": ""}, (0, 1)),
        ({"RANK": "x", "WORLD_SIZE": "many"}, (0, 1)),
        ({"RANK": "5"}, (5, 6)),
        ({"RANK": "0", "WORLD_SIZE": "0"}, (0, 1)),
        ({"RANK": "0", "WORLD_SIZE": "-3"}, (0, 1)),
    ],
)
def test_what_makes_no_sense_is_read_as_well_as_it_can_be(
    variables: dict[str, str], place: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    launch = launched(monkeypatch, **variables)
    assert (launch.rank, launch.world_size) == place
    assert 0.0 <= launch.begun <= time.time()


def test_a_parent_that_cannot_be_looked_at_leaves_the_beginning_open(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(pid: int) -> psutil.Process:
        raise psutil.AccessDenied(pid)

    monkeypatch.setattr(psutil, "Process", refuse)
    assert launched(monkeypatch, RANK="0", **TORCHRUN).begun == 0.0
