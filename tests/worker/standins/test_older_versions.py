"""A script for an older PyTorch, torchvision or NumPy finds what it takes for granted; all else is as it is today."""

import textwrap
from collections.abc import Callable, Iterator

import pytest

from forks import forks

NOTED = "Your script is older than the libraries here. The grader supplied what they no longer have: {}."


Run = Callable[[str], tuple[list[str], list[str]]]
BEFORE = """
import torch, torchvision
from grader.worker import channel, patches
patches.install(patches.surrounding())
"""


@pytest.fixture(scope="module")
def run() -> Iterator[Run]:
    """What a worker's process prints that runs a script after the names were supplied, and what it notes."""
    with forks(BEFORE) as server:

        def run(script: str) -> tuple[list[str], list[str]]:
            after = "\nprint('notes:', *channel.all_notes(), sep='\\n')\n"
            finished = server.run(textwrap.dedent(script) + after)
            assert finished.returncode == 0, finished.stderr
            printed, _, noted = finished.stdout.partition("notes:\n")
            return printed.splitlines(), noted.splitlines()

        yield run


def test_each_older_name_works_and_is_noted(run: Run) -> None:
    printed, noted = run(
        """
        import numpy as np
        print(np.zeros(2, dtype=np.int).dtype == np.int64, np.Inf == float("inf"), np.in1d([1, 2], [2]))
        print(iter(torch.utils.data.DataLoader([1, 2], batch_size=2)).next())
        print(torchvision.transforms.Scale(8)(torch.zeros(3, 4, 4)).shape)
        print(torchvision.transforms.RandomAffine(9, fillcolor=7).fill)
        """
    )
    assert printed == ["True True [False  True]", "tensor([1, 2])", "torch.Size([3, 8, 8])", "7"]
    names = "numpy.int", "numpy.Inf", "numpy.in1d", "next() of a DataLoader's iterator", "torchvision.transforms.Scale"
    assert noted == [NOTED.format(", ".join((*names, "the argument fillcolor")))]


def test_every_scheduler_takes_verbose_and_steps_as_without(run: Run) -> None:
    _, noted = run(
        """
        from torch.optim import SGD, lr_scheduler as schedulers
        arguments = {
            "LambdaLR": (lambda epoch: 0.5**epoch,), "MultiplicativeLR": (lambda epoch: 0.5,), "StepLR": (1, 0.5),
            "MultiStepLR": ([1],), "ConstantLR": (), "LinearLR": (), "ExponentialLR": (0.5,), "PolynomialLR": (),
            "CosineAnnealingLR": (9,), "CosineAnnealingWarmRestarts": (9,), "CyclicLR": (0.01, 0.1),
            "OneCycleLR": (0.1, 10), "ReduceLROnPlateau": (),
        }
        def rate(name, **options):
            optimizer = SGD([torch.zeros(1, requires_grad=True)], lr=0.1, momentum=0.9)
            scheduler = getattr(schedulers, name)(optimizer, *arguments[name], **options)
            optimizer.step()
            scheduler.step(*([1.0] if name == "ReduceLROnPlateau" else []))
            return optimizer.param_groups[0]["lr"]
        for name in arguments:
            assert rate(name, verbose=True) == rate(name), name
        """
    )
    assert noted == [NOTED.format("the argument verbose")]


def test_a_network_that_a_script_saved_whole_can_be_loaded_unless_it_asks_for_weights_only(run: Run) -> None:
    printed, _ = run(
        """
        import io, pickle
        saved = io.BytesIO()
        torch.save(torch.nn.Linear(2, 2), saved)
        saved.seek(0)
        print(torch.load(saved))
        saved.seek(0)
        try:
            torch.load(saved, weights_only=True)
        except pickle.UnpicklingError:
            print("refused")
        """
    )
    assert printed == ["Linear(in_features=2, out_features=2, bias=True)", "refused"]


def test_what_is_there_today_stays_and_what_never_was_is_still_missing(run: Run) -> None:
    _, noted = run(
        """
        import numpy as np
        import matplotlib.pyplot, pandas, scipy.stats, seaborn, sklearn.metrics, torchinfo, torch.utils.tensorboard
        assert np.bool is np.bool_ and np.linalg.norm([3, 4]) == 5
        for module in (np, torch, torchvision.transforms):
            assert not hasattr(module, "no_such_name"), module
        try:
            torchvision.transforms.RandomRotation(5, no_such_argument=1)
        except TypeError:
            pass
        else:
            raise AssertionError
        """
    )
    assert noted == []


def test_a_module_that_torchvision_renamed_can_be_imported(run: Run) -> None:
    printed, _ = run("from torchvision.models.utils import load_state_dict_from_url as load\nprint(load.__module__)")
    assert printed == ["torch.hub"]
