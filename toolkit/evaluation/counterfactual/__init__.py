"""Counterfactuals: the fewest and smallest changes that bring a row to the other side of a score.

Wachter, Mittelstadt & Russell 2018 (arXiv:1711.00399): the nearest row that the model judges otherwise, in
units of the median absolute deviation; Mothilal, Sharma & Tan 2020 (DiCE, doi:10.1145/3351095.3372850): it
should be like real rows, and change little else; Ustun, Spangher & Liu 2019 (doi:10.1145/3287560.3287566):
over a grid of actions that are open to somebody, and honest where there is none.

    found = search(X, judge, levers(node.features, columns, reference)[0], reference, most=3, tries=20_000, seconds=0.5)
"""
