"""The process that one contender runs in: `python -m fer_lightning.benchmarks.worker`, started by `paired_timing`.

A line of JSON on stdin names the work and its arguments; answers go to stdout, a line each. What the work itself
prints goes to stderr, which the parent sends to a file.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any

from fer_lightning.benchmarks.windows import Finished, StepClock
from fer_lightning.config.signatures import locate
from fer_lightning.core.errors import UserError


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(**message: Any) -> None:
        print(json.dumps(message), file=answers, flush=True)

    def receive() -> Any:
        text = sys.stdin.readline()
        if not text:  # the parent has closed the pipe
            raise Finished
        return json.loads(text)

    def next_window(figures: dict[str, Any] | None) -> float:
        send(window=figures)
        return float(receive()["seconds"])

    try:
        job = receive()
        work = locate(job["work"])
        send(loaded=True)
        receive()  # both sides import at once, but only one at a time does anything else
        clock = () if job["warm_up"] is None else (StepClock(next_window, job["warm_up"]),)
        send(done=work(*clock, **job["arguments"]))
    except Finished:
        pass
    except Exception as error:
        traceback.print_exc()
        kind = next((kind for kind in type(error).__mro__ if kind.__module__ == UserError.__module__), None)
        text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        send(error=text, kind=None if kind is None else kind.__name__)


if __name__ == "__main__":
    main()
