"""Run one script, in a sandbox or as a student's trial: `python -m grader.worker.main IMAGES SCORES REPORT JOB DATA`.

IMAGES, SCORES and REPORT are descriptors that were handed down, by number, or paths of files. Reads JOB/task.json,
JOB/submission and what lay beside it, JOB/companions; runs the script as `__main__`; stops it at its budget; then looks
at its network (mode "check") or turns the grader's images into scores (mode "train").
"""

import contextlib
import json
import os
import shutil
import sys
import tempfile
import threading
import traceback
import types
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from grader.protocol import BEGIN, OVER, READY, Evaluated, Exported, Fault, QuestionsSeen, Stopped, Task
from grader.records import BATCHED_TRANSFORMS, IMAGE_BYTES, StopReason, Training
from grader.worker import dataset, patches
from grader.worker.budget import Budget
from grader.worker.channel import Channel, all_notes, note, one_line, opened
from grader.worker.evaluate import NotScores, Prepared, prepare
from grader.worker.export import NotExportable, export
from grader.worker.leaving import Exits, Restarted, end_process, errors, flush
from grader.worker.limits import card_out_of_reach, limit_cards, limit_met, limit_resources, take_reserve, when_overdue
from grader.worker.look.network import build, look_at
from grader.worker.look.questions import answers
from grader.worker.look.watch import Watch, run_script
from grader.worker.source import SCRIPT, Source, line_of, read_source
from grader.worker.speed.acceleration import Acceleration
from grader.worker.standins import colab, no_gpu
from grader.worker.uncounted import Uncounted

_QUESTION_SECONDS = 30.0
Images = np.ndarray[Any, Any]


class Worker:
    """One script, from its start to the last byte for the grader."""

    def __init__(
        self, task: Task, channel: Channel, source: Source, training_images: Images, companions: list[Path]
    ) -> None:
        self._task, self._channel, self._source = task, channel, source
        self._training_images, self._companions = training_images, companions
        self._module = types.ModuleType("__main__")
        self._environment = dict(os.environ)
        self._error: BaseException | None = None
        self._uncounted = Uncounted()
        # A check ends where the first image would be learned from: run/check.py says why.
        samples = 0 if task.mode == "check" else task.epochs * len(training_images)
        self._acceleration = Acceleration(task.acceleration, task.precision, self._uncounted.optimizers)
        budget = Budget(task.class_name, samples, task.train_seconds, channel, self._finish, self._acceleration)
        self._budget = budget
        self._exits = Exits(lambda: budget.close(StopReason.FINISHED), lambda: budget.batches > 0)

    def run(self) -> NoReturn:
        """Execute the script as `python hw6.py` would, then finish."""
        patches.install(patches.watching(self._budget, self._uncounted, self._acceleration, self._exits))
        self._budget.start_timer(self._task.setup_seconds)
        self._lay_out()
        sys.path.insert(0, os.getcwd())
        ended_by = self._execute()
        made = self._budget.network is not None
        if not self._budget.batches and no_gpu.gave_up(ended_by, made_network=made):
            no_gpu.grant()
            ended_by = self._execute()
        if ended_by is None or isinstance(ended_by, SystemExit):
            self._budget.close(StopReason.FINISHED)
        self._error = ended_by
        take_reserve()
        _print_error(ended_by)
        self._budget.close(StopReason.ERROR)

    def _lay_out(self) -> None:
        """Put the script, which may read itself, and what lay beside it into the working folder."""
        Path(SCRIPT).write_text(self._source.text, encoding="utf-8", errors="surrogatepass")
        for companion in self._companions:
            shutil.copyfile(companion, companion.name)

    def _execute(self) -> BaseException | None:
        """Run the script, anew as often as it puts itself in its own place; what ended it, if anything did."""
        self._reset()
        while isinstance(ended_by := self._execute_once(), Restarted):
            sys.argv = ended_by.arguments
        return ended_by

    def _reset(self) -> None:
        """Take back what an earlier run of the script left for the next."""
        sys.argv = [SCRIPT]
        os.environ.clear()
        os.environ.update(self._environment)

    def _execute_once(self) -> BaseException | None:
        self._module = sys.modules["__main__"] = types.ModuleType("__main__")
        self._module.__dict__.update(colab.functions(), __file__=SCRIPT)
        try:
            exec(compile(self._source.text, SCRIPT, "exec", dont_inherit=True), self._module.__dict__)
            _wait_for_threads()
        except SystemExit as error:
            _wait_for_threads()
            return error
        except BaseException as error:  # whatever a script raises
            return error
        return None

    def _finish(self, reason: StopReason) -> NoReturn:
        """Say why training is over and hand over what was asked for; the script does not run on afterwards."""
        budget, error = self._budget, self._error
        take_reserve()
        _note_used(self._companions)
        missing = str(error.name or "").split(".")[0] if isinstance(error, ModuleNotFoundError) else ""
        said = one_line(error) if error else ""
        training = Training(
            budget.samples,
            budget.seconds,
            budget.batches,
            budget.targets,
            own_seed=patches.own_seed(),
            acceleration=self._acceleration.in_use(budget.batches),
            missing_module=missing,
        )
        self._channel.say(Stopped(reason, said, training, line_of(error) if error else 0))
        self._exits.close()
        try:
            if self._task.mode == "check":
                self._check()
            elif self._task.images:
                self._evaluate()
        finally:
            flush()
            end_process(0)

    def _check(self) -> None:
        network = self._budget.network
        make: Any = self._module.__dict__.get(self._task.class_name) or self._budget.defined
        if network is not None:
            make = type(network)
        if make is None:
            self._channel.say(Evaluated(Fault.SCRIPT if self._error else Fault.NO_NETWORK))
            return
        built, failure = build(make, self._task.blocks)
        self._channel.say(look_at(built if network is None else network, failure, make))
        self._ask_questions()

    def _ask_questions(self) -> None:
        """Run the script once more, on a few batches; if it does not end in time, report what was seen so far."""
        watch = Watch(self._task.class_name)

        def answer() -> None:
            self._channel.say(QuestionsSeen(answers(watch.seen, self._source.seen.blanks, self._task.learning_rates)))
            end_process(0)

        when_overdue(_QUESTION_SECONDS, answer, at_most=2)
        # The first run may have made the folders that the script makes.
        os.chdir(tempfile.mkdtemp())
        self._reset()
        self._lay_out()
        beside = [companion.stem for companion in self._companions]
        watch, _ = run_script(self._source.text, watch, colab.functions(), beside)
        answer()

    def _evaluate(self) -> None:
        if self._budget.network is None:
            self._channel.say(Evaluated(self._fault_of_script(), notes=all_notes(), flags=colab.INTERNET.doubts()))
            return
        try:
            self._channel.send(OVER)
            self._uncounted.end_training()
            prepared = prepare(self._budget, self._training_images)
            self._offer(prepared)
            received = self._channel.receive(self._task.images * IMAGE_BYTES)
            images = np.frombuffer(received, np.uint8).reshape(-1, 32, 32, 3)
            scores = prepared.predict(images)
        except NotScores as error:
            self._channel.say(Evaluated(Fault.NOT_SCORES, str(error), all_notes()))
        except BaseException as error:  # a network that cannot be evaluated is the script's fault, named
            _print_error(error)
            self._channel.say(Evaluated(limit_met(error) or Fault.EVALUATION, one_line(error), all_notes()))
        else:
            flags = (*prepared.flags, *self._uncounted.doubts(self._budget.batches))
            self._channel.say(Evaluated(notes=(*all_notes(), *prepared.notes), flags=flags))
            self._channel.send(scores)

    def _offer(self, prepared: Prepared) -> None:
        """Hand the network out; where it cannot be, say that it is ready for the images."""
        why_not, network = "", b""
        try:
            network = export(prepared)
        except NotExportable as error:
            why_not = str(error)
        except Exception as error:  # whatever a recorded forward raises: the network is tested all the same
            why_not = f"its forward cannot be recorded ({one_line(error)})"
        flags = (*prepared.flags, *self._uncounted.doubts(self._budget.batches))
        self._channel.say(Exported(why_not, (*all_notes(), *prepared.notes), flags))
        if network:
            self._channel.offer(network)
        else:
            self._channel.send(READY)

    def _fault_of_script(self) -> Fault:
        if self._error is None:
            return Fault.NO_NETWORK
        if isinstance(self._error, ModuleNotFoundError):
            return Fault.MISSING_MODULE
        return limit_met(self._error) or Fault.SCRIPT


