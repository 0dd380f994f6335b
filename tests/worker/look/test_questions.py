"""Each of the script's nine questions gets its answer from what the script does; legitimate variants are right."""

import importlib
import re
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from command import SUBMISSIONS, expectation
from grader.assignment import Assignment, load_assignment
from grader.records import Answer, Check, Companion, Question, Submission, Verdict
from grader.run.check import check_architecture
from grader.run.worker_client import EquippedSlot
from grader.sandbox import Isolation
from grader.worker.look.questions import QUESTIONS, answers
from grader.worker.look.watch import Seen, Watch, run_script
from grader.worker.source import read_source
from grader.worker.standins import no_gpu

LEARNING_RATES = load_assignment().questions.learning_rates
CASES = sorted((SUBMISSIONS / "questions").iterdir())


@pytest.fixture(autouse=True)
def _default_device() -> Iterator[None]:
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_script_answers_as_it_promises(case: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = read_source((case / "hw6.py").read_bytes())
    monkeypatch.chdir(tmp_path)
    (tmp_path / "hw6.py").write_text(source.text, encoding="utf-8")
    watch, error = run_script(source.text, Watch("IdentityResNet"))
    found = {each.name: each.answer for each in answers(watch.seen, source.seen.blanks, LEARNING_RATES)}
    assert found == dict.fromkeys(QUESTIONS, "ok") | expectation(case)["answers"], error


@pytest.mark.parametrize("device", ["0", "torch.device(0)", 'torch.device("cuda", 0)', "torch.device(type='cuda')"])
def test_a_gpu_may_be_named_in_every_way_that_torch_knows(device: str) -> None:
    text = (SUBMISSIONS / "questions" / "all_right" / "hw6.py").read_text(encoding="utf-8")
    usual = 'torch.device("cuda:0" if torch.cuda.is_available() else "cpu")'
    assert usual in text
    watch, _ = run_script(text.replace(usual, device), Watch("IdentityResNet"))
    first = answers(watch.seen, (), LEARNING_RATES)[0]
    assert (first.answer, first.reason[:35]) == ("ok", "The script takes a GPU for granted;")


def test_a_package_beside_the_script_is_watched_in_every_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script, network = in_two_files()
    package = tmp_path / "blocks"
    package.mkdir()
    (package / "__init__.py").write_text("from .network import IdentityResNet\n", encoding="utf-8")
    (package / "network.py").write_text(network, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    for _ in range(2):
        watch, error = run_script(script, Watch("IdentityResNet"), beside=["blocks"])
        assert (error, watch.seen.used) == ("", True)
    del sys.modules["blocks"], sys.modules["blocks.network"]


@pytest.mark.sandbox
def test_a_script_that_reads_itself_finds_itself_while_it_is_watched_in_the_sandbox(
    isolation: Isolation, assignment: Assignment, tmp_path: Path
) -> None:
    content = (SUBMISSIONS / "questions" / "variant_reads_itself" / "hw6.py").read_bytes()
    slot = EquippedSlot(0, 1, isolation, None, tmp_path, threading.Event(), lambda _: None)
    check = check_architecture(Submission("kim", content=content), assignment, slot)
    assert [question.answer for question in check.questions] == ["ok"] * len(QUESTIONS)


def in_two_files() -> tuple[str, str]:
    """A right script and a second file, which has its class."""
    text = (SUBMISSIONS / "questions" / "all_right" / "hw6.py").read_text(encoding="utf-8")
    head, script = text.split('if __name__ == "__main__":')
    imports, network = head.split("class IdentityResNet")
    return (
        f'{imports}from blocks import IdentityResNet\n\nif __name__ == "__main__":{script}',
        f"{imports}class IdentityResNet{network}",
    )


def test_a_class_in_a_second_file_is_watched_also_where_that_is_imported_already(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, second = in_two_files()
    (tmp_path / "blocks.py").write_text(second, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(sys.modules, "blocks", importlib.import_module("blocks"))
    watch, error = run_script(text, Watch("IdentityResNet"), beside=["blocks", "hw6"])
    assert error == ""
    assert {each.answer for each in answers(watch.seen, (), LEARNING_RATES)} == {"ok"}


@pytest.mark.sandbox
def test_a_class_in_a_second_file_is_watched_in_the_sandbox(
    isolation: Isolation, assignment: Assignment, tmp_path: Path
) -> None:
    text, second = in_two_files()
    slot = EquippedSlot(0, 1, isolation, None, tmp_path, threading.Event(), lambda _: None)
    handed_in = Submission("kim", content=text.encode(), companions=(Companion("blocks.py", second.encode()),))
    check = check_architecture(handed_in, assignment, slot)
    assert [question.answer for question in check.questions] == ["ok"] * len(QUESTIONS)


DEVICE = 'torch.device("cuda:0" if torch.cuda.is_available() else "cpu")'
SAMPLER = "torch.utils.data.BatchSampler(torch.utils.data.RandomSampler(trainset), batch_size, False)"
MOVED, STEP = "net = net.to(dev)", "            optimizer.step()\n"


@pytest.mark.parametrize(
    ("stood", "stands", "said"),
    [
        (MOVED, "if torch.cuda.is_available():\n        net.cuda()", ()),
        (DEVICE, "torch.device(0) if torch.cuda.device_count() else 'cpu'", ()),
        (DEVICE, "'mps' if torch.backends.mps.is_available() else 'cuda' if torch.cuda.is_available() else 'cpu'", ()),
        (
            DEVICE,
            "'mps' if torch.backends.mps.is_available() else 'cpu'",
            ("Q1 is wrong: The script never uses a GPU",),
        ),
        (DEVICE, "'cpu' if torch.cuda.is_available() else 'cpu'", ("Q1 is wrong: The script never uses a GPU",)),
        (MOVED, "print(torch.cuda.is_available())", ("Q3 is wrong: The network is never moved",)),
        (MOVED, "with torch.device(dev):\n        net = IdentityResNet(2, 2, 2, 2)", ()),
        (MOVED, "for each in net.children():\n        each.to(dev)", ()),
        (MOVED, "net.fc = nn.Linear(64, 10, device=dev)", ()),
        (
            "optimizer = optim.SGD(net.parameters(), lr=0.01, momentum=0.9)",
            "last, optimizer = (optim.SGD(each.parameters(), 0.01, 0.9) for each in (net.fc, net.conv))",
            (),
        ),
        ("batch_size=batch_size, shuffle=True", f"batch_sampler={SAMPLER}", ()),
        ("batch_size=batch_size, shuffle=True", "batch_sampler=[[0, 1], [2, 3]]", ("Q2 is unclear: ",)),
        ("net.parameters(), lr=0.01, momentum=0.9", "[{'params': net.parameters(), 'momentum': 0.9}], lr=0.01", ()),
        (
            "net.parameters(), lr=0.01, momentum=0.9",
            "[{'params': net.parameters(), 'lr': 3.0}], lr=0.01, momentum=0.9",
            ("Q4 is wrong: ",),
        ),
        (
            "optim.SGD(net.parameters(), lr=0.01, momentum=0.9)",
            "type('Own', (optim.SGD,), {'__init__': lambda own, w: optim.Optimizer.__init__(own, w, {'lr': 0.01}), "
            "'step': lambda own: [each.data.sub_(each.grad) for each in net.parameters()]})(net.parameters())",
            ("Q4 is wrong: ",),
        ),
        ("optim.SGD(net.", "optim.SGD(IdentityResNet(2, 2, 2, 2).", ("Q4 is wrong: ", "Q8 is unclear: ")),
        ("            loss.backward()\n", "", ("Q7 is wrong: ", "Q5, Q6 and Q8 are unclear: Without a gradient")),
        (
            "loss.backward()",
            "[setattr(w, 'grad', torch.autograd.grad(loss, w, retain_graph=True)[0]) for w in net.parameters()]",
            (),
        ),
        (STEP, "            raise KeyError\n", ("Q8 is wrong: ", "Q5 and Q9 are unclear: ")),
    ],
)
def test_what_is_wrong_is_named_once_where_cuda_means_the_processor(
    stood: str, stands: str, said: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    for (owner, name), stand_in in no_gpu.replacements().items():
        monkeypatch.setattr(owner, name, stand_in)
    text = (SUBMISSIONS / "questions" / "all_right" / "hw6.py").read_text(encoding="utf-8")
    assert text.count(stood) == 1
    assert open_questions(text.replace(stood, stands)) == said


def test_of_a_script_without_any_device_it_is_said_once() -> None:
    text = (SUBMISSIONS / "questions" / "all_right" / "hw6.py").read_text(encoding="utf-8")
    for stood, stands in ((DEVICE, '"cpu"'), (MOVED, "pass")):
        assert text.count(stood) == 1
        text = text.replace(stood, stands)
    assert open_questions(text) == ("Q1 and Q3 are wrong: The script never uses a GPU",)


def test_a_script_that_adds_up_the_gradients_of_16_batches_is_watched_to_its_step() -> None:
    text = (SUBMISSIONS / "questions" / "all_right" / "hw6.py").read_text(encoding="utf-8")
    text = text.replace("optimizer.zero_grad()", "pass")
    text = text.replace(
        STEP, "            if i % 16 == 15:\n                optimizer.step()\n                net.zero_grad()\n"
    )
    assert open_questions(text) == ()


@pytest.mark.parametrize("context", ["torch.no_grad()", "torch.enable_grad()"])
@pytest.mark.parametrize(
    "wrapped",
    [
        "torch.utils.data.Subset(testset, range(100))",
        "torch.utils.data.Subset(torch.utils.data.Subset(testset, range(100)), range(50))",
        "torch.utils.data.ConcatDataset([torch.utils.data.Subset(testset, range(100))])",
        "type('Wrapped', (torch.utils.data.Dataset,), {'__init__': lambda self, base: setattr(self, 'base', base), "
        "'__len__': lambda self: 100, '__getitem__': lambda self, index: self.base[index]})(testset)",
    ],
    ids=["subset", "subset of a subset", "several as one", "own class"],
)
def test_test_images_are_known_below_what_wraps_them(wrapped: str, context: str) -> None:
    text = (SUBMISSIONS / "questions" / "all_right" / "hw6.py").read_text(encoding="utf-8")
    assert text.count("DataLoader(testset,") == text.count("torch.no_grad()") == 1
    text = text.replace("DataLoader(testset,", f"DataLoader({wrapped},").replace("torch.no_grad()", context)
    watch, error = run_script(text, Watch("IdentityResNet"))
    assert (error, answers(watch.seen, (), LEARNING_RATES)[8].answer) == ("", "ok" if "no_grad" in context else "wrong")


@pytest.mark.parametrize("zeroed", [True, False])
@pytest.mark.parametrize(
    "backward",
    [
        "torch.autograd.backward(loss)",
        "torch.autograd.backward(tensors=[loss])",
        "(0.5 * loss).backward(retain_graph=True); (0.5 * loss).backward()",
    ],
)
def test_gradients_are_watched_whichever_backward_computes_them(zeroed: bool, backward: str) -> None:
    text = (SUBMISSIONS / "questions" / "all_right" / "hw6.py").read_text(encoding="utf-8")
    text = text.replace("loss.backward()", backward)
    watch, _ = run_script(text if zeroed else text.replace("optimizer.zero_grad()", "pass"), Watch("IdentityResNet"))
    found = {each.name: each.answer for each in answers(watch.seen, (), LEARNING_RATES)}
    assert found["Q5"] == ("ok" if zeroed else "wrong")


@pytest.mark.parametrize(
    ("until", "more", "said"),
    [
        ('if __name__ == "__main__":', "", "Q1 to Q9 are unclear: "),
        (
            'if __name__ == "__main__":',
            "IdentityResNet(2, 2, 2, 2)(torch.randn(2, 3, 32, 32))",
            "Q1 to Q9 are unclear: ",
        ),
        ("    criterion =", "", "Q4 to Q9 are unclear: "),
        ("    for epoch in", "", "Q4 to Q9 are unclear: "),
        ("    net.eval()", "", "Q9 is unclear: "),
    ],
)
def test_of_a_script_that_stops_early_the_reason_is_said_once(until: str, more: str, said: str) -> None:
    text = (SUBMISSIONS / "questions" / "all_right" / "hw6.py").read_text(encoding="utf-8")
    assert open_questions(text.partition(until)[0] + more) == (said,)


def test_all_that_is_unclear_is_one_line_in_which_each_reason_names_its_questions() -> None:
    found = (Question("Q5", Answer.UNKNOWN, "It is so."), Question("Q7", Answer.WRONG, "No."))
    more = (Question("Q8", Answer.UNKNOWN, "It is so."), Question("Q9", Answer.UNKNOWN, "It is not."))
    wrong, unclear = Check(Verdict.CONFORMING, questions=(*found, *more)).open_questions
    assert wrong == "Q7 is wrong: No."
    assert unclear == "Q5, Q8 and Q9 are unclear: It is so (Q5 and Q8). It is not (Q9)."


def open_questions(text: str) -> tuple[str, ...]:
    """What is said of a script's answers, to the end of the first few words."""
    watch, _ = run_script(text, Watch("IdentityResNet"))
    found = Check(Verdict.CONFORMING, questions=answers(watch.seen, (), LEARNING_RATES)).open_questions
    return tuple(
        re.sub(r"(: )(The script never uses a GPU|The network is never moved|Without a gradient)?.*", r"\1\2", each)
        for each in found
    )


def test_every_question_is_wrong_in_some_case() -> None:
    wrong = {name for case in CASES for name, answer in expectation(case)["answers"].items() if answer == "wrong"}
    assert wrong == set(QUESTIONS)


def test_a_gpu_that_is_taken_for_granted_is_right_with_a_word_about_it() -> None:
    asked = Seen(asked_for_gpu=True, asked_whether=True)
    first, *_ = answers(asked, (), LEARNING_RATES)
    assert (first.answer, first.reason) == ("ok", "")
    text = (SUBMISSIONS / "questions" / "all_right" / "hw6.py").read_text(encoding="utf-8")
    named = text.replace('"cuda:0" if torch.cuda.is_available() else "cpu"', '"cuda:0"')
    assert named != text
    watch, _ = run_script(named, Watch("IdentityResNet"))
    first, *_ = answers(watch.seen, (), LEARNING_RATES)
    assert first.answer == "ok"
    assert 'the template asks for "cuda:0" if there is a GPU, else "cpu"' in first.reason


def test_watching_leaves_nothing_behind() -> None:
    before = dict(vars(nn.Module)), dict(vars(DataLoader))
    with Watch("IdentityResNet").installed():
        assert (dict(vars(nn.Module)), dict(vars(DataLoader))) != before
    assert (dict(vars(nn.Module)), dict(vars(DataLoader))) == before


def test_a_script_that_swallows_every_error_is_watched_to_its_end() -> None:
    text = (SUBMISSIONS / "habits" / "bare_except_around_the_step" / "hw6.py").read_text(encoding="utf-8")
    watch, error = run_script(text, Watch("IdentityResNet"))
    assert error == ""
    found = {each.name: each.answer for each in answers(watch.seen, (), LEARNING_RATES)}
    assert found["Q4"] == found["Q8"] == "ok"


def test_what_torch_asks_by_itself_the_script_has_not_asked() -> None:
    watch = Watch("IdentityResNet")
    with watch.installed():
        torch.cuda.amp.common.amp_definitely_not_available()  # type: ignore[no-untyped-call]
        assert not watch.seen.asked_for_gpu
        torch.cuda.is_available()
    assert watch.seen.asked_for_gpu


KILLED = """
import os
import signal

signal.alarm(100)
os.kill(os.getpid(), signal.SIGKILL)
"""
BEGUN_ANEW = """
import os
import sys

if len(sys.argv) == 1:
    os.execv(sys.executable, [sys.executable, *sys.argv, "again"])
"""


@pytest.mark.timeout(200, method="thread")  # else the test's own limit is the process's only timer
@pytest.mark.parametrize(("before", "after"), [("", KILLED), (BEGUN_ANEW, "")], ids=["killed", "begun anew"])
def test_a_script_that_ends_or_replaces_its_process_is_watched_all_the_same(before: str, after: str) -> None:
    text = (SUBMISSIONS / "questions" / "all_right" / "hw6.py").read_text(encoding="utf-8")
    watch, error = run_script(before + text + after, Watch("IdentityResNet"))
    assert error == ""
    assert {each.answer for each in answers(watch.seen, (), LEARNING_RATES)} == {"ok"}
    assert (signal.alarm(0), signal.getsignal(signal.SIGALRM)) == (0, signal.SIG_DFL)
