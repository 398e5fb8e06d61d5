"""Reads server events, a line of JSON each, and writes those that Pipecat does not understand: it passes over them."""

import sys

from pipecat.services.openai.realtime.events import parse_server_event

for line in sys.stdin:
    if parse_server_event(line) is None:
        sys.stdout.write(line[:300])
