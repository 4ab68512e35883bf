"""Load on the annotation page: many annotators at once on loopback, each reading and judging without a rest but a pause.

    python benchmarks/annotation.py --annotators 50 --seconds 60

Prints how long a page and the saving of a judgement take, in milliseconds: median, 95th percentile and the longest. The server
is `planish annotate` in a process of its own, the annotators are threads of this one.
"""

from __future__ import annotations

import argparse
import http.client
import json
import re
import secrets
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np

PAGE, SAVE = "page", "save"


def annotate(address: str, until: float, pause: float, times: dict[str, list[float]], failed: list[int]) -> None:
    """Judges until the time is over; waits `pause` seconds on average between two items."""
    host, token = re.fullmatch(r"http://([^/]+)/a/(\S+)", address).groups()  # pyright: ignore
    connection = http.client.HTTPConnection(host, timeout=60)
    chance = np.random.default_rng(abs(hash(token)))
    headers = {"Content-Type": "application/json", "X-Planish": "1"}

    def ask(method: str, path: str, body: object = None, kind: str = "") -> str:
        start = time.perf_counter()
        connection.request(method, f"/a/{token}{path}", None if body is None else json.dumps(body), headers)
        reply = connection.getresponse()
        text = reply.read().decode()
        if kind:
            times[kind].append(1000 * (time.perf_counter() - start))
        if reply.status != 200:
            failed.append(reply.status)
        return text

    time.sleep(float(chance.uniform(0, 2 * pause)))  # they do not all come at the same moment
    ask("POST", "/welcome", {"profile": {}})
    while time.monotonic() < until:
        page = ask("GET", "", kind=PAGE)
        found = dict(re.findall(r'data-(assignment|revision|guideline)="([^"]*)"', page))
        if not found:
            return
        time.sleep(float(chance.exponential(pause)))
        numbers = {name: int(found[name]) for name in ("assignment", "revision")}
        said = {"verdict": "ranked", "ranks": [0, 1], "strength": "clearly", "seconds": pause}
        body = {"key": secrets.token_hex(16), "guideline": found["guideline"], **numbers, **said}
        ask("POST", "/judgements", body, kind=SAVE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--annotators", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--pause", type=float, default=4, help="seconds of thought for each item, on average")
    parser.add_argument("--items", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder, names = Path(name), [f"p{n}" for n in range(options.annotators)]
        words = "one of many words in an answer of usual length " * 15
        rows = [
            {"prompt": f"Question {n}?", "completions": [f"{n} {words}", f"{words} {n}"], "ranks": [0, 1]}
            for n in range(options.items)
        ]
        (folder / "answers.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        command = [
            sys.executable,
            "-m",
            "planish",
            "annotate",
            str(folder / "answers.jsonl"),
            "--out",
            str(folder / "f.db"),
        ]
        server = subprocess.Popen(
            [*command, "port=0", "overlap=3", f"invite=[{', '.join(names)}]"], stdout=subprocess.PIPE, text=True
        )
        addresses: dict[str, str] = {}
        while names[-1] not in addresses:
            who, _, address = server.stdout.readline().partition(":")  # pyright: ignore
            addresses[who] = address.strip()
        times: dict[str, list[float]] = {PAGE: [], SAVE: []}
        failed: list[int] = []
        until = time.monotonic() + options.seconds
        threads = [
            threading.Thread(target=annotate, args=(addresses[who], until, options.pause, times, failed))
            for who in names
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        server.terminate()
        server.wait()
    print(
        f"{options.annotators} annotators, {options.seconds:.0f} s, {len(times[SAVE])} judgements, {len(failed)} failed"
    )
    for kind, taken in times.items():
        print(f"{kind}: median {np.median(taken):.0f}, p95 {np.percentile(taken, 95):.0f}, longest {max(taken):.0f} ms")


if __name__ == "__main__":
    main()
