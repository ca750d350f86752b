"""When an index counts as one of this version."""

import msgspec
import pytest

from barograph.index.schema import FOLD, VERSION, IndexDamaged, check_row, row_sum, vocabulary_version
from barograph.records import KINDS, Heartbeat


def test_the_version_is_the_same_in_every_process() -> None:
    assert vocabulary_version(FOLD, KINDS) == VERSION
    assert 0 < VERSION < 2**31


def test_other_records_or_another_fold_make_another_version() -> None:
    assert vocabulary_version(FOLD + 1, KINDS) != VERSION
    assert vocabulary_version(FOLD, KINDS[:-1]) != VERSION
    wider = msgspec.defstruct("Heartbeat", [("mood", str, "")], bases=(Heartbeat,), frozen=True, kw_only=True)
    assert vocabulary_version(FOLD, [wider]) != vocabulary_version(FOLD, [Heartbeat])


def test_a_row_sum_sees_every_cell_and_its_place() -> None:
    sums = {row_sum(1, "a", b"x"), row_sum(2, "a", b"x"), row_sum(1, "b", b"x"), row_sum(1, "a", b"y"), row_sum("a", 1)}
    assert len(sums) == 5
    check_row(1, "a", b"x", said=row_sum(1, "a", b"x"))
    with pytest.raises(IndexDamaged, match="checksum"):
        check_row(1, "a", b"x", said=row_sum(1, "a", b"z"))
