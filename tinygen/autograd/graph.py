"""A look at a graph: DOT text, which Graphviz and many viewers draw.

Checked by: tests/autograd/test_graph.py
"""

from __future__ import annotations

from .tensor import Parameter, Tensor


def to_dot(output: Tensor) -> str:
    """Write the graph that leads to a tensor: a box for each operation with its name and shape, an arrow for each edge.

    Leaves are ellipses, parameters filled ones. Draw it with, say, `dot -Tpng`.
    """
    found, todo = {id(output): output}, [output]
    arrows: list[tuple[int, int]] = []
    while todo:
        tensor = todo.pop()
        for parent, _ in tensor.edges:
            arrows.append((parent.order, tensor.order))
            if id(parent) not in found:
                found[id(parent)] = parent
                todo.append(parent)
    lines = ["digraph {", "  rankdir=TB"]
    for tensor in sorted(found.values(), key=lambda tensor: tensor.order):
        leaf = "Parameter" if isinstance(tensor, Parameter) else "Tensor"
        style = "shape=box" if tensor.op else "style=filled" if isinstance(tensor, Parameter) else "shape=ellipse"
        lines.append(f'  n{tensor.order} [label="{tensor.op or leaf}\\n{tensor.shape}" {style}]')
    lines += [f"  n{parent} -> n{child}" for parent, child in sorted(arrows)]
    return "\n".join([*lines, "}"]) + "\n"
