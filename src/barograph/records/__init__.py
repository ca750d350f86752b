"""The vocabulary: one frozen Struct per kind of fact. `KINDS` lists every kind that a journal line can be."""

from barograph.records.evaluation import Answer, ExactMatch, Verdict
from barograph.records.jobs import Job
from barograph.records.moments import OptimizerMoments
from barograph.records.training import Alert, Checkpoint, Collector, CollectorFailed, Columns, Step
from barograph.records.weights import TensorPass, WeightsPass
from barograph.records.writing import (
    FORMAT,
    Banner,
    ConfigUpdate,
    Heartbeat,
    LostRecords,
    Pause,
    RejectedValue,
    RunComplete,
)

Record = (
    Banner
    | Step
    | Columns
    | Heartbeat
    | Pause
    | Checkpoint
    | Alert
    | Collector
    | CollectorFailed
    | LostRecords
    | RejectedValue
    | ConfigUpdate
    | Answer
    | ExactMatch
    | Verdict
    | OptimizerMoments
    | TensorPass
    | WeightsPass
    | Job
    | RunComplete
)

KINDS: tuple[type[Record], ...] = (
    Banner,
    Step,
    Columns,
    Heartbeat,
    Pause,
    Checkpoint,
    Alert,
    Collector,
    CollectorFailed,
    LostRecords,
    RejectedValue,
    ConfigUpdate,
    Answer,
    ExactMatch,
    Verdict,
    OptimizerMoments,
    TensorPass,
    WeightsPass,
    Job,
    RunComplete,
)

__all__ = [
    "FORMAT",
    "KINDS",
    "Alert",
    "Answer",
    "Banner",
    "Checkpoint",
    "Collector",
    "CollectorFailed",
    "Columns",
    "ConfigUpdate",
    "ExactMatch",
    "Heartbeat",
    "Job",
    "LostRecords",
    "OptimizerMoments",
    "Pause",
    "Record",
    "RejectedValue",
    "RunComplete",
    "Step",
    "TensorPass",
    "Verdict",
    "WeightsPass",
]
