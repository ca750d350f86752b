"""The cache: every journal of a root, in one SQLite file that can be deleted at any time."""

from barograph.index.follower import Follower
from barograph.index.indexer import Indexer, ScanResult
from barograph.index.schema import IndexDamaged
from barograph.index.snapshot import Index, Snapshot

__all__ = ["Follower", "Index", "IndexDamaged", "Indexer", "ScanResult", "Snapshot"]
