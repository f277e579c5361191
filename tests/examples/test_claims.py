"""The verdict on a claim: how often it is wrong, how often it is undecided, and what it says."""

import math
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from common.claims import Effect, decide
from numpy.typing import NDArray

Draw = Callable[[np.random.Generator], NDArray[np.float64]]
TRIALS = 2500


def rates(draw: Draw, effects: int = 1, **region: float) -> dict[str, float]:
    """Return how often each verdict is given, for effects drawn independently."""
    rng = np.random.default_rng(0)
    claims = ([Effect(str(i), draw(rng), "nats", **region) for i in range(effects)] for _ in range(TRIALS))
    counts = Counter(decide(*claim).verdict for claim in claims)
    return {verdict: counts[verdict] / TRIALS for verdict in ("reproduced", "refuted", "undecided")}


def normal(mean: float, seeds: int = 5) -> Draw:
    return lambda rng: rng.normal(mean, 1.0, seeds)


def five_errors(rate: float) -> float:
    """Return five standard errors of an estimated rate."""
    return 5 * math.sqrt(rate * (1 - rate) / TRIALS)


@pytest.mark.parametrize("seeds", [2, 5, 20])
def test_a_claim_at_its_threshold_is_wrongly_decided_in_five_percent(seeds: int) -> None:
    found = rates(normal(3.0, seeds), above=3.0)
    assert found["reproduced"] == pytest.approx(0.025, abs=five_errors(0.025))
    assert found["refuted"] == pytest.approx(0.025, abs=five_errors(0.025))


def test_a_false_claim_is_rarely_reproduced_and_a_true_one_is_rarely_refuted() -> None:
    assert rates(normal(-0.5), above=0.0)["reproduced"] < 0.025
    assert rates(normal(0.5), above=0.0)["refuted"] < 0.025
    assert rates(normal(0.5), below=0.0)["reproduced"] < 0.025


def test_skewed_effects_are_wrongly_decided_more_often() -> None:
    found = rates(lambda rng: rng.exponential(1.0, 5), above=1.0)
    assert found["reproduced"] + found["refuted"] < 0.15


@pytest.mark.parametrize("effects", [2, 8])
def test_several_effects_together_are_wrongly_decided_in_at_most_five_percent(effects: int) -> None:
    found = rates(normal(0.0), effects, above=0.0)
    assert found["refuted"] == pytest.approx(0.025, abs=five_errors(0.025))
    assert found["reproduced"] < 0.003


def test_power() -> None:
    assert rates(normal(3.0), above=0.0)["reproduced"] > 0.98  # three standard deviations, five seeds
    assert rates(normal(3.0), below=0.0)["refuted"] > 0.98
    assert rates(normal(1.0), above=0.0)["undecided"] > 0.5
    assert rates(normal(1.0, 20), above=0.0)["reproduced"] > 0.95
    assert rates(normal(0.0, 5), 3, above=-5.0, below=5.0)["reproduced"] > 0.95


def test_a_small_gap_is_undecided_if_it_is_imprecise_and_reproduced_if_it_is_precise() -> None:
    gap = np.array([-0.02, 0.03, 0.01, -0.01, 0.02])
    region = {"above": -0.1, "below": 0.1}
    assert decide(Effect("gap", gap, "nats", **region)).verdict == "reproduced"
    assert decide(Effect("gap", 20 * gap, "nats", **region)).verdict == "undecided"
    assert decide(Effect("gap", gap + 1, "nats", **region)).verdict == "refuted"


def test_pairing_removes_what_both_models_of_a_seed_share() -> None:
    seeds = np.array([3.0, -4.0, 0.5, 2.0, -1.0])
    first, second = seeds + 0.3 + 0.01 * np.arange(5), seeds
    low, high = Effect("gain", first - second, "nats").interval()[1:]
    assert 0.29 < low < high < 0.35


def test_equal_effects_are_decided_and_one_seed_is_not() -> None:
    assert decide(Effect("passes", [64.0] * 5, "", above=63.5, below=64.5)).verdict == "reproduced"
    one = decide(Effect("gain", [9.0], "nats", above=0))
    assert one.verdict == "undecided"
    assert str(one) == "undecided (95 % intervals, 1 seed)\ngain: 9.00 nats (no interval; claimed: above 0)"


def test_an_effect_that_is_not_trained_leaves_the_claim_undecided_and_counts_in_the_level() -> None:
    missing = Effect("gain of sounds", [], "", above=0)
    found = decide(Effect("gain", [1.0, 1.1, 1.2], "nats", above=0), missing)
    assert str(found).splitlines()[0] == "undecided (97.5 % intervals, 3 seeds)"
    assert found.effects[1] == "gain of sounds: not trained yet"
    assert decide(Effect("gain", [-1.0, -1.1, -1.2], "nats", above=0), missing).verdict == "refuted"


def test_the_text_has_the_interval_and_the_unit() -> None:
    gain = Effect("gain", [1.0, 2.0, 3.0], "nats", above=0)
    first, second = str(decide(gain)).splitlines()
    assert first == "undecided (95 % intervals, 3 seeds)"
    assert second == "gain: 2.0 nats (-0.5 to 4.5; claimed: above 0)"
    assert "97.5 % intervals" in str(decide(gain, gain))


def test_effects_must_be_finite() -> None:
    with pytest.raises(ValueError, match="gain: expected one finite number per seed"):
        decide(Effect("gain", [1.0, math.nan], "nats", above=0))
