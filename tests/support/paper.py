"""Multiply-adds that the paper prints, in 10^9, row by row (arXiv 1802.02611, Tables 3 and 5)."""

TABLE_3 = [
    81.02, 276.18, 2435.37, 4870.59, 101.28, 898.69, 1797.23,
    297.92, 2623.61, 5247.07, 52.43, 74.20, 101.28, 297.92,
]  # fmt: skip

TABLE_5 = [
    68.00, 601.74, 1203.34, 240.85, 2149.91, 4299.68,
    89.76, 790.12, 1580.10, 262.59, 2338.15, 4676.16,
    # three times: without COCO, with it, with JFT too
    *3 * [54.17, 928.81, 177.10, 3055.35],
]  # fmt: skip

PRINTED_BUT_INCONSISTENT = 101.28
"""Two rows of Table 3 print this; by the rule, and by the multi-scale rows of the same network,
it is 102.78."""
