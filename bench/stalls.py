"""Is there a hole in any reply? A hundred replies of the server with its models, one after the other, at one session.

    python -m bench.stalls [--replies 100] [--reply template|smollm2] [--quick] [--json FILE]

A client without any buffer plays each packet as it comes; an underrun is a packet that comes later than all before it
last. Replies have a short first clause and a second one of up to 25 words, made while the first is heard.
"""

from __future__ import annotations

import asyncio
import itertools
import sys

from tqdm import tqdm

from bench.gaps import gaps
from bench.line import call
from bench.report import Report, arguments
from bench.server_process import ours

_TEXTS = (
    "Yes.",
    "How old is the bridge?",
    "I would like to book a table for two people.",
    "The train to the coast leaves at a quarter past nine, and it stops in every village on the way there.",
)
_PATIENCE_S = 60.0


async def main() -> int:
    parser = arguments(__doc__ or "")
    parser.add_argument("--replies", type=int, default=100)
    parser.add_argument("--reply", choices=["template", "smollm2"], default="template")
    chosen = parser.parse_args()
    count = 3 if chosen.quick else chosen.replies
    report = Report("stalls", {"reply": chosen.reply, "replies": count})
    with ours(ENGINES__REPLY=chosen.reply) as server:
        async with call(server.url, server.wire) as line:
            for text in tqdm(list(itertools.islice(itertools.cycle(_TEXTS), count)), desc="replies", unit="reply"):
                since = len(line.noted)
                await line.ask(text)
                if await line.until(lambda note: note.kind == "reply_done", _PATIENCE_S, since) is None:
                    raise RuntimeError(f"no end of the reply to {text!r} within {_PATIENCE_S:g} s")
            found = gaps(line.noted)
    report.figure("replies with sound", found.replies, count, "replies")
    report.figure("underruns inside them", len(found.underruns_ms), found.replies, "underruns")
    report.figure("longest", max(found.underruns_ms, default=0.0), found.replies, "ms")
    report.finish(chosen.json)
    return 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
