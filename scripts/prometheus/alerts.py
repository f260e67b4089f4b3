"""The parts of alerts.sh that are no shell: traffic, a webhook receiver, and what has to have arrived there.

usage: alerts.py send URL BAD_FILE CALM_FILE      records each second; bad while only BAD_FILE exists
       alerts.py receive PORT LOG                 keeps every notification as a line of LOG
       alerts.py routed firing|resolved|down LOG  fails where one is missing or went elsewhere
       alerts.py runbooks FILE BINARY URL         prints the commands of FILE that fail
"""

import datetime
import http.server
import json
import os
import re
import secrets
import shlex
import subprocess
import sys
import time
import urllib.request

CALLS_PER_SECOND = 10
SEND_SECONDS_MAX = 900
COMMAND_SECONDS_MAX = 60
# What else goes wrong with an agent that fails does so only when its failures have been noticed: a warning of the same
# cause comes muted, and those of other causes come all the same.
WORSE_AFTER_SECONDS = 15
WORSE = {
    "latency_ms": 7000,
    "finish_reason": "model_context_window_exceeded",
    "guardrail_status": "blocked",
    "guardrail_reason": "pii",
    "hallucination_probability": 0.25,
    "cost_usd": 0.02,
}

# Who is bad in which way.
BAD = {
    "spender": {"cost_usd": 0.02},
    "slow": {"latency_ms": 7000},
    "failing": {"error": "no answer", "error_type": "timeout"},
    "worse": {"error": "no answer", "error_type": "timeout"},
    "inventing": {"hallucination_probability": 0.25},
    "blocked": {"guardrail_status": "blocked", "guardrail_reason": "pii"},
    "broken": {"circuit_breaker_state": "open"},
    "long": {"finish_reason": "model_context_window_exceeded"},
    "near": {"prompt_tokens": 100},
    "past": {"prompt_tokens": 100},
}
CALM = {
    "cost_usd": 0.001,
    "latency_ms": 300,
    "hallucination_probability": 0.01,
    "guardrail_status": "passed",
    "circuit_breaker_state": "closed",
    "prompt_tokens": 1,
    "completion_tokens": 20,
    "tool_calls": [{"name": "search", "latency_ms": 40, "status": "ok"}],
}

# Alert and whom it is about → receivers.
EXPECTED = {
    ("LlmCostSpike", "spender"): {"finops"},
    ("LlmLatencyHigh", "slow"): {"platform"},
    ("LlmErrorRateHigh", "failing"): {"pager", "platform"},
    ("LlmErrorRateHigh", "worse"): {"pager", "platform"},
    ("LlmGuardrailBlocksHigh", "worse"): {"safety"},
    ("LlmHallucinationHigh", "worse"): {"quality"},
    ("LlmCostSpike", "worse"): {"finops"},
    ("LlmHallucinationHigh", "inventing"): {"quality"},
    ("LlmGuardrailBlocksHigh", "blocked"): {"safety"},
    ("LlmTokenQuotaNear", "near"): {"finops"},
    ("LlmTokenQuotaExceeded", "past"): {"pager", "finops"},
    ("LlmCircuitBreakerOpen", "broken"): {"pager", "platform"},
    ("LlmContextOverflowHigh", "long"): {"quality"},
}
HEARTBEAT = {("DriftlineDeadMansSwitch", ""): {"heartbeat"}}
DOWN = {("DriftlineDown", ""): {"pager", "platform"}}
MUTED = {("LlmLatencyHigh", "worse"): set(), ("LlmContextOverflowHigh", "worse"): set()}
# May arrive in the seconds before the critical one does or after it ends, so neither demanded nor forbidden.
PASSING = {("LlmTokenQuotaNear", "past"): set(), ("DriftlineNoRecords", ""): set()}


