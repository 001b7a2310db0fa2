"""The process that one contender runs in: `python -m fer_lightning.benchmarks.worker`, started by `duel`.

A line of JSON on stdin names the work and its arguments; answers go to stdout, a line each. What the work itself
prints goes to stderr, which the parent sends to a file.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from typing import Any, TextIO

from fer_lightning.benchmarks.windows import Finished, Tick
from fer_lightning.config.signatures import locate
from fer_lightning.core.errors import UserError


class Line:
    """The two pipes to the parent."""

    def __init__(self, incoming: TextIO, outgoing: TextIO) -> None:
        self._incoming, self._outgoing = incoming, outgoing

    def send(self, **message: Any) -> None:
        print(json.dumps(message), file=self._outgoing, flush=True)

    def receive(self) -> dict[str, Any]:
        """Return the next message.

        Raises:
            Finished: the parent has closed the pipe.
        """
        text = self._incoming.readline()
        if not text:
            raise Finished
        return json.loads(text)

    def take_turn(self, figures: dict[str, Any] | None) -> float:
        """Report a window (None: warmed up) and sleep until the next; return its seconds."""
        self.send(window=figures)
        return self.receive()["seconds"]


def main() -> None:
    line = Line(sys.stdin, os.fdopen(os.dup(1), "w", encoding="utf-8"))
    os.dup2(2, 1)
    try:
        job = line.receive()
        work = locate(job["work"])
        line.send(loaded=True)
        line.receive()  # both sides import at once, and only one at a time does anything else
        turns = () if job["warm_up"] is None else (Tick(line.take_turn, job["warm_up"]),)
        line.send(done=work(*turns, **job["arguments"]))
    except Finished:
        pass
    except Exception as error:
        traceback.print_exc()
        kind = next((kind for kind in type(error).__mro__ if kind.__module__ == UserError.__module__), None)
        text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        line.send(error=text, kind=None if kind is None else kind.__name__)


if __name__ == "__main__":
    main()
