"""Export a graph as DOT text, which Graphviz renders.

Checked by: tests/autograd/test_graph.py
"""

from ..arguments import explained
from .parameter import Parameter
from .tensor import Tensor


@explained
def to_dot(output: Tensor) -> str:
    r"""Return the graph that computed a tensor as DOT text, which `dot -Tpng` renders.

    Operations are boxes with their name and shape; other tensors are ellipses, filled for parameters.

    Example:
        >>> x = Tensor(2.0)
        >>> print(to_dot(x * x))
        digraph {
          rankdir=TB
          n... [label="Tensor\n()" shape=ellipse]
          n... [label="multiply\n()" shape=box]
          n... -> n...
          n... -> n...
        }
    """
    found, stack = {id(output): output}, [output]
    arrows: list[tuple[int, int]] = []
    while stack:
        tensor = stack.pop()
        for parent, _ in tensor.edges:
            arrows.append((parent.order, tensor.order))
            if id(parent) not in found:
                found[id(parent)] = parent
                stack.append(parent)
    lines = ["digraph {", "  rankdir=TB"]
    for tensor in sorted(found.values(), key=lambda tensor: tensor.order):
        leaf = "Parameter" if isinstance(tensor, Parameter) else "Tensor"
        style = "shape=box" if tensor.op else "style=filled" if isinstance(tensor, Parameter) else "shape=ellipse"
        lines.append(f'  n{tensor.order} [label="{tensor.op or leaf}\\n{tensor.shape}" {style}]')
    lines += [f"  n{parent} -> n{child}" for parent, child in sorted(arrows)]
    return "\n".join([*lines, "}"]) + "\n"
