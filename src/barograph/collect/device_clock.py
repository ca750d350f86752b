"""What work takes on a CUDA device, measured without waiting for it."""

import torch


class DeviceClock:
    """What a collection takes on its device, by events that are asked at the next collection, never waited for."""

    def __init__(self, device: torch.device | None) -> None:
        """`device`: None for one without events; nothing is measured there."""
        self._device = device
        self._pairs: list[tuple[torch.cuda.Event, torch.cuda.Event]] = []
        self._used = 0
        self.newest_s = 0.0
        """Seconds that the newest collection took, as far as that is known yet."""

    def begin(self, *, anew: bool = False) -> None:
        """A part of a collection begins; `anew`: its first."""
        if self._device is None:
            return
        if anew:
            self._ask()
        if self._used == len(self._pairs):
            self._pairs.append((_event(), _event()))
        self._pairs[self._used][0].record(torch.cuda.current_stream(self._device))

    def end(self) -> None:
        """The part has been sent to the device."""
        if self._device is not None:
            self._pairs[self._used][1].record(torch.cuda.current_stream(self._device))
            self._used += 1

    def _ask(self) -> None:
        used = self._pairs[: self._used]
        if used and used[-1][1].query():  # type: ignore[no-untyped-call]  # torch's
            self.newest_s = sum(start.elapsed_time(end) for start, end in used) / 1e3
        self._used = 0


def _event() -> torch.cuda.Event:
    return torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]  # torch's
