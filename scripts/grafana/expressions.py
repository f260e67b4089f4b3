#!/usr/bin/env python3
"""Does promtool take every expression of these dashboards, and a Prometheus answer it?

usage: expressions.py DIRECTORY WORK [PROMETHEUS]

Each becomes a recording rule for promtool, and a question to PROMETHEUS where its address is given.
"""

import json
import pathlib
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request

# What Grafana puts in.
VARIABLES = {"$__rate_interval": "5m", "$__range": "24h", "$__interval": "1m", "$tenant": ".*", "$agent": ".*", "$model": ".*"}
# What says nothing in the first minutes: comparisons with a week before, what the jobs find, and alerts.
LATER = (" offset ", "llm_drift_", "llm_anomaly_", "ALERTS")


def expressions(dashboard):
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        if "expr" in annotation.get("target", {}):
            yield annotation["name"], annotation["target"]["expr"]


def ask(prometheus, expr):
    """How many series answer the expression now, or what Prometheus has against it."""
    question = urllib.parse.urlencode({"query": expr})
    try:
        with urllib.request.urlopen(f"{prometheus}/api/v1/query?{question}", timeout=30) as answer:
            return len(json.load(answer)["data"]["result"]), None
    except urllib.error.HTTPError as error:
        return 0, json.load(error)["error"]


def main():
    directory, work = map(pathlib.Path, sys.argv[1:3])
    prometheus = sys.argv[3] if len(sys.argv) > 3 else None
    for path in sorted(directory.glob("*.json")):
        rules = []
        for number, (_, expr) in enumerate(expressions(json.loads(path.read_text()))):
            for name, value in VARIABLES.items():
                expr = expr.replace(name, value)
            if "$" in expr:
                print(f"FAIL {path.stem}: a variable is left in {expr}")
            rules.append({"record": f"panel:{number}", "expr": expr})
        if prometheus:
            answers = [(rule["expr"], *ask(prometheus, rule["expr"])) for rule in rules]
            for expr, _, wrong in answers:
                if wrong:
                    print(f"FAIL Prometheus on {expr}: {wrong}")
            told = sum(found > 0 for _, found, _ in answers)
            is_silent = told == 0 and not all(any(part in rule["expr"] for part in LATER) for rule in rules)
            is_right = not is_silent and not any(wrong for *_, wrong in answers)
            verdict = "pass" if is_right else "FAIL"
            print(f"{verdict} Prometheus answers the expressions of {path.stem}, {told} of {len(answers)} with series")
        # YAML reads JSON.
        rules_file = work / f"{path.stem}-rules.yml"
        rules_file.write_text(json.dumps({"groups": [{"name": path.stem, "rules": rules}]}))
        done = subprocess.run(["promtool", "check", "rules", str(rules_file)], capture_output=True, text=True)
        if done.returncode == 0:
            print(f"pass promtool takes the {len(rules)} expressions of {path.stem}")
        else:
            print(f"FAIL promtool on {path.stem}: {' '.join((done.stdout + done.stderr).split())[:500]}")


main()
