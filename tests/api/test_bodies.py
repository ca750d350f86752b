"""Bodies: the tag tells changes and nothing else, compression is honest, memory is bounded."""

import gzip

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from barograph.api.bodies import REVALIDATE, Body, BodyCache, document_body, make_body, names_tag, takes_gzip
from barograph.views.documents import Runs


def runs(root: str, timestamp: str) -> Runs:
    return Runs(runs=[], root=root, notices=[], index="ready", timestamp=timestamp)


def body(content: bytes) -> Body:
    return make_body(content, media_type="application/json", cache_control=REVALIDATE)


@given(st.binary(max_size=5000))
def test_the_compressed_form_is_the_body_and_smaller(content: bytes) -> None:
    made = body(content)
    assert made.content == content
    if made.compressed is not None:
        assert gzip.decompress(made.compressed) == content
        assert len(made.compressed) < len(content)


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


def test_gzip_is_sent_only_where_it_is_taken() -> None:
    for header in ("gzip", "br, gzip;q=0.5", "GZIP", "deflate,gzip"):
        assert takes_gzip(header), header
    for header in ("", "br", "gzip;q=0", "gzip; q=0.0", "xgzip", "identity"):
        assert not takes_gzip(header), header


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
        assert sum(len(one.content) + len(one.compressed or b"") for one in held if one is not None) <= 10_000


def test_the_body_used_least_recently_goes_first() -> None:
    cache = BodyCache(most_bytes=2 * (512 + 100))
    for question in ("a", "b"):
        cache.update(question, body(b"x" * 100), state=0, now=0.0)
    assert cache.get("a", state=0, now=0.0, seconds=1.0) is not None
    cache.update("c", body(b"x" * 100), state=0, now=0.0)
    assert cache.get("b", state=0, now=0.0, seconds=1.0) is None
    assert cache.get("a", state=0, now=0.0, seconds=1.0) is not None
