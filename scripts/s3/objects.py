"""What a bucket holds, asked of the S3 server itself.

usage: objects.py ENDPOINT COMMAND…

  create-bucket BUCKET    makes an empty bucket
  count BUCKET/PREFIX     objects
  parts BUCKET/PREFIX     data files, and how many of them were uploaded in parts
  uploads BUCKET/PREFIX   multipart uploads that nobody ended
  delete BUCKET/PREFIX    deletes every second object, the first included; prints how many
  strays TABLE [TABLE]    data files that the Delta log of the first table does not name, and those it names
                          that are not there, in the table's directory and in its directory of the cold store;
                          a TABLE is BUCKET/PREFIX
  foreign TABLE SECONDS   another writer, whose commits say nothing: puts the next entry of the Delta log, where it
                          is not there yet, again and again; prints how many entries are its own and how many
                          were somebody else's first

Needs nothing but Python 3.9. The keys are those of AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.
"""

import json
import os
import pathlib
import sys
import time
import urllib.parse
import xml.etree.ElementTree

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from s3_server import Client, texts  # noqa: E402

COMMIT_PAUSE_SECONDS = 0.05


class Bucket:
    """The objects below a prefix of a bucket."""

    def __init__(self, client, place):
        self.client = client
        self.name, _, self.prefix = place.partition("/")

    def ask(self, method, key, body=b"", query=(), headers=(), want=(200,)):
        status, _, answer = self.client.ask(method, f"/{self.name}/{key}".rstrip("/"), body, query, headers)
        if status not in want:
            sys.exit(f"{method} {key} {dict(query)}: {status} {answer[:300]!r}")
        return status, answer

    def listed(self):
        """Keys below the prefix, with their entity tags."""
        found, more = {}, []
        while True:
            query = [("list-type", "2"), ("prefix", self.prefix), *more]
            page = self.ask("GET", "", query=query)[1]
            for element in xml.etree.ElementTree.fromstring(page):
                if element.tag.rpartition("}")[2] == "Contents":
                    fields = {child.tag.rpartition("}")[2]: child.text for child in element}
                    found[fields["Key"]] = fields["ETag"].strip('"')
            if texts(page, "IsTruncated") != ["true"]:
                return found
            more = [("continuation-token", texts(page, "NextContinuationToken")[0])]

    def data_files(self):
        """Names below the prefix, with their entity tags."""
        files = {key[len(self.prefix):].lstrip("/"): tag for key, tag in self.listed().items()}
        aside = ("_delta_log/", "_derived/")
        return {name: tag for name, tag in files.items() if name.endswith(".parquet") and not name.startswith(aside)}

    def uploads(self):
        page = self.ask("GET", "", query=[("uploads", ""), ("prefix", self.prefix)])[1]
        return texts(page, "UploadId")


def named(bucket):
    """The files that a table's Delta log names, by its entries: all of them have to be there still."""
    prefix = f"{bucket.prefix}/_delta_log/"
    entries = sorted(key for key in Bucket(bucket.client, f"{bucket.name}/{prefix}").listed() if key.endswith(".json"))
    for version, key in enumerate(entries):
        if key != f"{prefix}{version:020}.json":
            sys.exit(f"entry {version} of the Delta log is not there")
    files = set()
    for key in entries:
        for line in bucket.ask("GET", key)[1].splitlines():
            action = json.loads(line)
            if "add" in action:
                files.add(urllib.parse.unquote(action["add"]["path"]))
            if "remove" in action:
                files.discard(urllib.parse.unquote(action["remove"]["path"]))
    return files


def strays(home, cold=None):
    there = set(home.data_files())
    if cold is not None:
        there |= {f"s3://{cold.name}/{cold.prefix}/{name}" for name in cold.data_files()}
    wanted = named(home)
    return f"{len(there - wanted)} {len(wanted - there)}"


def foreign(bucket, seconds):
    version, own, others = 0, 0, 0
    ends = time.monotonic() + seconds
    while time.monotonic() < ends:
        now_ms = int(time.time() * 1000)
        commit = json.dumps({"commitInfo": {"timestamp": now_ms, "operation": "FOREIGN", "operationParameters": {}}})
        key = f"{bucket.prefix}/_delta_log/{version:020}.json"
        status, _ = bucket.ask("PUT", key, commit.encode(), headers={"If-None-Match": "*"}, want=(200, 412, 409))
        own, others = own + (status == 200), others + (status == 412)
        version += status != 409
        if status == 200:
            time.sleep(COMMIT_PAUSE_SECONDS)
    return f"{own} {others}"


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    endpoint, command, *places = sys.argv[1:]
    port = urllib.parse.urlsplit(endpoint).port
    client = Client(port, os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    bucket = Bucket(client, places[0])
    if command == "create-bucket":
        bucket.ask("PUT", "")
    elif command == "count":
        print(len(bucket.listed()))
    elif command == "parts":
        tags = bucket.data_files().values()
        print(len(tags), sum("-" in tag for tag in tags))
    elif command == "uploads":
        print(len(bucket.uploads()))
    elif command == "delete":
        keys = sorted(bucket.listed())[::2]
        for key in keys:
            bucket.ask("DELETE", key, want=(200, 204))
        print(len(keys))
    elif command == "strays":
        print(strays(bucket, *(Bucket(client, place) for place in places[1:])))
    elif command == "foreign":
        print(foreign(bucket, float(places[1])))
    else:
        sys.exit(f"{command} is no command")


if __name__ == "__main__":
    main()
