"""Writes the gold files of this directory with scipy 1.17.1 and numpy 2.4.6.

Run by hand where a case is added: `python3 generate.py`. The tests read the files only.
"""

import json
import math
import os
import warnings

import numpy as np
import scipy
from scipy import stats
from scipy.spatial.distance import jensenshannon

assert scipy.__version__ == "1.17.1", scipy.__version__


def write(name, value):
    """One file; lists of cases get a line per case."""
    path = os.path.join(os.path.dirname(os.path.abspath(__file__)), name)
    with open(path, "w", encoding="utf-8") as file:
        if isinstance(value, dict):
            parts = [f"{json.dumps(key)}: {lines(rows)}" for key, rows in value.items()]
            file.write("{" + ",\n".join(parts) + "}\n")
        else:
            file.write(lines(value) + "\n")


def lines(rows):
    return "[\n" + ",\n".join(json.dumps(row) for row in rows) + "\n]"


def sample(recipe):
    n, multiplier, modulus, shift = recipe
    return [float(i * multiplier % modulus + shift) for i in range(n)]


# Samples are `[n, multiplier, modulus, shift]`: i * multiplier % modulus + shift for i < n.
KS = [
    ("one and one, apart", [1, 1, 2, 0], [1, 1, 2, 5]),
    ("one and one, equal", [1, 1, 2, 5], [1, 1, 2, 5]),
    ("one and seven", [1, 1, 2, 3], [7, 3, 11, 0]),
    ("one and seven, apart", [1, 1, 2, -9], [7, 3, 11, 0]),
    ("two and three", [2, 5, 7, 0], [3, 4, 7, 1]),
    ("five and five", [5, 3, 13, 0], [5, 7, 13, 2]),
    ("five and five, apart", [5, 3, 13, 0], [5, 7, 13, 40]),
    ("ties, equal sizes", [40, 3, 7, 0], [40, 5, 9, 0]),
    ("ties, unequal sizes", [20, 3, 5, 0], [30, 5, 7, 0]),
    ("two values", [33, 1, 2, 0], [47, 1, 3, 0]),
    ("large common divisor", [60, 17, 101, 0], [90, 29, 103, 20]),
    ("one divides the other", [64, 37, 211, 0], [256, 101, 257, 9]),
    ("coprime", [97, 31, 211, 0], [101, 43, 199, 25]),
    ("coprime neighbours", [400, 97, 1009, 0], [401, 89, 997, 60]),
    ("smallest distance, coprime", [10, 1, 10, 0], [11, 1, 11, 0]),
    ("small distance, equal sizes", [300, 1, 300, 0], [300, 1, 300, 1]),
    ("far tail, unequal sizes", [300, 97, 1009, 0], [700, 89, 997, 500]),
    ("far tail, equal sizes", [500, 97, 1009, 0], [500, 89, 997, 600]),
    ("complete separation", [40, 7, 41, 0], [60, 7, 61, 100]),
    ("complete separation, equal sizes", [150, 7, 151, 0], [150, 7, 151, 500]),
    ("separation below the smallest number", [600, 7, 601, 0], [500, 7, 503, 900]),
    ("separation, equal sizes, below the smallest number", [700, 7, 701, 0], [700, 7, 701, 900]),
    ("wide and narrow", [3, 400, 1009, 50], [1500, 89, 1499, 0]),
    ("above the exact limit, a few", [10001, 97, 10007, 0], [3, 3000, 10007, 100]),
    ("above the exact limit, fifty", [10001, 97, 10007, 0], [50, 211, 10007, 900]),
    ("above the exact limit, no drift", [10500, 97, 20011, 0], [12000, 89, 20021, 0]),
    ("above the exact limit, slight", [10500, 97, 20011, 0], [12000, 89, 20021, 300]),
    ("above the exact limit, ties", [10001, 97, 50, 0], [12000, 89, 51, 0]),
    ("above the exact limit, far tail", [10500, 97, 20011, 0], [12000, 89, 20021, 5000]),
    ("above the exact limit, apart", [10500, 97, 20011, 0], [10200, 89, 20021, 50000]),
]


