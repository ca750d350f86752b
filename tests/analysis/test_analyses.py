"""The explicit tuple of analyses is whole."""

from pathlib import Path

from barograph import analysis


def test_every_file_of_the_room_has_its_analysis_in_the_tuple() -> None:
    assert analysis.__file__ is not None
    files = {path.stem for path in Path(analysis.__file__).parent.glob("*.py")} - {"__init__"}
    assert {one.__module__.rpartition(".")[2] for one in analysis.ANALYSES} == files


def test_every_analysis_in_the_tuple_is_public() -> None:
    assert {one.__name__ for one in analysis.ANALYSES} <= set(analysis.__all__)
