"""A student's own check: `python -m grader.student.self_check hw6.py ANSWER LATE SECONDS WORLD`, in a child process.

Runs the script on a few batches of one image, then looks at its network; every line of the file ANSWER is one event of
the protocol. No data set, no sandbox: it is the student's own code on the student's machine. Where the script does not
end in its time, the file LATE says at which lines it was. WORLD is `own`, as for `python hw6.py` but that nothing is
compiled, or `graders`: with what the grader supplies, such as Colab's modules.
"""

import faulthandler
import os
import sys
import tomllib
from collections.abc import Callable

# By a name of its own: while the script is watched, its own call of os._exit ends the script only.
from os import _exit as _end_process
from pathlib import Path

from grader.protocol import Event, QuestionsSeen, SourceRead, Stopped, to_json
from grader.records import StopReason
from grader.worker import patches
from grader.worker.look.network import build, look_at
from grader.worker.look.patience import when_overdue
from grader.worker.look.questions import answers
from grader.worker.look.watch import Watch, run_script
from grader.worker.source import read_source
from grader.worker.standins import colab, no_gpu

_ASSIGNMENT = Path(__file__).parents[1] / "assignment.toml"


def run(path: Path, say: Callable[[Event], None], *, as_graded: bool) -> None:
    """Check one file, and say what was found as soon as it is known."""
    source = read_source(path.read_bytes())
    say(SourceRead(source.blanks, source.notes, fault=source.fault))
    if source.fault:
        return
    rules = tomllib.loads(_ASSIGNMENT.read_text(encoding="utf-8"))
    folder, names = path.resolve().parent, colab.functions() if as_graded else {}
    if as_graded:
        patches.surround(rules["seed"])
        os.chdir(folder)
    else:
        patches.install(patches.uncompiling())
    # As for `python hw6.py`: it may import what lies beside it.
    sys.path.insert(0, str(folder))
    beside = [path.stem for path in folder.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()]
    watch, error = run_script(source.text, Watch(rules["class_name"]), names, beside)
    if as_graded and watch.seen.network is None:
        # It may do nothing without a GPU: the grader then says that there is one.
        no_gpu.grant()
        again, error_again = run_script(source.text, Watch(rules["class_name"]), names, beside)
        # What the first run left in the folder may stop the second one: that is not the student's fault.
        if again.seen.network is not None:
            watch, error = again, error_again
    say(Stopped(StopReason.ERROR if error else StopReason.FINISHED, error=error))
    say(QuestionsSeen(answers(watch.seen, source.blanks, tuple(rules["questions"]["learning_rates"]))))
    if watch.made is not None:
        network, failure = build(watch.made, tuple(rules["blocks"]))
        say(look_at(network, failure, watch.made))


def main(path: Path, answer: Path, late: Path, seconds: float, *, as_graded: bool) -> None:
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
        run(path, say, as_graded=as_graded)
        faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    _file, _answer, _late, _seconds, _world = sys.argv[1:]
    main(Path(_file), Path(_answer), Path(_late), float(_seconds), as_graded=_world == "graders")
