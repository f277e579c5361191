"""Sums over ranks are those of one process, and errors reach every rank. The ranks are threads: no MPI is needed."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from helpers import mpi_runs
from helpers.communicators import ThreadCommunicator, run_ranks
from hypothesis import given, settings
from hypothesis import strategies as st

from tinygen import get_num_threads, nn, set_num_threads
from tinygen.distributed import mean_log_prob
from tinygen.distributed.ranks import LAUNCHERS, MPIRanks, Ranks, ranks_of, warn_if_launched
from tinygen.models import MADE
from tinygen.optim import SGD
from tinygen.training import Event, fit
from tinygen.training.interrupt import deferred_interrupt


@given(
    size=st.integers(1, 5), more=st.integers(0, 6), shapes=st.lists(st.sampled_from([(), (1,), (7,), (2, 3), (0,)]),
    min_size=1, max_size=4), double=st.integers(0, 4), seed=st.integers(0, 2**32),
)  # fmt: skip
def test_sum_over_ranks_is_bitwise_the_sum_in_order(
    size: int, more: int, shapes: list[tuple[int, ...]], double: int, seed: int
) -> None:
    """For any number of parts, float32 and float64 arrays of any shape, and parts of very different sizes."""
    rng, count = np.random.default_rng(seed), size + more
    parts = [
        [np.asarray(rng.normal() * 10.0 ** rng.integers(9) * rng.normal(size=shape), np.float64) for shape in shapes]
        for _ in range(count)
    ]
    for part in parts:
        part[double:] = [array.astype(np.float32) for array in part[double:]]
    expected = [array.copy() for array in parts[0]]
    for part in parts[1:]:
        expected = [np.asarray(a + b) for a, b in zip(expected, part, strict=True)]

    def add(comm: ThreadCommunicator) -> list[Any]:
        ranks = MPIRanks(comm)
        return ranks.add([[array.copy() for array in parts[i]] for i in ranks.share(count)], count)

    copies = [[array.copy() for array in part] for part in parts]
    for sums in [*run_ranks(size, add), Ranks().add(copies, count)]:
        for actual, wanted in zip(sums, expected, strict=True):
            np.testing.assert_array_equal(actual, wanted, strict=True)


@settings(max_examples=10)
@given(size=st.integers(1, 4), shards=st.integers(4, 9), name=st.sampled_from(mpi_runs.MODELS))
def test_training_depends_on_the_shards_and_not_on_the_ranks(size: int, shards: int, name: str) -> None:
    expected = mpi_runs.train(name, 3, shards=shards)
    results = run_ranks(size, lambda comm: mpi_runs.train(name, 3, shards=shards, comm=comm))
    for state, history, number in results:
        assert (history, number) == (expected.history, expected.rng)
        for key, value in expected.state.items():
            np.testing.assert_array_equal(state[key], value, strict=True)


def train(comm: ThreadCommunicator, **changes: Any) -> Any:
    """Train a MADE. If a change is a function, it maps the rank to the setting."""
    settings = {name: change(comm.rank) if callable(change) else change for name, change in changes.items()}
    rng = np.random.default_rng(settings.pop("seed", 0))
    model, data = MADE((2, 2), 2, np.random.default_rng(settings.pop("model_seed", 0)), hidden=(4,)), np.eye(4)
    data = settings.pop("data", data).reshape(-1, 2, 2).astype(int)
    options: dict[str, Any] = {"batch_size": 4, "steps": 2, "progress": False, "every": 1}
    return fit(
        model.loss, model, data, rng=rng, optimizer=SGD(model.parameters(), 0.1), comm=comm, **{**options, **settings}
    )


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"seed": lambda rank: rank}, r"seed: .*got \[0, \(\)\] on rank 0 and \[1, \(\)\] on rank 1"),
        ({"model_seed": lambda rank: rank}, "expected the same on all ranks at the start, got float32"),
        ({"data": lambda rank: np.eye(4) if rank else 1 - np.eye(4)}, "data: expected the same on all ranks"),
        ({"steps": lambda rank: 2 + rank}, "steps: expected the same on all ranks at the start, got 2 on rank 0"),
        ({"every": lambda rank: 1 + rank}, "every: expected the same on all ranks"),
        ({"shards": 1}, "shards: expected at least the 2 ranks of comm, got 1"),
        ({"batch_size": 1}, "batch_size and the number of examples: expected at least the 2 ranks of comm, got 1"),
        ({"checkpoint": "nowhere/run.npz"}, "checkpoint: expected a file in a folder that exists, got nowhere"),
    ],
)
def test_every_rank_raises_the_error_of_an_argument(changes: dict[str, Any], message: str) -> None:
    def expect_error(comm: ThreadCommunicator) -> None:
        with pytest.raises(ValueError, match=message):
            train(comm, **changes)

    run_ranks(2, expect_error)


@pytest.mark.parametrize("where", ["validate", "on_record"])
def test_every_rank_raises_an_error_that_only_rank_0_has(where: str) -> None:
    def fail(*event: Any) -> Any:
        raise ArithmeticError("in rank 0")

    def expect_error(comm: ThreadCommunicator) -> None:
        with pytest.raises(ArithmeticError, match="in rank 0"):
            train(comm, **{where: lambda rank: None if rank and where == "validate" else fail})

    run_ranks(2, expect_error)


def test_only_rank_0_calls_callbacks_and_its_decision_stops_all() -> None:
    calls = []

    def stop_at_2(comm: ThreadCommunicator) -> Any:
        def callback(event: Event) -> bool:
            calls.append(comm.rank)
            return event.record.step == 2

        return train(comm, steps=4, on_record=[callback])

    histories = run_ranks(2, stop_at_2)
    assert [[record.step for record in history.records] for history in histories] == [[1, 2], [1, 2]]
    assert calls == [0, 0]


def test_only_rank_0_writes_files(tmp_path: Path) -> None:
    run_ranks(2, lambda comm: train(comm, checkpoint=tmp_path / f"{comm.rank}.npz", history=tmp_path / f"{comm.rank}"))
    assert {path.name for path in tmp_path.iterdir()} == {"0", "0.npz"}


def test_an_error_that_cannot_be_pickled_keeps_its_text() -> None:
    class LocalError(Exception):
        pass

    def fail() -> None:
        raise LocalError("a text")

    def expect_error(comm: ThreadCommunicator) -> None:
        with pytest.raises(RuntimeError, match="rank 0 failed with LocalError: a text"):
            MPIRanks(comm).call_on_root(fail)

    run_ranks(2, expect_error)


def test_parameters_that_become_different_are_found_at_the_next_record() -> None:
    """For example, because a loss uses a generator that is not the one it gets, or the CPUs are different."""

    def expect_error(comm: ThreadCommunicator) -> None:
        net = nn.Linear(1, 1, np.random.default_rng(0))

        def loss(x: Any, *, rng: np.random.Generator) -> Any:
            assert net.b is not None
            net.b.assign(np.full(1, comm.rank, np.float32))
            return (net(x) * net(x)).mean()

        with pytest.raises(ValueError, match="b: expected the same on all ranks after step 3, got float32"):
            fit(
                loss, net, np.ones((4, 1)), optimizer=SGD([net.w], 0.1), batch_size=4, steps=9, every=3,
                rng=np.random.default_rng(0), progress=False, comm=comm,
            )  # fmt: skip

    run_ranks(2, expect_error)


def test_evaluation_with_a_communicator_inside_validate_is_an_error() -> None:
    """Only rank 0 calls `validate`, so it would wait forever for the others."""
    made = MADE((2, 2), 2, np.random.default_rng(0), hidden=(4,))

    def expect_error(comm: ThreadCommunicator) -> None:
        with pytest.raises(ValueError, match="comm: expected None where only rank 0 runs"):
            train(comm, validate=lambda rank: lambda: -mean_log_prob(made, np.ones((4, 2, 2), int), comm=comm))

    run_ranks(2, expect_error)


def test_ranks_of_one_machine_divide_its_cpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)), raising=False)
    before = get_num_threads()
    try:
        for threads, ranks, expected in [(8, 1, 8), (8, 3, 2), (1, 3, 1), (8, 9, 1)]:
            set_num_threads(threads)
            run_ranks(ranks, lambda comm: use_own_cpus(comm, threads, expected))  # noqa: B023
    finally:
        set_num_threads(before)


def use_own_cpus(comm: ThreadCommunicator, threads: int, expected: int) -> None:
    with MPIRanks(comm).own_cpus():
        comm.allgather(None)
        assert get_num_threads() == expected
        comm.allgather(None)
    comm.allgather(None)
    assert get_num_threads() == threads
    comm.allgather(None)  # before the next ranks, or `run_ranks`, set another number


def test_ctrl_c_on_which_the_ranks_do_not_agree_any_more_is_not_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ranks, "agree_on", lambda self, pressed: lambda: False)
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt), deferred_interrupt(lambda: "", Ranks()):
            os.kill(os.getpid(), signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, handler)


@pytest.mark.parametrize("size", LAUNCHERS)
def test_rank_0_of_several_processes_without_a_communicator_gives_a_warning(
    size: str, recwarn: pytest.WarningsRecorder
) -> None:
    for environment in ({}, {size: "1", LAUNCHERS[size]: "0"}, {size: "4", LAUNCHERS[size]: "1"}):
        warn_if_launched(environment)
    assert not recwarn
    with pytest.warns(UserWarning, match=rf"4 processes were started \({size}=4\), and each trains alone"):
        warn_if_launched({size: "4", LAUNCHERS[size]: "0"})


@pytest.mark.parametrize("comm", [2, "world", object()])
def test_rejects_what_is_not_a_communicator(comm: Any) -> None:
    with pytest.raises(ValueError, match=r"comm: expected a communicator of mpi4py, such as MPI\.COMM_WORLD, or None"):
        ranks_of(comm)
