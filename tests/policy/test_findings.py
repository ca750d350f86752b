"""A finding has the policy's words for its cause and what to do."""

import pytest
from msgspec import structs

from barograph.policy import load
from barograph.policy.findings import finding

POLICY = load("default")


@pytest.mark.parametrize("name", POLICY.interpretation.__struct_fields__)
def test_the_words_are_those_of_the_policys_reading(name: str) -> None:
    found = finding(name, severity="warning", message="It is so.", policy=POLICY, layer=3)
    words = getattr(POLICY.interpretation, name)
    assert (found.cause, found.action) == (words.cause, words.action)
    assert (found.name, found.severity, found.message, found.layer) == (name, "warning", "It is so.", 3)


def test_a_finding_may_have_the_words_of_another_reading() -> None:
    plain = finding("exploding", severity="info", message="m", policy=POLICY)
    top = finding("exploding", severity="info", message="m", policy=POLICY, reading="exploding_top")
    assert (top.name, top.cause) == ("exploding", POLICY.interpretation.exploding_top.cause)
    assert structs.replace(top, cause=plain.cause, action=plain.action) == plain
    assert plain.layer is None
