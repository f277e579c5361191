"""The steps and samplers that are compared compute the same in every library that is installed."""

from __future__ import annotations

import importlib
from collections.abc import Iterator

import numpy as np
import pytest

from benchmarks.tables import MODULES
from tinygen import get_num_threads, set_num_threads

torch = pytest.importorskip("torch")
timing = importlib.import_module("benchmarks.timing")


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """Small steps on threads that wait for each other would take seconds on a busy machine."""
    threads = get_num_threads(), torch.get_num_threads()
    timing.use_threads(1)
    yield
    set_num_threads(threads[0])
    torch.set_num_threads(threads[1])


@pytest.mark.parametrize("module", MODULES)
def test_libraries_have_the_same_losses(module: str) -> None:
    for case in importlib.import_module(f"benchmarks.{module}").cases(True):
        steps = {name: make() for name, make in (case.check or case.build)(case.batch).items() if name != "JAX"}
        assert {name.split(",")[0] for name in steps} == {"tinygen", "PyTorch"}
        timing.check_same_losses(steps, case.atol)


def test_jax_has_the_same_losses() -> None:
    pytest.importorskip("jax")
    for module in ("mlp", "vae", "flows", "pixelcnn"):
        for case in importlib.import_module(f"benchmarks.{module}").cases(True):
            steps = (case.check or case.build)(case.batch)
            if "JAX" in steps:
                timing.check_same_losses({name: steps[name]() for name in ("tinygen", "JAX")})


def test_different_losses_are_rejected() -> None:
    with pytest.raises(AssertionError, match="step 0"):
        timing.check_same_losses({"tinygen": lambda: 1.0, "PyTorch": lambda: 1.001})


@pytest.mark.parametrize("wrong", [False, True])
def test_cached_samplers_draw_from_the_logits_of_the_network(wrong: bool) -> None:
    cached, pixelcnn, wavenet = (
        importlib.import_module(f"benchmarks.{name}") for name in ("twins.cached", "pixelcnn", "wavenet")
    )
    image_net = pixelcnn.TorchGatedPixelCNN(pixelcnn.make("Gated PixelCNN", 6, 4, 3))
    sequence_net = wavenet.TorchWaveNet(wavenet.make(12, 4, 3))
    with torch.no_grad():
        images, image_logits = cached.GatedPixelCNNSampler(image_net).sample(2, 6, 6)
        sequences, sequence_logits = cached.WaveNetSampler(sequence_net).sample(2, 12)
    assert len(np.unique(images)) == 2
    if wrong:
        images, sequences = 1 - images, sequences.flip(1)
    for x, logits, network in (
        (images, image_logits, lambda x: image_net(x[:, None].float()).permute(0, 2, 3, 1)),
        (sequences, sequence_logits, lambda x: sequence_net(x).transpose(1, 2)),
    ):
        if wrong:
            with pytest.raises(AssertionError):
                cached.check_logits(x, logits, network)
        else:
            cached.check_logits(x, logits, network)