def ks_case(name, reference, current):
    result = stats.ks_2samp(sample(reference), sample(current), method="auto")
    values = [float(result.statistic), float(result.pvalue)]
    return {"name": name, "reference": reference, "current": current, "ks": values}


# The same way of writing samples; sizes around every change of method, ties, extremes.
TWO_SAMPLES = [
    ("one and one", [1, 1, 2, 0], [1, 1, 2, 5]),
    ("one and seven", [1, 1, 2, 3], [7, 3, 11, 0]),
    ("two and two", [2, 5, 7, 0], [2, 4, 7, 1]),
    ("two and three, apart", [2, 5, 7, 0], [3, 4, 7, 20]),
    ("five and five", [5, 3, 13, 0], [5, 7, 13, 2]),
    ("five and eight, ties", [5, 3, 4, 0], [8, 7, 5, 1]),
    ("eight and eight", [8, 3, 101, 0], [8, 7, 103, 1]),
    ("eight and nine", [8, 30, 101, 0], [9, 37, 103, 1]),
    ("nine and nine", [9, 30, 101, 0], [9, 37, 103, 1]),
    ("eight and three hundred", [8, 30, 1009, 0], [300, 37, 997, 400]),
    ("seven and nineteen", [7, 5, 29, 3], [19, 11, 31, 0]),
    ("nineteen and twenty", [19, 5, 29, 0], [20, 7, 31, 4]),
    ("twenty and twenty", [20, 5, 29, 0], [20, 7, 31, 0]),
    ("twenty and twenty, apart", [20, 5, 29, 0], [20, 7, 31, 50]),
    ("twenty and twenty-one", [20, 5, 29, 0], [21, 7, 31, 4]),
    ("thirty and thirty, two values", [30, 1, 2, 0], [30, 1, 3, 0]),
    ("a constant and others", [12, 1, 1, 3], [15, 2, 7, 0]),
    ("two constants", [12, 1, 1, 3], [15, 1, 1, 5]),
    ("one constant", [12, 1, 1, 3], [15, 1, 1, 3]),
    ("hundreds, alike", [300, 97, 1009, 0], [400, 89, 997, 0]),
    ("hundreds, shifted", [300, 97, 1009, 0], [400, 89, 997, 90]),
    ("hundreds, far", [300, 97, 1009, 0], [400, 89, 997, 700]),
    ("thousands, ties", [3000, 97, 50, 0], [2000, 89, 51, 1]),
    ("thousands, negative", [3000, 97, 3001, -1500], [2000, 89, 2003, -1000]),
    ("few and many", [3, 400, 1009, 50], [5000, 89, 4999, 0]),
]


