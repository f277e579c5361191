"""The masks of MADE.

A masked layer multiplies its weights by a matrix of zeros and ones, so that every output depends only on inputs that
come before it in a chosen order of the variables.

MADE gives every unit a degree. The d-th variable in the order has degree d, as input and as output. A hidden unit of
degree m depends on at most the first m variables. The connections that remain are

    M[j, k] = 1 if m(k) ≥ m(j)     from an input or hidden unit j to a hidden unit k
    M[k, d] = 1 if d > m(k)        from a hidden unit k to an output of degree d

For three variables in their natural order and one layer of four hidden units:

               hidden  m = 1 1 2 2                   output  d = 1 2 3
    input  d = 1           1 1 1 1      hidden  m = 1            0 1 1
           d = 2           0 0 1 1              m = 1            0 1 1
           d = 3           0 0 0 0              m = 2            0 0 1
                                                m = 2            0 0 1

The spatial masks A and B of the PixelCNN are sets of taps, `taps.causal`; at the centre pixel, the channels are masked
as in MADE (`MaskedConv` in masked.py).

Source: Germain, Gregor, Murray & Larochelle, "MADE: Masked Autoencoder for Distribution Estimation", 2015, section 4.
Checked by: tests/nn/test_made_masks.py
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..arguments import explained
from ..autograd import Array
from ..checks import check_counts

Order = Sequence[int] | Array


@explained
def made_degrees(
    order: Order, hidden: Sequence[int], rng: np.random.Generator | None = None, lowest: int = 1
) -> list[Array]:
    """Return the degrees of the variables and of the units of each hidden layer, [(D,), (hidden[0],), …] of int32.

    No degree is below the minimum of the previous hidden layer, since the unit would have no inputs. A unit of degree 0
    depends on no variable, only on the context if there is one. If D = 1, every hidden degree is 0.

    Args:
        order: a permutation of 0…D−1; order[0] is the variable that is sampled first.
        hidden: number of units in each hidden layer.
        rng: draws the hidden degrees at random. Without it, they are spread evenly over lowest…D−1.
        lowest: smallest hidden degree.

    Raises: ValueError if order is not a permutation or a hidden layer has no units.
    """
    if hidden:
        check_counts("hidden", hidden)
    order = np.asarray(order)
    variables = order.size
    if order.ndim != 1 or variables < 1 or not np.array_equal(np.sort(order), np.arange(variables)):
        raise ValueError(f"order: expected a permutation of 0…{variables - 1}, got {order}")
    degrees = [np.argsort(order) + 1]
    lowest = min(lowest, variables - 1)
    for units in hidden:
        if rng is None:  # the midpoints of `units` equal parts of [lowest, D]
            degrees.append(lowest + (2 * np.arange(units) + 1) * (variables - lowest) // (2 * units))
        else:
            degrees.append(rng.integers(lowest, variables, units))
        lowest = degrees[-1].min()
    return [each.astype(np.int32) for each in degrees]


def made_masks(degrees: Sequence[Array], width: int = 1) -> list[Array]:
    """Return the masks of all layers, boolean (n_in, n_out), given the degrees of their units.

    The output layer has `width` adjacent outputs per variable. Without hidden layers, the only mask is that of direct
    connections from the variables to the outputs.

    Example:
        >>> made_masks(made_degrees([0, 1, 2], [4]))[0].astype(int).tolist()
        [[1, 1, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]]
    """
    outputs = np.repeat(degrees[0], width)
    between = [after >= before[:, None] for before, after in pairwise(degrees)]
    return [*between, outputs > degrees[-1][:, None]]
