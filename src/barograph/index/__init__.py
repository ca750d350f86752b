"""The cache: every journal of a root, in one SQLite file that can be deleted at any time."""

from barograph.index.change import Change, ScanResult
from barograph.index.follower import Follower
from barograph.index.indexer import Indexer
from barograph.index.schema import IndexDamaged
from barograph.index.snapshot import Index, Snapshot

__all__ = ["Change", "Follower", "Index", "IndexDamaged", "Indexer", "ScanResult", "Snapshot"]
