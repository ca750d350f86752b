"""The vocabulary: one frozen Struct per kind of fact. `KINDS` lists every kind that a journal line can be."""

from barograph.records.alerts import Acknowledgement, Advice, Alert, Batch, Notification
from barograph.records.evaluation import Answer, ExactMatch, Verdict
from barograph.records.jobs import Job
from barograph.records.moments import OptimizerMoments
from barograph.records.signals import Hardware, Signals
from barograph.records.training import Checkpoint, Collector, CollectorFailed, Columns, Step
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
    | Acknowledgement
    | Notification
    | Advice
    | Batch
    | Signals
    | Hardware
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
    Acknowledgement,
    Notification,
    Advice,
    Batch,
    Signals,
    Hardware,
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
    "Acknowledgement",
    "Advice",
    "Alert",
    "Answer",
    "Banner",
    "Batch",
    "Checkpoint",
    "Collector",
    "CollectorFailed",
    "Columns",
    "ConfigUpdate",
    "ExactMatch",
    "Hardware",
    "Heartbeat",
    "Job",
    "LostRecords",
    "Notification",
    "OptimizerMoments",
    "Pause",
    "Record",
    "RejectedValue",
    "RunComplete",
    "Signals",
    "Step",
    "TensorPass",
    "Verdict",
    "WeightsPass",
]
