"""A recording is heard once, and the only one there is while faces are looked for."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest

from lipsync_core.errors import LipSyncError
from lipsync_core.heard import Hearing
from lipsync_core.types import Hooks, Speech

SPEECH = Speech(np.zeros(1_600, np.float32))


class Listening:
    """A generator's ear that waits until it is let go, asking meanwhile whether it is still wanted."""

    def __init__(self, error: Exception | None = None) -> None:
        self.free, self.begun, self.threads, self.error = threading.Event(), threading.Event(), [], error

    def hear(self, speech: Speech, hooks: Hooks) -> Any:
        self.threads.append(threading.current_thread())
        self.begun.set()
        while not self.free.wait(0.01):
            hooks.check_interrupt()
        if self.error is not None:
            raise self.error
        return len(self.threads)


def test_one_recording_is_heard_once_and_ahead() -> None:
    ear = Listening()
    hearing = Hearing(ear, Hooks())
    with hearing.ahead(SPEECH):
        assert ear.begun.wait(10)                                      # while this thread does something else
        ear.free.set()
        assert hearing(SPEECH) == hearing(SPEECH) == 1
    other = Speech(np.ones(1_600, np.float32))
    assert hearing(other) == hearing(other) == 2
    assert ear.threads[0] is not ear.threads[1] is threading.current_thread()


def test_what_goes_wrong_is_said_where_the_result_is_wanted() -> None:
    for error in (LipSyncError("No ear."), TimeoutError("Too late.")):
        ear = Listening(error)
        ear.free.set()
        hearing = Hearing(ear, Hooks())
        with hearing.ahead(SPEECH):
            ear.begun.wait(10)
            with pytest.raises(type(error), match=str(error)):
                hearing(SPEECH)


def test_nobody_waits_for_what_is_not_wanted_any_more() -> None:
    ear = Listening()                                                  # never let go
    with pytest.raises(KeyError), Hearing(ear, Hooks()).ahead(SPEECH):
        assert ear.begun.wait(10)
        raise KeyError
    assert not ear.threads[0].is_alive()


def test_the_user_can_stop_the_waiting() -> None:
    def stop() -> None:
        raise InterruptedError

    ear = Listening()
    hearing = Hearing(ear, Hooks(check_interrupt=stop))
    with pytest.raises(InterruptedError), hearing.ahead(SPEECH):
        hearing(SPEECH)
    assert not ear.threads or not ear.threads[0].is_alive()
