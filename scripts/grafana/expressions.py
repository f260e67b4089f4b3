#!/usr/bin/env python3
"""Does promtool take every expression of these dashboards? Each becomes a recording rule.

usage: expressions.py DIRECTORY WORK
"""

import json
import pathlib
import subprocess
import sys

# What Grafana puts in.
VARIABLES = {"$__rate_interval": "5m", "$__range": "24h", "$__interval": "1m", "$tenant": ".*", "$agent": "(a|b)", "$model": ".*"}


def expressions(dashboard):
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield panel["title"], target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        if "expr" in annotation.get("target", {}):
            yield annotation["name"], annotation["target"]["expr"]


def main():
    directory, work = map(pathlib.Path, sys.argv[1:])
    for path in sorted(directory.glob("*.json")):
        rules = []
        for number, (_, expr) in enumerate(expressions(json.loads(path.read_text()))):
            for name, value in VARIABLES.items():
                expr = expr.replace(name, value)
            if "$" in expr:
                print(f"FAIL {path.stem}: a variable is left in {expr}")
            rules.append({"record": f"panel:{number}", "expr": expr})
        # YAML reads JSON.
        rules_file = work / f"{path.stem}-rules.yml"
        rules_file.write_text(json.dumps({"groups": [{"name": path.stem, "rules": rules}]}))
        done = subprocess.run(["promtool", "check", "rules", str(rules_file)], capture_output=True, text=True)
        if done.returncode == 0:
            print(f"pass promtool takes the {len(rules)} expressions of {path.stem}")
        else:
            print(f"FAIL promtool on {path.stem}: {' '.join((done.stdout + done.stderr).split())[:500]}")


main()