def _print_error(error: BaseException) -> None:
    with contextlib.suppress(Exception):  # the error is the script's own object
        traceback.print_exception(_without_our_frames(error), file=errors())


def _without_our_frames(error: BaseException) -> BaseException:
    """Cut the worker's own frames from the top of a traceback: a student should see the script's."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next
    return error.with_traceback(trace)


def _note_used(companions: list[Path]) -> None:
    for companion in companions:
        module = sys.modules.get(companion.stem)
        if Path(str(getattr(module, "__file__", ""))).name == companion.name:
            note(f"Your script used {companion.name}, which lies beside {SCRIPT}.")


def _wait_for_threads() -> None:
    """As Python does at the end of a script: pools are told to end, and all threads but daemons are waited for."""
    pools: Any = sys.modules.get("concurrent.futures.thread")
    if pools is not None:
        pools._python_exit()
        pools._shutdown = False
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()


def main(arguments: list[str]) -> Any:
    """Set the worker up, then run the script."""
    images, scores, report, job, data = arguments
    channel = Channel(opened(images, os.O_RDONLY), opened(scores, os.O_WRONLY), opened(report, os.O_WRONLY))
    task = Task(**json.loads(Path(job, "task.json").read_text()))
    arrays = dataset.load_arrays(Path(data)) if data else dataset.blank_arrays()
    dataset.serve(arrays, batched=BATCHED_TRANSFORMS in task.acceleration)
    if task.limited:
        limit_resources(task)
        limit_cards(task.card_share)
    ready = patches.surround(task.seed)
    # A run is set up while its check goes on.
    channel.receive(len(BEGIN))
    channel.say(ready)
    companions = sorted(Path(job, "companions").iterdir())
    source = read_source(Path(job, "submission").read_bytes(), companions)
    channel.say(source.seen)
    # A student at home has nobody to share a card with.
    missing = card_out_of_reach() if task.limited else ""
    if why_not := source.seen.fault or missing:
        channel.say(Stopped(StopReason.ERROR, error=why_not))
        channel.say(Evaluated(Fault.SOURCE if source.seen.fault else Fault.SCRIPT, why_not))
        return
    # As they were: a script may have changed its own.
    untouched = dataset.load_arrays(Path(data))[0] if data else arrays[0]
    Worker(task, channel, source, untouched, companions).run()


main(sys.argv[1:])
