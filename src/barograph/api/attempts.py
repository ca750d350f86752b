"""How many wrong tokens an address may show before it has to wait."""

from collections import OrderedDict

ALLOWED = 10
"""Wrong tokens within the window."""
WINDOW = 60.0
"""Seconds."""
_ADDRESSES = 4096
"""Addresses that are remembered; the oldest are forgotten first, so that memory stays bounded."""


class WrongTokens:
    """Counts wrong tokens per address in windows of one minute.

    A token holds 128 bits or more, so guessing is hopeless anyway; the limit keeps a guesser from filling the time of
    the server. The window begins with the first wrong token and is not prolonged by further ones.
    """

    def __init__(self) -> None:
        self._seen: OrderedDict[str, tuple[float, int]] = OrderedDict()

    def update(self, address: str, *, now: float) -> None:
        """Note one wrong token. `now` is a monotonic clock in seconds."""
        began, count = self._seen.get(address, (now, 0))
        if now - began >= WINDOW:
            began, count = now, 0
        self._seen[address] = (began, count + 1)
        self._seen.move_to_end(address)
        if len(self._seen) > _ADDRESSES:
            self._seen.popitem(last=False)

    def seconds_to_wait(self, address: str, *, now: float) -> float:
        """Seconds until `address` may try again; 0.0 if it may now."""
        began, count = self._seen.get(address, (now, 0))
        if count < ALLOWED:
            return 0.0
        return max(0.0, began + WINDOW - now)
