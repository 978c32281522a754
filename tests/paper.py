"""The paper's numbers that tests compare with (arXiv 1802.02611, Tables 3 and 5)."""

MULTI_SCALE = (0.5, 0.75, 1.0, 1.25, 1.5, 1.75)

TABLE_3 = [
    # eval output stride, decoder, multi-scale, flip, multiply-adds in 10^9
    (16, False, False, False, 81.02),
    (8, False, False, False, 276.18),
    (8, False, True, False, 2435.37),
    (8, False, True, True, 4870.59),
    (16, True, False, False, 101.28),
    (16, True, True, False, 898.69),
    (16, True, True, True, 1797.23),
    (8, True, False, False, 297.92),
    (8, True, True, False, 2623.61),
    (8, True, True, True, 5247.07),
    (32, False, False, False, 52.43),
    (32, True, False, False, 74.20),
    (16, True, False, False, 101.28),
    (8, True, False, False, 297.92),
]

TABLE_5 = [
    # eval output stride, decoder, multi-scale, flip, separable, multiply-adds in 10^9
    (16, False, False, False, False, 68.00),
    (16, False, True, False, False, 601.74),
    (16, False, True, True, False, 1203.34),
    (8, False, False, False, False, 240.85),
    (8, False, True, False, False, 2149.91),
    (8, False, True, True, False, 4299.68),
    (16, True, False, False, False, 89.76),
    (16, True, True, False, False, 790.12),
    (16, True, True, True, False, 1580.10),
    (8, True, False, False, False, 262.59),
    (8, True, True, False, False, 2338.15),
    (8, True, True, True, False, 4676.16),
    # the next four rows come three times: without COCO, with it, with JFT too
    (16, True, False, False, True, 54.17),
    (16, True, True, True, True, 928.81),
    (8, True, False, False, True, 177.10),
    (8, True, True, True, True, 3055.35),
]

PRINTED_BUT_INCONSISTENT = 101.28
"""Two rows of Table 3 print this; by the rule, and by the multi-scale rows of the same network,
it is 102.78."""
