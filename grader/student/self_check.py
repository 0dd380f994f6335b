"""A student's own check: `python -m grader.student.self_check FOLDER/hw6.py ANSWER LATE SECONDS`, in a child process.

Runs the script on a few batches of one image, then looks at its network; every line of the file ANSWER is one event of
the protocol. No data set, no sandbox: it is the student's own code on the student's machine. It finds what it finds in
the grader, such as Colab's modules, and FOLDER, a copy, is its working folder. Where the script does not end in its
time, the file LATE says at which lines it was.
"""

import faulthandler
import os
import sys
import tomllib
from collections.abc import Callable

# By a name of its own: while the script is watched, its own call of os._exit ends the script only.
from os import _exit as _end_process
from pathlib import Path
from typing import Any

import numpy as np

from grader.protocol import Event, QuestionsSeen, Stopped, to_json
from grader.records import StopReason
from grader.worker import patches
from grader.worker.limits import when_overdue
from grader.worker.look.network import build, look_at
from grader.worker.look.questions import answers
from grader.worker.look.watch import OneImage, Watch, run_script
from grader.worker.source import read_source
from grader.worker.standins import colab, files, no_gpu

_ASSIGNMENT = Path(__file__).parents[1] / "assignment.toml"


def run(path: Path, say: Callable[[Event], None]) -> None:
    """Check one file, and say what was found as soon as it is known."""
    source = read_source(path.read_bytes())
    say(source.seen)
    if source.seen.fault:
        return
    rules = tomllib.loads(_ASSIGNMENT.read_text(encoding="utf-8"))
    watch, error = _watched(source.text, path, rules)
    say(Stopped(StopReason.ERROR if error else StopReason.FINISHED, error=error))
    say(QuestionsSeen(answers(watch.seen, source.seen.blanks, tuple(rules["questions"]["learning_rates"]))))
    if watch.made is not None:
        network, failure = build(watch.made, tuple(rules["blocks"]))
        say(look_at(network, failure, watch.made))


def _watched(text: str, path: Path, rules: dict[str, Any]) -> tuple[Watch, str]:
    """Run the script in its own folder, with what the grader supplies; as `run_script`."""
    folder, names = path.resolve().parent, colab.functions()
    patches.surround(rules["seed"])
    os.chdir(folder)
    path.write_text(text, encoding="utf-8", errors="surrogatepass")
    # The student's own disk keeps no images of noise.
    files.serve(_noise, folder)
    sys.path.insert(0, str(folder))
    beside = [file.stem for file in folder.glob("*.py")]
    watch, error = run_script(text, Watch(rules["class_name"]), names, beside)
    if watch.seen.network is None:
        # It may do nothing without a GPU: the grader then says that there is one.
        no_gpu.grant()
        again, error_again = run_script(text, Watch(rules["class_name"]), names, beside)
        # What the first run left in the folder may stop the second one: that is not the student's fault.
        if again.seen.network is not None:
            return again, error_again
    return watch, error


def _noise(training: bool) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Images and labels for the files that a script reads itself."""
    images = OneImage("", train=training)
    return images.data, np.array(images.targets)


def main(path: Path, answer: Path, late: Path, seconds: float) -> None:
    """Write what was found to the file `answer`, line by line; end early, with a word in `late`, what does not end."""
    with answer.open("w", encoding="utf-8") as lines, late.open("w", encoding="utf-8") as where:

        def say(event: Event) -> None:
            lines.write(to_json(event) + "\n")
            lines.flush()

        def give_up() -> None:
            faulthandler.dump_traceback(where)
            _end_process(1)

        def wait_on() -> None:
            # Code in C may keep every other thread waiting: then this ends the process in the same way.
            faulthandler.dump_traceback_later(seconds, exit=True, file=where)

        when_overdue(seconds, give_up, wait_on)
        run(path, say)
        faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    _file, _answer, _late, _seconds = sys.argv[1:]
    main(Path(_file), Path(_answer), Path(_late), float(_seconds))
