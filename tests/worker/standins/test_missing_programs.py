"""What starts a program: the script, whose program is made up for, or a library, which knows better."""

import os
import subprocess
import sys
from unittest.mock import patch

import pytest

from command import ROOT
from grader.sandbox.job import package_folders
from grader.worker import channel
from grader.worker.standins import programs

# As a library that looks for its program does.
LIBRARY = """
import sys
from grader.worker.channel import all_notes
from grader.worker.standins import programs
import subprocess
from unittest.mock import patch
text = "import subprocess\\ntry: subprocess.run(['no-such-program'])\\nexcept OSError: print('told')"
library = compile(text, sys.argv[1], "exec")
with patch.object(subprocess.Popen, "__init__", programs.start_of(subprocess.Popen.__init__)):
    exec(library, {})
print(len(all_notes()))
"""


def test_a_library_to_which_only_a_path_leads_is_told_that_its_program_is_missing() -> None:
    folders = package_folders()
    finished = subprocess.run(
        [os.path.realpath(sys.executable), "-c", LIBRARY, str(folders[0] / "a_library" / "fonts.py")],
        env={"PYTHONPATH": os.pathsep.join(map(str, (ROOT, *folders)))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert finished.stdout.split() == ["told", "0"], finished.stderr


def test_of_an_installation_the_sentence_names_the_program_and_what_it_does_not_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(programs, "_stand_in", lambda: "true")  # the real one asks for the GPU
    with patch.object(subprocess.Popen, "__init__", programs.start_of(subprocess.Popen.__init__)):
        subprocess.run([sys.executable, "-m", "pip", "install", "tyro"], check=True, capture_output=True)
    assert "Your script finds the packages that the grader has. Nothing is installed by pip." in channel.all_notes()
