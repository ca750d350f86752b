"""What a training loop says is recorded as it was at that moment; nothing that it says can stop it."""

import contextlib
import json
import logging
import math
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from enum import Enum
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from barograph.collect.launch import Launch
from barograph.collect.run import Model, Run, init, open_run
from barograph.collect.settings import Settings
from barograph.errors import RunConflict, UsageError
from barograph.journal import TailReader, layout
from barograph.records import (
    Alert,
    Banner,
    Checkpoint,
    Collector,
    CollectorFailed,
    ConfigUpdate,
    Pause,
    Record,
    RejectedValue,
    RunComplete,
    Step,
)


def records_of(directory: Path) -> list[Record]:
    """Every record of every file of a run; all lines must be whole, checked, and of known kinds."""
    found: list[Record] = []
    for file in layout.journal_files(directory):
        with TailReader(directory, file.path) as reader:
            batch = reader.read(1 << 30)
        assert (batch.bad, batch.torn) == ([], 0)
        assert all(entry.checked for entry in batch.entries)
        found += [entry.record for entry in batch.entries]  # type: ignore[misc]  # all of known kinds
    return found


def of_kind[Kind](kind: type[Kind], run: Run) -> list[Kind]:
    """The records of one kind, after the run has been finished."""
    run.finish()
    return [record for record in records_of(run.directory) if isinstance(record, kind)]


def steps_of(run: Run) -> list[Step]:
    return of_kind(Step, run)


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """An open run, finished at the end."""
    with init("p", dir=tmp_path) as run:
        yield run
