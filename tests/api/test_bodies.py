"""Bodies: the tag tells changes and nothing else, compression is honest, memory is bounded."""

import gzip
from collections.abc import Callable

import msgspec
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from barograph.api.bodies import (
    REVALIDATE,
    Body,
    BodyCache,
    Coding,
    document_body,
    make_body,
    names_tag,
    wanted_coding,
)
from barograph.views.documents import Runs


def runs(root: str, timestamp: str) -> Runs:
    return Runs(runs=[], root=root, notices=[], index="ready", progress=None, timestamp=timestamp)


def body(content: bytes) -> Body:
    return make_body(content, media_type="application/json", cache_control=REVALIDATE)


DECODERS: dict[Coding, Callable[[bytes], bytes]] = {"gzip": gzip.decompress, "zstd": zstandard.decompress}


@given(st.binary(max_size=5000), st.lists(st.sampled_from(sorted(DECODERS)), max_size=4))
def test_a_compressed_form_is_the_body_and_what_is_kept_is_no_longer(content: bytes, asked: list[Coding]) -> None:
    made = body(content)
    for coding in asked:
        assert DECODERS[coding](made.form(coding)) == content
        assert sum(map(len, made.forms.values())) <= len(content)
    assert made.content == content


def test_a_form_is_made_when_it_is_asked_for_and_once() -> None:
    made = body(b"1234567890," * 500)
    assert made.forms == {}
    assert made.form("zstd") is made.form("zstd")
    assert set(made.forms) == {"zstd"}


def test_a_long_body_is_compressed_where_it_is_made() -> None:
    assert set(body(b"1234567890," * 50_000).forms) == {"gzip", "zstd"}


def test_pictures_and_fonts_are_not_compressed_again() -> None:
    for media_type, compressible in (("image/png", False), ("font/woff2", False), ("image/svg+xml", True)):
        made = make_body(bytes(5000), media_type=media_type, cache_control=REVALIDATE)
        assert made.compressible == compressible, media_type
    assert not body(bytes(1023)).compressible


@given(st.text(max_size=20), st.text(max_size=20), st.text(max_size=20), st.text(max_size=20))
def test_the_tag_changes_with_what_is_said_and_not_with_when(a: str, b: str, then: str, now: str) -> None:
    same = document_body(runs(a, then)).tag == document_body(runs(b, now)).tag
    assert same == (a.encode("utf-8", "replace") == b.encode("utf-8", "replace"))


def test_the_body_still_says_when_it_was_made() -> None:
    assert msgspec.json.decode(document_body(runs("a", "now")).content, type=Runs).timestamp == "now"


def test_if_none_match_is_compared_weakly() -> None:
    tag = 'W/"abc"'
    for header in ('W/"abc"', '"abc"', '"x", W/"abc"', "*", ' "abc" '):
        assert names_tag(header, tag), header
    for header in ("", '"ab"', '"abc-gzip"', "abc", 'W/"ABC"'):
        assert not names_tag(header, tag), header


@pytest.mark.parametrize(
    ("header", "coding"),
    [
        ("gzip", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("zstd;q=0.5, gzip", "gzip"),
        ("zstd;q=0.5, gzip;q=0.5", "zstd"),
        ("br, gzip;q=0.5", "gzip"),
        ("GZIP ; Q=0.5", "gzip"),
        ("*", "zstd"),
        ("*, zstd;q=0", "gzip"),
        ("*;q=0", None),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.1, gzip;q=0.5", "gzip"),
        ("identity;q=0", None),
        ("gzip;q=0, zstd;q=0.000", None),
        ("gzip;q=nan, zstd;q=-1", None),
        ("gzip;q=1e9", None),
        ("", None),
        ("br", None),
        ("xgzip, zstdx", None),
    ],
)
def test_the_coding_with_the_greatest_weight_is_sent(header: str, coding: Coding | None) -> None:
    assert wanted_coding(header) == coding


@given(st.text(max_size=60))
def test_no_accept_encoding_is_an_error(header: str) -> None:
    assert wanted_coding(header) in ("zstd", "gzip", None)


def test_a_body_is_kept_for_one_state_and_for_its_time() -> None:
    cache = BodyCache(most_bytes=10_000)
    cache.update("q", body(b"1"), state=1, now=0.0)
    assert cache.get("q", state=1, now=0.5, seconds=1.0) == body(b"1")
    assert cache.get("q", state=2, now=0.5, seconds=1.0) is None
    assert cache.get("q", state=1, now=1.0, seconds=1.0) is None
    assert cache.get("other", state=1, now=0.0, seconds=1.0) is None


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 4000)), max_size=80))
def test_the_cache_never_outgrows_its_limit(asked: list[tuple[int, int]]) -> None:
    cache = BodyCache(most_bytes=10_000)
    for question, size in asked:
        cache.update(question, body(bytes(range(256)) * (size // 256)), state=0, now=0.0)
        held = [cache.get(number, state=0, now=0.0, seconds=1.0) for number in range(31)]
        for one in held:
            if one is not None:
                one.form("gzip"), one.form("zstd")
        kept = [len(form) for one in held if one is not None for form in (one.content, *one.forms.values())]
        assert sum(kept) <= 10_000


def test_the_body_used_least_recently_goes_first() -> None:
    cache = BodyCache(most_bytes=2 * (512 + 2 * 100))
    for question in ("a", "b"):
        cache.update(question, body(b"x" * 100), state=0, now=0.0)
    assert cache.get("a", state=0, now=0.0, seconds=1.0) is not None
    cache.update("c", body(b"x" * 100), state=0, now=0.0)
    assert cache.get("b", state=0, now=0.0, seconds=1.0) is None
    assert cache.get("a", state=0, now=0.0, seconds=1.0) is not None
