#!/usr/bin/env python3
"""Writes quantiles.csv and intervals.csv beside it: what scipy says of Student's t. Made with scipy 1.16.3, numpy 2.3.5.

    pip install scipy==1.16.3 numpy==2.3.5 && ./make.py
"""
import csv
import pathlib

import numpy
import scipy
from scipy import stats

print("scipy", scipy.__version__, "numpy", numpy.__version__)
folder = pathlib.Path(__file__).parent
with open(folder / "quantiles.csv", "w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["degrees", "t"])
    for degrees in [*range(1, 41), 50, 99, 100, 999, 1000]:
        rows.writerow([degrees, repr(float(stats.t.ppf(0.975, degrees)))])

random = numpy.random.default_rng(57)
with open(folder / "intervals.csv", "w", newline="") as file:
    rows = csv.writer(file)
    rows.writerow(["mean", "low", "high", "p", "values"])
    for n in [2, 3, 3, 3, 4, 5, 7, 10, 10, 30]:
        values = random.normal(random.normal() * 0.05, 0.03, n)
        low, high = stats.t.interval(0.95, n - 1, loc=values.mean(), scale=stats.sem(values))
        p = stats.ttest_1samp(values, 0.0).pvalue
        rows.writerow([repr(float(x)) for x in (values.mean(), low, high, p)] + [" ".join(repr(float(v)) for v in values)])
