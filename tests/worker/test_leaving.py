"""Whichever way a script ends its own process, its turn is over and its network is tested."""

import os
import signal
import threading
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

from grader.worker import leaving
from grader.worker.channel import one_line
from grader.worker.limits import limit_met
from grader.worker.source import line_of


class Left(BaseException):
    """The script's turn was ended."""


def leave() -> NoReturn:
    raise Left


@pytest.fixture
def exits(monkeypatch: pytest.MonkeyPatch) -> leaving.Exits:
    """What a script finds, while the process itself cannot be ended."""

    def ended(status: int) -> NoReturn:
        raise SystemExit(status)

    monkeypatch.setattr(leaving, "end_process", ended)
    monkeypatch.setattr(leaving, "_kill", lambda process, number: sent.append((process, number)))
    sent.clear()
    return leaving.Exits(leave, lambda: True)


sent: list[tuple[int, int]] = []
OWN = os.getpid()


def test_each_way_out_ends_the_turn(exits: leaving.Exits) -> None:
    found = exits.replacements()
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


def test_a_signal_with_a_handler_or_for_another_process_is_sent(exits: leaving.Exits) -> None:
    kill = exits.replacements()[os, "kill"]
    kill(OWN, signal.SIGINT)
    kill(OWN, 0)
    kill(OWN + 1, signal.SIGKILL)
    assert sent == [(OWN, signal.SIGINT), (OWN, 0), (OWN + 1, signal.SIGKILL)]


def test_a_forked_child_ends_as_it_is_told(exits: leaving.Exits, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leaving, "_own_process", lambda: OWN + 1)
    with pytest.raises(SystemExit) as ended:
        exits.replacements()[os, "_exit"](3)
    assert ended.value.code == 3


def test_an_exit_while_the_network_is_tested_gains_nothing(exits: leaving.Exits) -> None:
    """In the thread that tests it ends the run; in another thread of the script it is one more who waits."""
    leave_by = exits.replacements()[os, "_exit"]
    exits.close()
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


def test_a_script_that_trained_nothing_ends_as_it_wants(exits: leaving.Exits) -> None:
    found = leaving.Exits(leave, lambda: False).replacements()
    with pytest.raises(SystemExit):
        found[os, "_exit"](0)
    found[os, "kill"](OWN, signal.SIGKILL)
    assert sent == [(OWN, signal.SIGKILL)]


def executed(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the process was really replaced by."""
    real: list[Any] = []
    monkeypatch.setattr(leaving, "_execute", lambda path, arguments: real.append(arguments))
    monkeypatch.setattr(leaving, "_execute_with", lambda path, arguments, _: real.append(arguments))
    return real


def test_a_script_that_replaces_itself_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    found, real = leaving.Exits(leave, lambda: False).replacements(), executed(monkeypatch)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    with pytest.raises(leaving.Restarted) as restarted:
        found[os, "execve"]("/usr/bin/python3.11", ["python3", "-u", "/job/hw6.py", "--quick"], {"PYTHONHASHSEED": "0"})
    assert restarted.value.arguments == ["hw6.py", "--quick"]
    assert os.environ == {"PYTHONHASHSEED": "0"}
    for others in (["python3", "-c", "1"], ["bash", "hw6.py"], []):
        found[os, "execv"]("/bin/program", others)
    assert real == [["python3", "-c", "1"], ["bash", "hw6.py"], []]


def test_whatever_replaces_a_trained_script_ends_its_turn(
    exits: leaving.Exits, monkeypatch: pytest.MonkeyPatch
) -> None:
    found, real = exits.replacements(), executed(monkeypatch)
    for words in (["python3", "hw6.py"], ["bash"]):
        with pytest.raises(Left):
            found[os, "execv"]("/bin/program", words)
    monkeypatch.setattr(leaving, "_own_process", lambda: OWN + 1)
    found[os, "execv"]("/bin/program", ["python3", "hw6.py"])
    assert real == [["python3", "hw6.py"]]


@pytest.fixture
def _no_timer() -> Iterator[None]:
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


# Else the test's own limit is the process's only timer.
own_timer = pytest.mark.timeout(60, method="thread")


@own_timer
@pytest.mark.usefixtures("_no_timer")
def test_a_timer_without_a_handler_ends_the_turn(exits: leaving.Exits) -> None:
    def wait_for_it() -> None:
        exits.replacements()[signal, "setitimer"](signal.ITIMER_REAL, 0.001)
        threading.Event().wait(30)

    with pytest.raises(Left):
        wait_for_it()


@own_timer
@pytest.mark.usefixtures("_no_timer")
def test_a_handler_of_the_script_s_stays_and_no_timer_interrupts_the_test(exits: leaving.Exits) -> None:
    rung: list[int] = []
    signal.signal(signal.SIGALRM, lambda number, _: rung.append(number))
    exits.replacements()[signal, "alarm"](100)
    os.kill(OWN, signal.SIGALRM)
    assert rung == [signal.SIGALRM]
    exits.close()
    assert signal.alarm(0) == 0


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise SystemExit


def test_an_error_that_cannot_be_told_is_told_by_its_type() -> None:
    assert one_line(Unspeakable()) == "Unspeakable"
    assert limit_met(Unspeakable()) is None


class Untraceable(Exception):
    @property
    def __traceback__(self) -> Any:  # type: ignore[override]
        raise SystemExit


def test_an_error_that_hides_where_it_comes_from_still_has_its_line() -> None:
    with pytest.raises(Untraceable) as raised:
        exec(compile("\nraise Untraceable", "hw6.py", "exec"), {"Untraceable": Untraceable})
    assert line_of(raised.value) == 2


def test_a_closed_output_does_not_keep_the_worker(monkeypatch: pytest.MonkeyPatch) -> None:
    with open(os.devnull, "w") as closed:
        pass
    monkeypatch.setattr(leaving, "_STREAMS", (closed,))
    leaving.flush()
