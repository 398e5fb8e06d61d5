"""Voxtral Voice: speech in, speech out, with replies that start before the silence gets awkward."""

import os

__version__ = "0.1.0"

# OpenMP reads them when torch is first imported, so they stand before everything. Threads that spin while they wait for
# each other are stopped in mid-turn as soon as anything else wants their core, so they sleep. But waking up takes
# longer than most waits of Kokoro's: a thousand rounds of spinning before the sleep (GNU OpenMP) cover those. What a
# clause takes with other values, `python -m bench.components` tells.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
