"""Speaks the learner's protocol as told: python fake_learner.py MODE."""

import json
import signal
import sys
import threading
from typing import Any


def say(**event: Any) -> None:
    sys.stdout.write(json.dumps(event) + "\n")
    sys.stdout.flush()


def hear() -> Any:
    return json.loads(sys.stdin.readline())


def prove() -> int:
    """Promote weights that must be proven, and go on collecting with what acts."""
    say(event="promote", version="v4")
    words = hear()["message"]
    plan = [
        {"instruction": "open the drawer", "count": 6, "seed": 100},
        {"instruction": "close the drawer", "count": 6, "seed": 200},
    ]
    say(event="collect", version="v1", plan=plan)
    say(event="done", version="v4", report="", message=f"{words}; {len(hear()['episodes'])}")
    return 0


def main(mode: str) -> int:
    say(event="progress", stage="begin", round=1, progress=0.0, seconds_left=-1.0, message="hi")
    if mode == "hang":
        signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
        threading.Event().wait()
    if mode == "die":
        sys.stderr.write("about to die\n")
        return 3
    if mode == "babble":
        sys.stdout.write("no JSON\n")
        sys.stdout.flush()
        threading.Event().wait()
    plan = [{"instruction": "open the drawer", "count": 1, "seed": 5}]
    if mode == "prove":
        return prove()
    say(event="collect", version="v2", plan=plan)
    first = hear()["episodes"]
    if mode == "greedy":
        say(event="collect", version="v2", plan=[{**plan[0], "count": 9}])
        hear()
    say(event="promote", version="v3")
    promoted = hear()["promoted"]
    say(event="progress", stage="gate", round=1, progress=1.0, seconds_left=0.0, message="done")
    say(event="done", version="v3", report="report.html", message=f"{first} {promoted}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1]))
