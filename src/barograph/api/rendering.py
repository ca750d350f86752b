"""Where documents are made: a thread with a bounded line of questions in front of it."""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor

from barograph.api.bodies import Body
from barograph.errors import BarographError


class Overloaded(BarographError):
    """There is more to do than this server takes on at a time; asking again a little later is fine."""


class Renderer:
    """Owns one thread that makes bodies, one after the other, in the order in which they were asked for.

    A question that is asked by several while it waits is answered once, for all of them. Used from one event loop.
    """

    def __init__(self, *, name: str, most_waiting: int) -> None:
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix=f"barograph-{name}")
        self._most_waiting = most_waiting
        self._under_way: dict[Hashable, asyncio.Future[Body]] = {}

    async def render(self, question: Hashable, make: Callable[[], Body]) -> Body:
        """What `make` returns or raises, from the thread. Raises `Overloaded` if too many others wait."""
        made = self._under_way.get(question)
        if made is None:
            if len(self._under_way) >= self._most_waiting:
                raise Overloaded("Too many different documents are asked for at a time", advice="Ask again in a second")
            made = asyncio.get_running_loop().run_in_executor(self._thread, make)
            self._under_way[question] = made
            made.add_done_callback(lambda done: self._forget(question, done))
        # One that goes away must not take the document from the others.
        return await asyncio.shield(made)

    def close(self) -> None:
        """Let go of the thread once it is done with what it is at; drop what waits."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _forget(self, question: Hashable, done: asyncio.Future[Body]) -> None:
        self._under_way.pop(question, None)
        if not done.cancelled():
            done.exception()  # else asyncio reports one that nobody waited for
