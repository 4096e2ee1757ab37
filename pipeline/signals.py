"""Signals that end a command as Ctrl-C does, so that it cleans up and says what is kept."""

import signal
from collections.abc import Mapping
from types import FrameType
from typing import Any

_HANG_UP = getattr(signal, "SIGHUP", None)
"""Comes when a terminal or its connection is closed; Windows has none."""


def stop_as_ctrl_c() -> dict[int, Any]:
    """Lets SIGTERM raise KeyboardInterrupt, and SIGHUP do what SIGTERM does.

    An ignored SIGHUP stays so, as `nohup` wants. Returns the handlers that were there before.
    ValueError outside the main thread.
    """
    before: dict[int, Any] = {
        signal.SIGTERM: signal.signal(signal.SIGTERM, signal.default_int_handler)
    }
    if _HANG_UP is not None and signal.getsignal(_HANG_UP) is not signal.SIG_IGN:
        before[_HANG_UP] = signal.signal(_HANG_UP, _terminate)
    return before


def restore(handlers: Mapping[int, Any]) -> None:
    """Puts handlers back."""
    for number, handler in handlers.items():
        signal.signal(number, handler)


def _terminate(number: int, frame: FrameType | None) -> None:
    """Servers and engines handle SIGTERM in ways of their own."""
    signal.raise_signal(signal.SIGTERM)