def two_sample_case(name, reference, current):
    a, b = np.array(sample(reference)), np.array(sample(current))
    pair = lambda result: [float(result.statistic), float(result.pvalue)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        edges = np.unique(np.quantile(a, np.arange(1, 10) / 10))
        counts = [np.bincount(np.digitize(x, edges), minlength=len(edges) + 1) for x in (a, b)]
        share_a, share_b = (np.clip(count / count.sum(), 1e-4, None) for count in counts)
        spread = min(len(a), len(b)) > 1 and (np.ptp(a) > 0 or np.ptp(b) > 0)
        return {
            "name": name,
            "reference": reference,
            "current": current,
            "mann_whitney": pair(stats.mannwhitneyu(a, b)),
            "cramer_von_mises": pair(stats.cramervonmises_2samp(a, b)) if min(len(a), len(b)) > 1 else None,
            "welch": pair(stats.ttest_ind(a, b, equal_var=False)) if spread else None,
            "wasserstein": float(stats.wasserstein_distance(a, b)),
            "decile_counts": [count.tolist() for count in counts],
            "psi": float(np.sum((share_b - share_a) * np.log(share_b / share_a))),
        }


SAMPLES = [
    ("two", [[9, 30, 101, 0], [12, 37, 103, 1]]),
    ("two, ties", [[40, 3, 7, 0], [40, 5, 9, 0]]),
    ("two of one value each and more", [[1, 1, 2, 3], [1, 1, 2, 5], [4, 3, 7, 0]]),
    ("three", [[20, 5, 29, 0], [30, 7, 31, 0], [25, 3, 37, 2]]),
    ("five, one off", [[30, 5, 29, 0], [30, 7, 31, 0], [30, 3, 37, 2], [30, 11, 41, 0], [30, 7, 23, 9]]),
    ("three, apart", [[50, 5, 29, 0], [50, 7, 31, 40], [50, 3, 37, 80]]),
    ("two, large", [[3000, 97, 3001, 0], [2000, 89, 2003, 500]]),
]


def samples_case(name, recipes):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        result = stats.anderson_ksamp([np.array(sample(recipe)) for recipe in recipes], variant="midrank")
    return {"name": name, "samples": recipes, "result": [float(result.statistic), float(result.pvalue)]}


TABLES = [
    [[1, 0], [0, 1]],
    [[7, 3], [7, 3]],
    [[1000, 0, 0], [0, 500, 500]],
    [[5, 0, 12, 900], [0, 4, 15, 700]],
    [[900000, 100000], [899000, 101000]],
    [[3, 1, 4, 1, 5, 9, 2, 6, 5, 3], [2, 7, 1, 8, 2, 8, 1, 8, 2, 8]],
    [[400, 300, 200, 100], [100, 200, 300, 400]],
    [list(range(1, 60)), list(range(59, 0, -1))],
]


def table_case(table):
    result = stats.chi2_contingency(table, correction=False)
    ratio = stats.chi2_contingency(table, correction=False, lambda_="log-likelihood")
    return {
        "table": table,
        "chi2_corr_False_pearson": [float(result.statistic), float(result.pvalue), int(result.dof)],
        "chi2_corr_False_log-likelihood": [float(ratio.statistic), float(ratio.pvalue), int(ratio.dof)],
        "cramers_v": math.sqrt(result.statistic / np.sum(table)),
        "jensen_shannon": float(jensenshannon(table[0], table[1], base=2)),
    }


ASSOCIATIONS = [
    [[10, 20, 30], [6, 9, 17], [8, 5, 2]],
    [[100, 3], [2, 90], [50, 60]],
    [[5, 0, 1, 7], [2, 2, 9, 1]],
]

FISHER = [
    [[1, 0], [0, 1]],
    [[0, 5], [5, 0]],
    [[8, 2], [1, 5]],
    [[3, 3], [3, 3]],
    [[0, 0], [4, 7]],
    [[12, 5], [29, 2]],
    [[100, 2], [1000, 5]],
    [[50000, 120], [49500, 180]],
    [[200, 10], [10, 200]],
    [[1500, 20], [900, 1200]],
]

# Successes, trials, probability, confidence.
BINOMIAL = [
    (0, 1, 0.5, 0.95), (1, 1, 0.5, 0.95), (0, 20, 0.1, 0.9), (20, 20, 0.9, 0.99), (3, 10, 0.3, 0.95),
    (7, 30, 0.5, 0.95), (500, 1000, 0.45, 0.95), (12, 1000, 0.02, 0.999), (99, 100, 0.5, 0.95),
    (5000, 100000, 0.05, 0.95), (5300, 100000, 0.05, 0.5), (1, 1000000, 1e-6, 0.95),
]


def binomial_case(k, n, p, confidence):
    test = stats.binomtest(k, n, p)
    interval = lambda method: [float(end) for end in test.proportion_ci(confidence, method=method)]
    return {
        "k": k, "n": n, "p": p, "confidence": confidence, "p_two": float(test.pvalue),
        "ci_exact": interval("exact"), "ci_wilson": interval("wilson"),
    }


def fisher_case(table):
    result = stats.fisher_exact(table)
    odds = float(result.statistic)
    return {"table": table, "fisher": [odds if math.isfinite(odds) else None, float(result.pvalue)]}


CHI2_GRID = [
    (x * df, df)
    for df in (1, 2, 3, 7, 30, 199, 1000, 20000)
    for x in (1e-6, 0.3, 0.9, 1.0, 1.0001, 1.1, 1.5, 3.0, 10.0, 60.0, 400.0)
]

# n against z = sqrt(n) * d, on both sides of every change of method.
KSTWO_GRID = [
    (z / math.sqrt(n), n)
    for n in (1, 2, 3, 10, 17, 139, 140, 141, 142, 999, 5000, 20000, 100000, 100001, 300000, 5000000)
    for z in (0.04, 0.2, 0.35, 0.6, 0.868, 0.869, 1.0, 1.4, 1.483, 1.484, 1.99, 2.01, 3.0, 7.0, 15.0, 19.2, 19.3)
    # The matrix is slow where it is large; one such case is enough.
    if z < math.sqrt(n) and not (n >= 20000 and z < 0.35)
]

P_VALUES = [
    [0.2],
    [0.0, 1.0],
    [0.5, 0.5, 0.5],
    [0.001, 0.8, 0.012, 0.04, 0.04, 0.3, 1e-12, 1.0],
    [0.9, 0.95, 0.99, 1.0, 0.97],
]

VALUES = [
    [4.0],
    [1.0, 2.0],
    [-3.0, 0.0, 0.5, 7.25],
    [0.1, 0.2, 0.2, 0.3, 0.7, 1.1, 1e6],
]


def summary_case(values):
    quantiles = [0.0, 0.01, 0.25, 1.0 / 3.0, 0.5, 0.9, 0.95, 0.999, 1.0]
    return {
        "values": values,
        "mean": float(np.mean(values)),
        "median": float(np.median(values)),
        "quantiles": [[q, float(np.quantile(values, q))] for q in quantiles],
    }


if __name__ == "__main__":
    write("ks.json", [ks_case(*case) for case in KS])
    write("chi2.json", {
        "tables": [table_case(table) for table in TABLES],
        "association": [
            {"table": table, "cramers_v": float(stats.contingency.association(np.array(table), method="cramer"))}
            for table in ASSOCIATIONS
        ],
        "sf": [[x, df, float(stats.chi2.sf(x, df))] for x, df in CHI2_GRID],
    })
    write("two_samples.json", [two_sample_case(*case) for case in TWO_SAMPLES])
    write("anderson_darling.json", [samples_case(*case) for case in SAMPLES])
    write("proportions.json", {
        "fisher": [fisher_case(table) for table in FISHER],
        "binomial": [binomial_case(*case) for case in BINOMIAL],
    })
    write("tails.json", {
        "normal": [[z, float(stats.norm.sf(z))] for z in (-5.0, -1.0, 0.0, 0.3, 0.7, 1.5, 3.0, 6.0, 12.0, 25.0, 37.0)],
        "t": [
            [t, df, float(stats.t.sf(t, df))]
            for df in (1.0, 1.7, 4.0, 29.5, 300.0, 11426.97, 3e6)
            for t in (0.0, 1e-3, 0.4, 1.1, 3.0, 9.0, 20.0)
        ],
        "chi2_quantile": [[p, df, float(stats.chi2.isf(p, df))] for df in (1, 2, 9, 60, 900) for p in (0.05, 0.01, 0.6)],
        "beta": [
            [a, b, x, float(stats.beta.cdf(x, a, b)), float(stats.beta.sf(x, a, b))]
            for a, b in ((0.5, 0.5), (1.0, 3.0), (2.5, 0.7), (40.0, 60.0), (5000.0, 95001.0), (3.0, 1e6))
            for x in (1e-6, 0.03, 0.05, 0.4, 0.5, 0.97)
        ],
    })
    write("kolmogorov.json", {
        "kstwo": [[d, n, float(stats.kstwo.sf(d, n))] for d, n in KSTWO_GRID],
        "kstwobign": [
            [x, float(stats.kstwobign.sf(x))]
            for x in (1e-9, 0.04, 0.1, 0.3, 0.6, 0.81, 0.82, 0.83, 1.1, 1.7, 3.0, 6.0, 12.0, 18.0)
        ],
    })
    write("fdr.json", [
        {"p": p, **{
            method: [float(q) for q in stats.false_discovery_control(p, method=method)] for method in ("bh", "by")
        }}
        for p in P_VALUES
    ])
    write("summary.json", [summary_case(values) for values in VALUES])