def send(url, bad_file, calm_file):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    start = time.monotonic()
    bad_since = None
    for second in range(SEND_SECONDS_MAX):
        time.sleep(max(0.0, start + second - time.monotonic()))
        bad = os.path.exists(bad_file) and not os.path.exists(calm_file)
        if bad and bad_since is None:
            bad_since = second
        lines = []
        for agent, badness in BAD.items():
            record = CALM | (badness if bad else {})
            if bad and agent == "worse" and second - bad_since >= WORSE_AFTER_SECONDS:
                record = record | WORSE
            tenant = agent if agent in ("near", "past") else "other"
            for _ in range(CALLS_PER_SECOND):
                now = datetime.datetime.now(datetime.timezone.utc).isoformat()
                ids = {"request_id": secrets.token_hex(8), "trace_id": secrets.token_hex(16)}
                who = {"timestamp": now, "agent_id": agent, "tenant_id": tenant, "model": "model-of-nobody"}
                lines.append(json.dumps(who | ids | record))
        body = "\n".join(lines).encode()
        request = urllib.request.Request(
            f"{url}/api/v1/logs", body, {"content-type": "application/x-ndjson"}
        )
        with opener.open(request, timeout=30) as response:
            response.read()


def receive(port, path):
    with open(path, "a", buffering=1) as log:

        class Hook(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                for alert in body["alerts"]:
                    labels = alert["labels"]
                    about = labels.get("agent_id") or labels.get("tenant_id") or ""
                    line = {"receiver": self.path.strip("/"), "status": alert["status"], "about": about}
                    log.write(json.dumps(line | {"labels": labels, "annotations": alert["annotations"]}) + "\n")
                self.send_response(200)
                self.end_headers()

            def log_message(self, *arguments):
                pass

        http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Hook).serve_forever()


def routed(what, path):
    arrived = {}
    problems = []
    with open(path) as log:
        for line in map(json.loads, log):
            alert = (line["labels"]["alertname"], line["about"])
            arrived.setdefault((alert, line["status"]), set()).add(line["receiver"])
            missing = {"summary", "description", "runbook_url"} - line["annotations"].keys()
            if missing or not {"severity", "team"} <= line["labels"].keys():
                problems.append(f"{alert}: lacks {missing} or a label")
    status = "resolved" if what == "resolved" else "firing"
    demanded = {"firing": EXPECTED | HEARTBEAT, "resolved": EXPECTED, "down": DOWN}[what]
    known = EXPECTED | HEARTBEAT | PASSING
    if what != "firing":
        # What is muted ends in the same second as what mutes it, give or take one.
        known = known | DOWN | MUTED
    for alert, receivers in demanded.items():
        got = arrived.get((alert, status), set())
        print(f"      {' '.join(alert).strip()} {status}: {', '.join(sorted(got)) or 'nowhere'}")
        if got != receivers:
            problems.append(f"{alert} {status}: to {sorted(got)}, not to {sorted(receivers)}")
    for alert in {alert for alert, _ in arrived} - known.keys():
        problems.append(f"{alert}: {'is muted, yet' if alert in MUTED else 'not expected, but'} arrived")
    for problem in problems:
        print(f"      {problem}")
    return not problems


def runbooks(path, binary, url):
    with open(path) as file:
        blocks = re.findall(r"^```sh\n(.*?)^```", file.read(), re.M | re.S)
    commands = [line[2:] for block in blocks for line in block.splitlines() if line.startswith("$ ")]
    if len(commands) < 20:
        print(f"only {len(commands)} commands were found")
    for command in commands:
        words = shlex.split(command.replace("http://127.0.0.1:7717", url))
        match words[0]:
            case "driftline":
                words = [binary, *words[1:], "--url", url]
            case "curl":
                words[1:1] = ["--fail-with-body", "--noproxy", "*", "--globoff"]
        done = subprocess.run(words, capture_output=True, text=True, timeout=COMMAND_SECONDS_MAX)
        if done.returncode != 0:
            print(f"{command}: {done.stderr.strip()} {done.stdout.strip()[:300]}")


if __name__ == "__main__":
    actions = {"send": send, "receive": receive, "routed": routed, "runbooks": runbooks}
    sys.exit(actions[sys.argv[1]](*sys.argv[2:]) is False)
