"""The losses of a file in one go: what a line-by-line reader would say of it, on clean logs and on hostile ones."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from barograph.errors import UnsafePath
from barograph.journal.losses import FileLosses, read_losses
from barograph.records import Banner, Heartbeat, Record, Step, codec


def read(tmp_path: Path, content: bytes) -> FileLosses:
    (tmp_path / "a.jsonl").write_bytes(content)
    return read_losses(tmp_path, tmp_path / "a.jsonl")


def lines(*rows: object) -> bytes:
    return b"".join(json.dumps(row).encode() + b"\n" for row in rows)


def step(number: object, loss: object, **more: object) -> dict[str, object]:
    return {"type": "step", "step": number, "loss": loss, **more}


def points(found: FileLosses) -> list[tuple[int, float]]:
    return list(zip(found.steps.tolist(), found.losses.tolist(), strict=True))


def test_a_clean_log_of_others(tmp_path: Path) -> None:
    found = read(tmp_path, lines({"type": "banner"}, step(1, 2.5, lr=1e-4), step(2, 2), {"type": "run_complete"}))
    assert points(found) == [(1, 2.5), (2, 2.0)]
    assert (found.lines, found.step_lines, found.bad, found.torn, found.unchecked) == (4, 2, 0, 0, 4)
    assert found.metrics == ("lr",)


def test_a_journal_of_ours_with_checksums(tmp_path: Path) -> None:
    records: list[Record] = [
        Banner(run="r", attempt=1, writer="train", time=1.0),
        *(Step(step=n, loss=1.0 / (n + 1), time=1.0, metrics={"lr": 0.1, "reward": 1.0}) for n in range(500)),
        Step(step=500, loss=math.nan, time=1.0),
        Step(step=501, time=1.0, metrics={"eval/loss": 2.0}),
        Heartbeat(time=2.0, step=501),
    ]
    found = read(tmp_path, b"".join(map(codec.encode_line, records)))
    assert found.steps.tolist() == list(range(501))
    assert math.isnan(found.losses[-1])
    assert (found.step_lines, found.unchecked, found.bad) == (502, 0, 0)
    assert {"lr", "reward"} <= set(found.metrics)


def test_a_wrong_checksum_is_a_located_line_and_the_rest_is_read(tmp_path: Path) -> None:
    good = [codec.encode_line(Step(step=n, loss=2.0, time=1.0)) for n in range(3)]
    broken = good[1].replace(b'"loss":2.0', b'"loss":3.0')
    found = read(tmp_path, good[0] + broken + good[2])
    assert points(found) == [(0, 2.0), (2, 2.0)]
    assert [(one.offset, one.reason) for one in found.examples] == [(len(good[0]), "checksum")]


BAD = {
    "a torn first line": b'"step": 1, "loss": 2}\n',
    "text as a step": lines(step("7", 1.0)),
    "true as a step": lines(step(True, 1.0)),
    "a fraction as a step": lines(step(7.9, 1.0)),
    "a number that no float holds": b'{"type": "step", "step": 1, "loss": 1e999}\n',
    "a negative step": lines(step(-1, 1.0)),
    "a step of 2^70": lines(step(2**70, 1.0)),
    "a step of 2^63": lines(step(2**63, 1.0)),
    "no step": lines({"type": "step", "loss": 1.0}),
    "a text as a loss": lines(step(1, "1.0")),
    "true as a loss": lines(step(1, True)),
    "a list as a loss": lines(step(1, [1.0])),
    "an integer of 5,000 digits as a loss": b'{"type": "step", "step": 1, "loss": ' + b"9" * 5000 + b"}\n",
    "an integer of 400 digits as a loss": b'{"type": "step", "step": 1, "loss": ' + b"9" * 400 + b"}\n",
    "an integer of 5,000 digits as a step": b'{"type": "step", "step": ' + b"9" * 5000 + b', "loss": 1}\n',
    "200,000 levels": b'{"type": "step", "step": 1, "loss": 1, "x": ' + b"[" * 200_000 + b"]" * 200_000 + b"}\n",
    "a key twice": b'{"type": "step", "step": 1, "step": 2, "loss": 1.0}\n',
    "a loss twice": b'{"type": "step", "step": 1, "loss": 2, "loss": 1.0}\n',
    "invalid UTF-8": b'{"type": "step", "step": 1, "loss": 1.0, "x": "\xff"}\n',
    "a NUL tail": b"\x00" * 300 + b"\n",
    "no object": b"[1, 2]\n",
    "a number": b"7\n",
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_line_is_counted_and_located_and_its_neighbours_are_read(name: str, tmp_path: Path) -> None:
    before, after = lines(step(1, 5.0)), lines(step(2, 4.0))
    found = read(tmp_path, before + BAD[name] + after)
    assert points(found) == [(1, 5.0), (2, 4.0)]
    assert (found.bad, found.lines) == (1, 3)
    (example,) = found.examples
    assert (example.offset, example.length) == (len(before), len(BAD[name]) - 1)
    assert example.detail
    assert points(read(tmp_path, BAD[name] + after)) == [(2, 4.0)]  # also as the first line


@pytest.mark.parametrize("literal", ["NaN", "Infinity", "-Infinity", '"NaN"', '"Infinity"', '"-Infinity"'])
def test_a_loss_that_is_no_number_is_a_point(literal: str, tmp_path: Path) -> None:
    found = read(tmp_path, lines(step(1, 5.0)) + b'{"type": "step", "step": 2, "loss": %b}\n' % literal.encode())
    assert found.bad == 0
    assert found.steps.tolist() == [1, 2]
    assert not math.isfinite(found.losses[1])


def test_a_whole_number_with_a_point_is_a_step(tmp_path: Path) -> None:
    assert points(read(tmp_path, lines(step(7.0, 1.0), step(8, 2.0)))) == [(7, 1.0), (8, 2.0)]


def test_a_byte_order_mark_carriage_returns_and_empty_lines_are_no_harm(tmp_path: Path) -> None:
    text = b"\xef\xbb\xbf" + lines(step(1, 5.0), step(2, 4.0)).replace(b"\n", b"\r\n\r\n")
    found = read(tmp_path, text)
    assert points(found) == [(1, 5.0), (2, 4.0)]
    assert (found.bad, found.lines) == (0, 2)


def test_a_last_line_without_a_newline_counts_if_it_is_whole_and_is_torn_if_not(tmp_path: Path) -> None:
    text = lines(step(1, 5.0), step(2, 4.0))
    assert points(read(tmp_path, text[:-1])) == [(1, 5.0), (2, 4.0)]
    torn = read(tmp_path, text[:-5])
    assert points(torn) == [(1, 5.0)]
    assert (torn.torn, torn.bad) == (len(text[:-5]) - text.index(b"\n") - 1, 0)


def test_a_banner_in_the_middle_begins_another_start(tmp_path: Path) -> None:
    banner = {"type": "banner"}
    found = read(tmp_path, lines(banner, step(1, 5.0), step(2, 4.0), banner, step(1, 3.0)))
    assert found.begins == (2,)
    assert len(found.steps) == 3


def test_a_line_of_a_gigabyte_is_refused_without_being_held(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    first = lines(step(1, 5.0))
    with path.open("wb") as file:
        file.write(first)
        file.seek(1_000_000_000)
        file.write(b"\n" + lines(step(2, 4.0)))
    found = read_losses(tmp_path, path)
    assert points(found) == [(1, 5.0), (2, 4.0)]
    assert [(one.offset, one.reason) for one in found.examples] == [(len(first), "too_long")]


def test_what_is_no_regular_file_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(UnsafePath):
        read_losses(tmp_path, tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").mkdir()
    with pytest.raises(UnsafePath):
        read_losses(tmp_path, tmp_path / "b.jsonl")
    with pytest.raises(FileNotFoundError):
        read_losses(tmp_path, tmp_path / "c.jsonl")


def test_an_empty_file_holds_nothing(tmp_path: Path) -> None:
    found = read(tmp_path, b"")
    assert (found.lines, found.bad, found.torn, len(found.steps)) == (0, 0, 0, 0)


ROW = st.one_of(
    st.builds(step, st.integers(0, 2**63 - 1), st.one_of(st.floats(allow_nan=True), st.integers(-9, 9), st.none())),
    st.builds(step, st.sampled_from(["7", True, 1.5, -1, None]), st.floats(0, 1)),
    st.just({"type": "heartbeat"}),
    st.just({"type": "banner"}),
    st.just({"no": "type"}),
)


@settings(max_examples=150, deadline=None)
@given(rows=st.lists(ROW, max_size=30), break_at=st.integers(0, 60))
def test_any_log_gives_what_a_plain_reader_gives(
    rows: list[dict[str, object]], break_at: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    text = lines(*rows)
    if break_at < len(rows):
        parts = text.split(b"\n")
        parts[break_at] = parts[break_at][: len(parts[break_at]) // 2]
        text = b"\n".join(parts)
    found = read(tmp_path_factory.mktemp("log"), text)
    expected, bad = [], 0
    for line in text.split(b"\n"):
        try:
            row = json.loads(line) if line.strip() else {"type": ""}
        except ValueError:
            bad += 1
            continue
        if not isinstance(row, dict):
            bad += 1
        elif row.get("type") == "step":
            number, loss = row.get("step"), row.get("loss")
            if type(number) is float and number.is_integer():
                number = int(number)
            if type(number) is not int or not 0 <= number < 2**63:
                bad += 1
            elif loss is not None:
                expected.append((number, float(loss)))
    assert found.bad == bad
    assert found.steps.tolist() == [number for number, _ in expected]
    assert np.array_equal(found.losses, np.array([loss for _, loss in expected], float), equal_nan=True)
