"""Updates at the pace that `cargo xtask bench` asks for: what benches/lopper/worker.rs does on Lopper's side.

A number n on a line of standard input lets n updates through; the answer is one line, a JSON array of n times in seconds.
Before the first number comes an answer without times: the process is ready. It ends with its input.
"""

import json
import os
import sys
import time


class Pace:
    def __init__(self):
        self.asked = 0
        self.seconds = []
        self.since = None

    def next_update(self):
        """To be called at the start of every update."""
        if self.since is not None:
            self.seconds.append(time.perf_counter() - self.since)
        if len(self.seconds) == self.asked:
            print(json.dumps(self.seconds), flush=True)
            line = sys.stdin.readline()
            if not line:
                os._exit(0)
            self.asked = int(line)
            self.seconds = []
        self.since = time.perf_counter()
