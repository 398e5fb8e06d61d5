"""Voxtral Voice: speech in, speech out, with replies that start before the silence gets awkward."""

import os

__version__ = "0.1.0"

# OpenMP reads it when torch is first imported, so it stands before everything. Threads that spin while they wait for
# each other are stopped in mid-turn as soon as anything else wants their core: beside one busy process a clause then
# takes ten times as long as alone, with sleeping threads less than twice.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
