"""The line in front of the thread that makes documents: in order, each question once, and never too long."""

import asyncio
import threading
from collections.abc import Callable

import pytest

from barograph.api.bodies import Body, make_body
from barograph.api.rendering import Overloaded, Renderer
from barograph.errors import UnknownRun


def body(text: str) -> Body:
    return make_body(text.encode(), media_type="text/plain", cache_control="no-store")


class Gate:
    """Makes bodies once it is open, and notes which."""

    def __init__(self) -> None:
        self.open = threading.Event()
        self.made: list[str] = []

    def maker(self, text: str) -> Callable[[], Body]:
        def make() -> Body:
            assert self.open.wait(10)
            self.made.append(text)
            return body(text)

        return make


def test_a_question_that_waits_is_answered_once_for_all_and_in_order() -> None:
    async def ask() -> list[Body]:
        renderer, gate = Renderer(name="test", most_waiting=8), Gate()
        asked = [asyncio.create_task(renderer.render(text, gate.maker(text))) for text in "abacaba"]
        await asyncio.sleep(0.01)
        gate.open.set()
        answers = await asyncio.gather(*asked)
        renderer.close()
        assert gate.made == ["a", "b", "c"]
        return answers

    assert [one.content for one in asyncio.run(ask())] == [letter.encode() for letter in "abacaba"]


def test_a_full_line_refuses_new_questions_and_takes_known_ones() -> None:
    async def ask() -> None:
        renderer, gate = Renderer(name="test", most_waiting=2), Gate()
        waiting = [asyncio.create_task(renderer.render(text, gate.maker(text))) for text in "ab"]
        await asyncio.sleep(0.01)
        with pytest.raises(Overloaded, match="Ask again"):
            await renderer.render("c", gate.maker("c"))
        waiting.append(asyncio.create_task(renderer.render("a", gate.maker("a"))))
        gate.open.set()
        await asyncio.gather(*waiting)
        assert (await renderer.render("c", gate.maker("c"))).content == b"c"
        renderer.close()

    asyncio.run(ask())


def test_one_that_goes_away_takes_nothing_from_the_others() -> None:
    async def ask() -> Body:
        renderer, gate = Renderer(name="test", most_waiting=2), Gate()
        first, second = (asyncio.create_task(renderer.render("a", gate.maker("a"))) for _ in range(2))
        await asyncio.sleep(0.01)
        first.cancel()
        gate.open.set()
        answer = await second
        renderer.close()
        return answer

    assert asyncio.run(ask()).content == b"a"


def test_a_failure_reaches_everyone_who_asked_and_ends_there() -> None:
    def fail() -> Body:
        raise UnknownRun("There is no run 'a'")

    async def ask() -> None:
        renderer = Renderer(name="test", most_waiting=2)
        found = await asyncio.gather(*(renderer.render("a", fail) for _ in range(3)), return_exceptions=True)
        assert [type(one) for one in found] == [UnknownRun] * 3
        assert (await renderer.render("a", lambda: body("now"))).content == b"now"
        renderer.close()

    asyncio.run(ask())
