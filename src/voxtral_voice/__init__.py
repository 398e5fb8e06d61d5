"""Voxtral Voice: speech in, speech out, with replies that start before the silence gets awkward."""

import os

__version__ = "0.1.0"

# OpenMP reads them when torch is first imported, so they stand before everything. Threads that spin while they wait for
# each other are stopped in mid-turn as soon as anything else wants their core: beside one busy process a clause then
# takes ten times as long as alone, with sleeping threads less than twice. But waking up takes longer than most waits of
# Kokoro's: with 10 us of spinning before the sleep (GNU OpenMP) a clause takes 167 ms instead of 302, beside a busy
# process 326 instead of 307.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
os.environ.setdefault("GOMP_SPINCOUNT", "1000")
