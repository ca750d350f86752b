"""How a run ended, as far as its process can know.

`finish()` looks at the exception that is being handled at that moment. Where nobody calls it, the interpreter's end
does, and by then an exception of `sys.exit` or of a thread is gone: so while a run is open, `sys.exit` and
`threading.excepthook` are wrapped in functions that take a note and go on as always.
"""

import atexit
import sys
import threading
from collections.abc import Callable
from typing import NoReturn

import msgspec

from barograph.collect.secrets import shown
from barograph.journal.writer import described

NOBODY_SAID = "the process ended without finish()"
_ORDERLY = (StopIteration, StopAsyncIteration, GeneratorExit)
"""What is raised where nothing went wrong."""


class Ending(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended."""

    exit_code: int | None
    """0 if it ended well, None if nobody said; anything else is a crash."""
    reason: str | None
    """What ended it, unless it simply ended well."""


def ending_of(error: BaseException | None) -> Ending:
    """How a block ended that `error` left; None if it was left in peace."""
    if error is None or isinstance(error, _ORDERLY):
        return Ending(exit_code=0, reason=None)
    code: object = 1
    if isinstance(error, SystemExit):
        code = error.code
        if code is None or (type(code) in {int, bool} and code == 0):  # nothing else of the user's is asked anything
            return Ending(exit_code=0, reason=None)
        if type(code) is not int or abs(code) >= 2**63:
            code = 1
    assert isinstance(code, int)
    return Ending(exit_code=code, reason=shown(described(error)))


class Witness:
    """Owns what one open run notices of its process: from construction to `close`."""

    def __init__(self, *, progress: Callable[[], object], at_end: Callable[[Ending], None]) -> None:
        """`progress()` is another value whenever the run has gone on: a `sys.exit` before that was survived.
        `at_end` is called where the process ends, and nobody called `close`."""
        self._progress = progress
        self._at_end = at_end
        self._exit: tuple[object, Ending] | None = None
        self._threads: list[str] = []
        # A run can be begun while an error is handled: a smaller batch after the memory was full. By its identity, as
        # holding on to it would hold on to all that its frames hold.
        self._survived = _identity(sys.exc_info()[1])
        _WITNESSES.add(self)
        _install()
        atexit.register(self._process_ends)
        self._forget_finalizer = _before_child_ends(self._process_ends)

    def close(self) -> None:
        """Notice nothing more."""
        atexit.unregister(self._process_ends)
        self._forget_finalizer()
        _WITNESSES.discard(self)
        if not _WITNESSES:
            _uninstall()

    def now(self) -> Ending:
        """How a run ends that is finished at this moment."""
        return ending_of(self._raised())

    def at_exit(self) -> Ending:
        """How a run ended whose process ends, and nobody called `finish`."""
        # In an interactive session the last error is one that the session has survived.
        last = None if hasattr(sys, "ps1") else getattr(sys, "last_value", None)
        ending = ending_of(self._raised() or last)
        if not ending.exit_code and self._exit is not None and self._exit[0] == self._progress():
            ending = self._exit[1]
        if ending.exit_code:
            return ending
        return Ending(exit_code=None, reason="; ".join([NOBODY_SAID, *self._threads]))

    def exits(self, status: object) -> None:
        """The main thread calls `sys.exit(status)`."""
        self._exit = (self._progress(), ending_of(SystemExit(status)))

    def thread_failed(self, name: str, error: BaseException | None) -> None:
        """An exception ended a thread; the first three are kept."""
        if error is not None and len(self._threads) < 3:
            self._threads.append(f"the thread {name} ended with {shown(described(error))}")

    def _process_ends(self) -> None:
        self._at_end(self.at_exit())

    def _raised(self) -> BaseException | None:
        error = sys.exc_info()[1]
        return None if error is None or _identity(error) == self._survived else error


def _before_child_ends(act: Callable[[], None]) -> Callable[[], None]:
    """In a child of multiprocessing, which may end without `atexit`: have `act` called before. Returns the undoing."""
    process = sys.modules.get("multiprocessing.process")  # never imported for this: a child has it
    if process is None or process.parent_process() is None:
        return _nothing
    from multiprocessing.util import Finalize

    return Finalize(None, act, exitpriority=10).cancel


_WITNESSES: set[Witness] = set()
_exit_before = sys.exit
_thread_hook_before = threading.excepthook


def _exit(status: object = None, /) -> NoReturn:
    """What `sys.exit` is while a run is open."""
    if threading.current_thread() is threading.main_thread():  # elsewhere it ends only its thread
        for witness in tuple(_WITNESSES):
            witness.exits(status)
    _exit_before(status)  # type: ignore[arg-type]  # what sys.exit accepts is its own affair


def _thread_hook(failed: threading.ExceptHookArgs, /) -> None:
    """What `threading.excepthook` is while a run is open."""
    for witness in tuple(_WITNESSES):
        witness.thread_failed(failed.thread.name if failed.thread else "of no name", failed.exc_value)
    _thread_hook_before(failed)


_installed = [False, False]


def _install() -> None:
    """Wrap both, once: where someone has wrapped ours meanwhile, it is still there, and stays."""
    global _exit_before, _thread_hook_before
    if not _installed[0]:
        _exit_before, sys.exit, _installed[0] = sys.exit, _exit, True
    if not _installed[1]:
        _thread_hook_before, threading.excepthook, _installed[1] = threading.excepthook, _thread_hook, True


def _uninstall() -> None:
    """Take both back where nobody has wrapped them meanwhile; else they go on as mere passages."""
    if sys.exit is _exit:
        sys.exit, _installed[0] = _exit_before, False
    if threading.excepthook is _thread_hook:
        threading.excepthook, _installed[1] = _thread_hook_before, False


def _nothing() -> None:
    """There is nothing to undo."""


def _identity(error: BaseException | None) -> tuple[int, type] | None:
    return None if error is None else (id(error), type(error))
