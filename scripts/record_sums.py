"""What files of records add up to: lines, different requests, prompt tokens, cost in USD.

usage: record_sums.py [--kept DIRECTORY] FILE…

Prints the four figures in one line. No request is in two files, which the server's own count of different ones
says as well. With --kept what a file adds up to is written there, so that it is read once and may be deleted then.
"""

import argparse
import json
import math
import pathlib


def sums(file):
    requests, tokens, costs = [], 0, []
    with open(file, encoding="utf-8") as lines:
        for line in lines:
            record = json.loads(line)
            requests.append(record["request_id"])
            tokens += record.get("prompt_tokens") or 0
            costs.append(record.get("cost_usd") or 0)
    return [len(requests), len(set(requests)), tokens, math.fsum(costs)]


def kept_sums(file, directory):
    if directory is None:
        return sums(file)
    kept = directory / file.name
    if not kept.exists():
        kept.write_text(json.dumps(sums(file)))
    return json.loads(kept.read_text())


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--kept", type=pathlib.Path)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    arguments = parser.parse_args()
    lines, requests, tokens, costs = zip(*(kept_sums(file, arguments.kept) for file in arguments.files))
    print(sum(lines), sum(requests), sum(tokens), repr(math.fsum(costs)))


if __name__ == "__main__":
    main()
