#!/usr/bin/env python3
"""Writes fixtures/metrics.json: random cases with the answers of scikit-learn and scipy.

python crates/lopper-metrics/tests/make_metric_fixtures.py   (numpy, scikit-learn, scipy)
"""
import json
import warnings
from pathlib import Path

import numpy as np
from scipy.stats import pearsonr, spearmanr
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

warnings.simplefilter("ignore")
rng = np.random.default_rng(20211)


def classes(predicted, truth):
    return {
        "predicted": predicted.tolist(),
        "truth": truth.tolist(),
        "accuracy": float(accuracy_score(truth, predicted)),
        "f1": float(f1_score(truth == 1, predicted == 1, zero_division=0)),
        "matthews": float(matthews_corrcoef(truth, predicted)),
    }


def values(predicted, truth):
    # None stands for scipy's NaN.
    answer = [float(f(predicted, truth).statistic) for f in (pearsonr, spearmanr)]
    return {
        "predicted": predicted.tolist(),
        "truth": truth.tolist(),
        "pearson": None if np.isnan(answer[0]) else answer[0],
        "spearman": None if np.isnan(answer[1]) else answer[1],
    }


def random_classes(case):
    n, k = int(rng.integers(1, 40)), (2, 2, 3, 5)[case % 4]
    share = rng.uniform(0, 1, k) ** 3 + 1e-9
    truth = rng.choice(k, n, p=share / share.sum())
    predicted = np.where(rng.random(n) < rng.random(), truth, rng.integers(0, k, n))
    if case % 10 == 0:
        predicted[:] = case // 10 % k
    if case % 15 == 0:
        truth[:] = case // 15 % k
    return classes(predicted, truth)


def random_values(case):
    n = int(rng.integers(2, 40))
    truth = rng.normal(size=n)
    predicted = rng.normal() * truth + rng.random() * rng.normal(size=n)
    if case % 3 == 0:
        truth = np.round(truth * 2) / 2
    if case % 4 == 0:
        predicted = np.round(predicted)
    if case % 20 == 0:
        predicted[:] = 0.1
    if case % 7 == 0:
        predicted, truth = predicted * 1e-6 + 3, truth * 1e6
    return values(np.round(predicted, 9), np.round(truth, 4))


fixture = {
    "classes": [random_classes(case) for case in range(160)],
    "values": [random_values(case) for case in range(120)],
}
path = Path(__file__).parent / "fixtures" / "metrics.json"
rows = ",\n".join(
    f'"{kind}": [\n' + ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases) + "\n]"
    for kind, cases in fixture.items()
)
path.write_text("{\n" + rows + "\n}\n")
