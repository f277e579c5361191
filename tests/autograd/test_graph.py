"""to_dot: the output has the expected syntax and contains every node and edge once."""

from __future__ import annotations

import re

import numpy as np

from tinygen.autograd import Parameter, Tensor, exp, to_dot

NODE = re.compile(r'  (n\d+) \[label="(\w+)\\n(\([\d, ]*\))" (\S+)\]')
EDGE = re.compile(r"  (n\d+) -> (n\d+)")


def test_to_dot_contains_every_node_and_edge() -> None:
    w, x = Parameter(np.ones((2, 3))), Tensor(np.ones((4, 2), np.float32))
    y = x @ w
    lines = to_dot((exp(y) * y).sum()).splitlines()
    assert lines[:2] == ["digraph {", "  rankdir=TB"]
    assert lines[-1] == "}"
    nodes = [match.groups() for match in map(NODE.fullmatch, lines) if match]
    edges = [match.groups() for match in map(EDGE.fullmatch, lines) if match]
    assert len(nodes) + len(edges) + 3 == len(lines)  # every line was matched
    assert sorted((label, shape, style) for _, label, shape, style in nodes) == [
        ("Parameter", "(2, 3)", "style=filled"),
        ("Tensor", "(4, 2)", "shape=ellipse"),
        ("exp", "(4, 3)", "shape=box"),
        ("matmul", "(4, 3)", "shape=box"),
        ("multiply", "(4, 3)", "shape=box"),
        ("sum", "()", "shape=box"),
    ]
    names = {name: label for name, label, *_ in nodes}
    assert len(names) == len(nodes)
    assert sorted((names[a], names[b]) for a, b in edges) == [
        ("Parameter", "matmul"),
        ("Tensor", "matmul"),
        ("exp", "multiply"),
        ("matmul", "exp"),
        ("matmul", "multiply"),
        ("multiply", "sum"),
    ]


def test_to_dot_of_a_leaf_and_of_a_deep_graph() -> None:
    assert '"Tensor\\n()"' in to_dot(Tensor(1.0))
    x = Tensor(0.0)
    for _ in range(20_000):
        x = x + 1
    assert to_dot(x).count("->") == 20_000
