"""Extended Figure 5C: hill climbing through random invertible networks.

`networks` warp the space, `ascent` and `climbs` walk in it, many seeds at once, and `philox` draws
the start points that a GPU drew. The searches of real generators are `core.utils.optimizers`.
"""
