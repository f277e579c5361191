"""Several players, each with a loss and an optimiser: alternating updates, exact resume, and argument checks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinygen import nn
from tinygen.autograd import Array, Parameter, Tensor
from tinygen.optim import EMA, SGD, Adam
from tinygen.training import CheckpointError, History, fit

DATA = np.arange(1.0, 7.0)[:, None]


class Game(nn.Module):
    """f(a, b) = mean(x) a b, which the first player maximises and the second minimises."""

    def __init__(self) -> None:
        self.a, self.b = Parameter(np.array(1.0)), Parameter(np.array(2.0))

    def first(self, x: Array, *, rng: np.random.Generator) -> Tensor:
        return -(self.a * self.b.value * x).mean() + 0 * rng.normal()

    def second(self, x: Array, *, rng: np.random.Generator) -> Tensor:
        return (self.b * self.a.value * x).mean()


def play(game: Game, steps: int = 7, **changes: Any) -> History:
    settings: dict[str, Any] = {
        "loss": [game.first, game.second],
        "optimizer": [SGD([game.a], 0.1), SGD([game.b], 0.01)],
        "batch_size": 2,
        "rng": np.random.default_rng(0),
        "steps": steps,
        "progress": False,
    }
    settings |= changes
    return fit(settings.pop("loss"), game, DATA, **settings)


@pytest.mark.parametrize("turns", [None, [0, 0, 1], [1, 0]])
def test_players_alternate_with_their_losses_and_learning_rates(turns: list[int] | None) -> None:
    game = Game()
    history = play(game, turns=turns, every=7)
    a, b, losses, rng = 1.0, 2.0, [], np.random.default_rng(0)
    for step in range(7):
        if step % 3 == 0:
            order = rng.permutation(6)
        mean = DATA[order[step % 3 * 2 : step % 3 * 2 + 2]].mean()
        player = (turns or [0, 1])[step % len(turns or [0, 1])]
        if player == 0:
            losses.append(-mean * a * b)
            a += 0.1 * mean * b
            rng.normal()
        else:
            b -= 0.01 * mean * a
    assert game.a.item() == pytest.approx(a, rel=1e-6)  # parameters are float32
    assert game.b.item() == pytest.approx(b, rel=1e-6)
    assert history.records[-1].loss == pytest.approx(np.mean(losses), rel=1e-6)


def test_averages_are_updated_after_the_step_of_every_player() -> None:
    start, first, second, averaged = (Game() for _ in range(4))
    play(first, 1)
    play(second, 2)
    play(averaged, 2, ema=EMA(averaged.parameters(), 0.5))
    for name, mean in averaged.state().items():
        expected = (start.state()[name] + first.state()[name]) / 4 + second.state()[name] / 2
        np.testing.assert_allclose(mean, expected, rtol=1e-6)  # float32


@pytest.mark.parametrize("stop", range(1, 7))
def test_resumed_game_is_bitwise_equal(stop: int, tmp_path: Path) -> None:
    whole, interrupted, resumed = Game(), Game(), Game()
    play(whole, turns=[0, 0, 1])
    play(interrupted, stop, turns=[0, 0, 1], checkpoint=tmp_path / "game.npz")
    play(resumed, turns=[0, 0, 1], checkpoint=tmp_path / "game.npz")
    for name, value in whole.state().items():
        np.testing.assert_array_equal(resumed.state()[name], value)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"turns": [0, 2]}, "turns: expected each of the players 0…1"),
        ({"turns": [0]}, "turns: expected each of the players 0…1 at least once"),
        ({"optimizer": [SGD([Parameter(np.ones(1))], 0.1)]}, "optimizer: expected one for each of 2 losses, got 1"),
        ({"loss": [lambda x, rng: x, lambda: None]}, "loss: expected a function that can be called as"),
    ],
)
def test_rejects_invalid_arguments(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        play(Game(), **changes)


def test_resumed_game_restores_the_state_of_every_optimizer(tmp_path: Path) -> None:
    def optimizers(game: Game) -> list[Adam]:
        return [Adam([game.a], 0.1), Adam([game.b], 0.03)]

    whole, interrupted, resumed = Game(), Game(), Game()
    play(whole, optimizer=optimizers(whole))
    play(interrupted, 4, optimizer=optimizers(interrupted), checkpoint=tmp_path / "game.npz")
    play(resumed, optimizer=optimizers(resumed), checkpoint=tmp_path / "game.npz")
    for name, value in whole.state().items():
        np.testing.assert_array_equal(resumed.state()[name], value)


def test_rejects_a_checkpoint_with_different_turns(tmp_path: Path) -> None:
    play(Game(), 3, turns=[0, 0, 1], checkpoint=tmp_path / "game.npz")
    with pytest.raises(CheckpointError, match=r"turns is \[0, 0, 1\], not \[0, 1\]"):
        play(Game(), turns=[0, 1], checkpoint=tmp_path / "game.npz")
