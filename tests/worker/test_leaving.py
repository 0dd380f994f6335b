"""Whichever way a script ends its own process, its turn is over and its network is tested."""

import os
import signal
import threading
from typing import Any, NoReturn

import pytest

from grader.worker import leaving
from grader.worker.channel import one_line
from grader.worker.limits import limit_met


class Left(BaseException):
    """The script's turn was ended."""


def leave() -> NoReturn:
    raise Left


@pytest.fixture
def doors(monkeypatch: pytest.MonkeyPatch) -> leaving.Doors:
    """What a script finds, while the process itself cannot be ended."""

    def ended(status: int) -> NoReturn:
        raise SystemExit(status)

    monkeypatch.setattr(leaving, "end_process", ended)
    monkeypatch.setattr(leaving, "_kill", lambda process, number: sent.append((process, number)))
    sent.clear()
    return leaving.Doors(leave, lambda: True)


sent: list[tuple[int, int]] = []
OWN = os.getpid()


def test_each_way_out_ends_the_turn(doors: leaving.Doors) -> None:
    found = doors.replacements()
    ways: list[Any] = [
        lambda: found[os, "_exit"](0),
        lambda: found[os, "abort"](),
        lambda: found[os, "kill"](OWN, signal.SIGKILL),
        lambda: found[os, "kill"](OWN, signal.SIGTERM),
        lambda: found[signal, "raise_signal"](signal.SIGTERM),
    ]
    for way in ways:
        with pytest.raises(Left):
            way()
    assert sent == []


def test_a_signal_with_a_handler_or_for_another_process_is_sent(doors: leaving.Doors) -> None:
    kill = doors.replacements()[os, "kill"]
    kill(OWN, signal.SIGINT)
    kill(OWN, 0)
    kill(OWN + 1, signal.SIGKILL)
    assert sent == [(OWN, signal.SIGINT), (OWN, 0), (OWN + 1, signal.SIGKILL)]


def test_a_forked_child_ends_as_it_is_told(doors: leaving.Doors, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "_own_process", lambda: OWN + 1)
    with pytest.raises(SystemExit) as ended:
        doors.replacements()[os, "_exit"](3)
    assert ended.value.code == 3


def test_an_exit_while_the_network_is_tested_gains_nothing(doors: leaving.Doors) -> None:
    """In the thread that tests it ends the run; in another thread of the script it is one more who waits."""
    leave_by = doors.replacements()[os, "_exit"]
    doors.close()
    with pytest.raises(SystemExit):
        leave_by(0)
    raised: list[BaseException] = []

    def another() -> None:
        try:
            leave_by(0)
        except Left as error:
            raised.append(error)

    thread = threading.Thread(target=another)
    thread.start()
    thread.join()
    assert len(raised) == 1


def test_a_script_that_trained_nothing_ends_as_it_wants(doors: leaving.Doors) -> None:
    found = leaving.Doors(leave, lambda: False).replacements()
    with pytest.raises(SystemExit):
        found[os, "_exit"](0)
    found[os, "kill"](OWN, signal.SIGKILL)
    assert sent == [(OWN, signal.SIGKILL)]


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise SystemExit


def test_an_error_that_cannot_be_told_is_told_by_its_type() -> None:
    assert one_line(Unspeakable()) == "Unspeakable"
    assert limit_met(Unspeakable()) is None


def test_a_closed_output_does_not_keep_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, "w") as closed:
        pass
    monkeypatch.setattr(leaving, "_STREAMS", (closed,))
    leaving.flush()
