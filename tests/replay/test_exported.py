"""A network is validated before anything is made of it: whatever bytes come, they are a network or a `NoNetwork`."""

import copy
import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from grader.protocol.exported import (
    MOST_BYTES,
    Call,
    ExportedNetwork,
    Graph,
    NoNetwork,
    Step,
    Weight,
    from_bytes,
    sample_rows,
    to_bytes,
)

SCORES = bytes(2 * 40)
RELU = Call("relu.default", [{"value": 0}], {}, 1)
LINEAR = Call("addmm.default", [{"weight": 0}, {"value": 1}, {"weight": 1}], {"alpha": 1.5}, 1)
NETWORK = ExportedNetwork(
    weights=(
        Weight("fc.bias", "float32", (10,), learns=True),
        Weight("fc.weight", "float16", (4, 10)),
        Weight("", "uint8", (3, 256)),
    ),
    graph=Graph((RELU, LINEAR), 2),
    steps=(Step(table=2), Step(graph=Graph((RELU,), 1))),
    batch=2,
    dtype="float32",
    device="cpu",
    chance=None,
    sample=2,
)
WEIGHTS = bytes(NETWORK.weight_bytes)
HEADER: dict[str, Any] = json.loads(to_bytes(NETWORK, b"", b"")[8:])
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.sampled_from(["", "relu.default", "system.default", "cuda", "value", "float32", "x" * 300, "\ud800"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["value", "weight", "dtype"]), inner),
    max_leaves=6,
)


def read(header: Any) -> ExportedNetwork:
    """Read a header with the weights and scores that belong to `NETWORK`."""
    text = json.dumps(header).encode()
    return from_bytes(len(text).to_bytes(8, "little") + text + WEIGHTS + SCORES)[0]


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The path of everything inside a header."""
    inside = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, each in inside for deeper in places(each, (*path, key)))]


PLACES = [path for path in places(HEADER) if path]


def changed(path: tuple[Any, ...], value: Any) -> dict[str, Any]:
    header = copy.deepcopy(HEADER)
    at: Any = header
    for key in path[:-1]:
        at = at[key]
    at[path[-1]] = value
    return header


def test_what_was_written_is_read() -> None:
    network, weights, scores = from_bytes(to_bytes(NETWORK, WEIGHTS, SCORES))
    assert network == NETWORK
    assert (bytes(weights), bytes(scores)) == (WEIGHTS, SCORES)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=300))
def test_any_bytes_are_no_network(data: bytes) -> None:
    with pytest.raises(NoNetwork):
        from_bytes(data)


@settings(max_examples=500, deadline=None)
@given(st.sampled_from(PLACES), ANYTHING)
def test_anything_at_any_place_is_read_or_refused(path: tuple[Any, ...], value: Any) -> None:
    try:
        network = read(changed(path, value))
    except NoNetwork:
        return
    calls = [
        call for graph in (network.graph, *(step.graph for step in network.steps if step.graph)) for call in graph.calls
    ]
    assert {call.operation for call in calls} <= {"relu.default", "addmm.default"}


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("graph", "calls", 0, "operation"), "system.default"),
        (("graph", "calls", 0, "operation"), "relu.default.x"),
        (("graph", "calls", 0, "operation"), "rand.default"),
        (("graph", "calls", 0, "operation"), "__class__.default"),
        (("graph", "calls", 0, "args"), [{"value": 1}]),
        (("graph", "calls", 0, "args"), [{"value": -1}]),
        (("graph", "calls", 0, "args"), [{"weight": 3}]),
        (("graph", "calls", 0, "args"), [{"code": "exit()"}]),
        (("graph", "calls", 0, "args"), [[[[[[[0]]]]]]]),
        (("graph", "calls", 0, "args"), [[0] * 5000]),
        (("graph", "calls", 0, "args"), [2**63 - 1]),
        (("graph", "calls", 0, "args"), [[-(2**40)]]),
        (("graph", "calls", 1, "kwargs"), {"__init__": 1, "a-b": 2}),
        (("graph", "output"), 3),
        (("weights", 0, "shape"), [1 << 40]),
        (("weights", 0, "shape"), [-10]),
        (("weights", 0, "dtype"), "object"),
        (("steps", 0, "table"), 0),
        (("batch",), 0),
        (("batch",), True),
        (("device",), "/dev/sda"),
    ],
)
def test_what_may_not_be_replayed_is_refused(path: tuple[Any, ...], value: Any) -> None:
    with pytest.raises(NoNetwork):
        read(changed(path, value))


def test_more_weights_than_may_be_are_refused_before_they_are_looked_for() -> None:
    heavy = replace(NETWORK, weights=(Weight("", "uint8", (MOST_BYTES,)), Weight("", "uint8", (1,))), steps=())
    with pytest.raises(NoNetwork, match="too many weights"):
        from_bytes(to_bytes(heavy, b"", SCORES))


def test_a_slice_to_the_end_may_have_the_largest_number() -> None:
    sliced = Call("slice.Tensor", [{"value": 0}, 1, 0, 2**63 - 1], {}, 1)
    network = replace(NETWORK, graph=Graph((sliced,), 1))
    assert from_bytes(to_bytes(network, WEIGHTS, SCORES))[0] == network


@pytest.mark.parametrize(("count", "size"), [(200, 50_000), (200, 7), (1, 1), (8, 8)])
def test_a_sample_is_of_the_training_set_and_the_same_each_time(count: int, size: int) -> None:
    rows = sample_rows(count, size)
    assert len(rows) == count
    assert rows == sorted(rows) == sample_rows(count, size)
    assert 0 <= rows[0] <= rows[-1] < size


def test_a_sample_has_all_classes_also_where_they_take_turns_or_come_one_after_the_other() -> None:
    rows = sample_rows(200, 50_000)
    assert {row % 10 for row in rows} == {row // 5_000 for row in rows} == set(range(10))
