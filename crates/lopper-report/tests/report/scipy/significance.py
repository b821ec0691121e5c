#!/usr/bin/env python3
"""Writes mcnemar.csv, holm.csv and bootstrap.csv beside it: what statsmodels and scipy say of two models on the same examples.
Made with scipy 1.16.3, numpy 2.3.5, statsmodels 0.14.6, scikit-learn 1.7.2.

    pip install scipy==1.16.3 numpy==2.3.5 statsmodels==0.14.6 scikit-learn==1.7.2 && ./significance.py
"""
import csv
import pathlib

import numpy
import scipy
import sklearn
import statsmodels
from scipy import stats
from sklearn.metrics import f1_score, matthews_corrcoef
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

print("scipy", scipy.__version__, "numpy", numpy.__version__, "statsmodels", statsmodels.__version__, "sklearn", sklearn.__version__)
folder = pathlib.Path(__file__).parent


def write(name, header, rows):
    with open(folder / name, "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(header)
        table.writerows(rows)


# b and c: examples that one alone answers rightly. statsmodels corrects b = c, too, which makes p < 1 of no difference.
counts = [(b, c) for b in (0, 1, 2, 3, 5, 8, 12, 13, 20, 24) for c in (0, 1, 2, 7, 11, 12, 13, 24, 25, 40) if b + c < 25 or b != c]
counts += [(300, 250), (1000, 1100), (37, 12), (26, 0), (0, 25), (0, 24), (60, 59)]
rows = []
for b, c in counts:
    exact = b + c < 25
    p = mcnemar([[7, b], [c, 9]], exact=exact, correction=True).pvalue
    rows.append([b, c, repr(float(p))])
write("mcnemar.csv", ["first_only", "second_only", "p"], rows)

random = numpy.random.default_rng(57)
rows = []
for n in (1, 2, 3, 5, 9, 20):
    for scale in (0.02, 0.2, 1.0):
        p = random.random(n) * scale
        if n == 5:
            p[3] = p[1]
        corrected = multipletests(p, method="holm")[1]
        rows.append([" ".join(repr(float(x)) for x in p), " ".join(repr(float(x)) for x in corrected)])
write("holm.csv", ["p", "corrected"], rows)


def rate(errors, symbols):
    return errors.sum() / symbols.sum()


def accuracy(predicted, truth):
    return (predicted == truth).mean()


def f1(predicted, truth):
    both = 2 * (predicted & truth).sum()
    return both / (predicted.sum() + truth.sum())


def matthews(predicted, truth):
    return numpy.corrcoef(predicted, truth)[0, 1]


def spearman(predicted, truth):
    return numpy.corrcoef(stats.rankdata(predicted), stats.rankdata(truth))[0, 1]


def pearson(predicted, truth):
    return numpy.corrcoef(predicted, truth)[0, 1]


# Written out, because the libraries' own take a hundred times as long for each resample.
a, b = random.integers(0, 2, 50), random.integers(0, 2, 50)
assert abs(f1(a, b) - f1_score(b, a)) < 1e-12 and abs(matthews(a, b) - matthews_corrcoef(b, a)) < 1e-12
assert abs(spearman(a, b) - stats.spearmanr(a, b).statistic) < 1e-12


def case(name, metric, first, second, truth):
    """The difference, and its interval by scipy's own paired bootstrap."""
    def difference(a, b, t):
        return metric(a, t) - metric(b, t)

    found = stats.bootstrap(
        (first, second, truth), difference, paired=True, vectorized=False, n_resamples=10_000, method="percentile", rng=57
    )
    ends = [difference(first, second, truth), found.confidence_interval.low, found.confidence_interval.high]
    text = lambda values: " ".join(repr(v) for v in values.tolist())
    return [name] + [repr(float(x)) for x in ends] + [text(first), text(second), text(truth)]


rows = []
for name, metric in (("accuracy", accuracy), ("f1", f1), ("matthews", matthews)):
    for n, good, better in ((200, 0.7, 0.75), (400, 0.6, 0.85)):
        truth = random.integers(0, 2, n)
        first = numpy.where(random.random(n) < better, truth, 1 - truth)
        second = numpy.where(random.random(n) < 0.6, first, numpy.where(random.random(n) < good, truth, 1 - truth))
        rows.append(case(name, metric, first, second, truth))
for name, metric in (("pearson", pearson), ("spearman", spearman)):
    n = 150
    truth = numpy.round(random.normal(size=n) * 2) / 2
    first = numpy.round(truth + random.normal(size=n) * 0.6, 3)
    second = numpy.round(truth + random.normal(size=n) * 0.9, 3)
    rows.append(case(name, metric, first, second, truth))
symbols = random.integers(3, 30, 120)
first, second = random.binomial(symbols, 0.12), random.binomial(symbols, 0.15)
rows.append(case("wer", rate, first, second, symbols))
write("bootstrap.csv", ["metric", "difference", "low", "high", "first", "second", "truth"], rows)
