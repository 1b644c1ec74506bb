"""Extended Figure 5C: hill climbing through random invertible networks."""
