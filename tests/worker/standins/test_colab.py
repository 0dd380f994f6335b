"""What a script takes for granted in a notebook on Colab is there, does no harm, and is noted."""

import builtins
import importlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from grader.worker import channel
from grader.worker.standins import colab


@pytest.fixture(autouse=True)
def _in_a_worker(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The stand-ins are there; afterwards, the interpreter is as it was."""
    monkeypatch.setattr(channel, "_sentences", {})
    monkeypatch.setattr(builtins, "input", colab.Keyboard().input)
    monkeypatch.setattr(sys, "meta_path", [colab.BARS, colab.PLOTS, *sys.meta_path, colab.MODULES])
    before = dict(sys.modules)
    sys.modules.pop("tqdm.notebook", None)
    yield
    for name in set(sys.modules) - set(before):
        if name.startswith(("google", "IPython", "tqdm.notebook")):
            del sys.modules[name]


def run(script: str) -> dict[str, Any]:
    names = colab.functions()
    exec(script, names)
    return names


def test_input_gives_an_empty_line_and_prints_its_prompt(capsys: pytest.CaptureFixture[str]) -> None:
    names = run("answer = input('batch size? ')\nother = input()")
    assert (names["answer"], names["other"]) == ("", "")
    assert "batch size? " in capsys.readouterr().out
    assert channel.all_notes() == ("Your script asked for input(), and the grader gave it an empty line.",)


@pytest.mark.parametrize(
    ("host", "doubted"),
    [("www.cs.toronto.edu", True), (b"10.1.2.3", True), ("localhost", False), ("127.0.0.1", False), (None, False)],
)
def test_a_script_that_asks_for_the_internet_is_named(host: object, doubted: bool) -> None:
    internet = colab.Internet()
    internet.audit("socket.getaddrinfo", (host, 80, 0, 1, 0))
    assert bool(internet.doubts()) == doubted


def test_asking_without_end_ends() -> None:
    with pytest.raises(EOFError):
        run("while input('really? ') != 'yes': pass")


def test_colab_is_there_only_for_a_script_that_imports_it() -> None:
    names = run("import sys\nbefore = 'google.colab' in sys.modules\nimport google.colab\nfrom google.colab import *")
    assert not names["before"]
    assert channel.all_notes() == ("The grader replaced google.colab with a stand-in that does nothing.",)


def test_a_module_that_colab_does_not_have_is_missing_as_ever() -> None:
    with pytest.raises(ModuleNotFoundError):
        run("import google.colab.no_such_thing")
    with pytest.raises(ModuleNotFoundError):
        run("import google.cloud")
    with pytest.raises(ImportError):
        run("from google.colab.drive import no_such_thing")


def test_drive_is_an_empty_folder_by_both_its_names(tmp_path: Path) -> None:
    mountpoint = tmp_path / "drive"
    for _ in range(2):
        run(f"from google.colab import drive\ndrive.mount({str(mountpoint)!r}, force_remount=True)")
    (mountpoint / "My Drive" / "model.pth").write_text("weights")
    assert [path.name for path in (mountpoint / "MyDrive").iterdir()] == ["model.pth"]
    assert "Google Drive was not mounted: your script got an empty folder instead." in channel.all_notes()


def test_a_drive_that_cannot_be_made_stops_no_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").touch()
    run(f"import google.colab.drive as drive\ndrive.mount({str(tmp_path / 'file')!r})\ndrive.flush_and_unmount()")
    assert "Not a directory" in capsys.readouterr().out


def test_colab_s_other_functions_do_nothing() -> None:
    names = run(
        "from google.colab import auth, files, output, runtime, userdata\n"
        "from google.colab.patches import cv2_imshow\n"
        "auth.authenticate_user()\nuploaded = files.upload()\nfiles.download('model.pth')\noutput.clear()\n"
        "cv2_imshow(None)\ntoken = userdata.get('HF_TOKEN')\nruntime.unassign()"
    )
    assert (names["uploaded"], names["token"]) == ({}, "")


def test_a_notebook_s_own_functions_answer(capsys: pytest.CaptureFixture[str]) -> None:
    run("display('a table')\nget_ipython().system('pip list')\nget_ipython().run_line_magic('matplotlib', 'inline')")
    assert capsys.readouterr().out == "a table\n"
    assert channel.all_notes() == ("get_ipython() did nothing because your script does not run in a notebook.",)


def test_ipython_is_a_stand_in_where_it_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    if hasattr(importlib.import_module("IPython"), "__file__"):
        pytest.skip("IPython is installed here, and comes first")
    run("from IPython.display import HTML, clear_output, display\nclear_output(wait=True)\ndisplay(HTML('a table'))")
    assert capsys.readouterr().out == "a table\n"
    assert channel.all_notes() == ("The grader replaced IPython with a stand-in that does nothing.",)
    with pytest.raises(ModuleNotFoundError, match=r"IPython\.core"):
        run("import IPython.core.magic")


def test_a_plot_is_drawn_although_ipython_is_a_stand_in(capsys: pytest.CaptureFixture[str]) -> None:
    run(
        "import IPython, matplotlib\nmatplotlib.use('Agg')\n"
        "from matplotlib import pyplot\nlines = pyplot.plot([1])\nprint(len(pyplot.gca().lines))\npyplot.close()"
    )
    assert capsys.readouterr().out == "1\n"


@pytest.mark.parametrize("name", ["tqdm", "trange", "tqdm_notebook", "tnrange"])
def test_the_progress_bar_for_notebooks_is_the_one_for_terminals(name: str) -> None:
    real = importlib.import_module("tqdm.std")
    bar = getattr(importlib.import_module("tqdm.notebook"), name)
    assert bar is (real.trange if "range" in name else real.tqdm)
