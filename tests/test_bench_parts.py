"""What benches are made of, on cases whose answer is known."""

from __future__ import annotations

import asyncio
import json
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import numpy as np
import pytest
from bench.bad_network import Weather, through
from bench.clips import Clip, Pause
from bench.gaps import gaps
from bench.line import Noted
from bench.load import Plan
from bench.one_turn import cut
from bench.peer.measure import choose
from bench.plot import Bar, Point, curve, waterfall
from bench.report import Report
from bench.server_process import Spent
from bench.soak import growth
from bench.tables import main, put, table


def sound(at_s: float, sound_s: float = 0.04) -> Noted:
    return Noted(at_s, "sound", True, sound_s)


def test_a_packet_that_comes_after_what_was_sent_has_been_played_is_an_underrun() -> None:
    in_time = [sound(1.0), sound(1.03), sound(1.08)]
    late = [sound(1.0), sound(1.03), sound(1.10)]
    assert gaps(in_time).underruns_ms == ()
    assert gaps(late).underruns_ms == pytest.approx([20])


def test_the_pause_between_two_replies_is_no_underrun() -> None:
    told = [sound(1.0), Noted(1.1, "reply_done"), sound(1.2)]
    untold = [sound(1.0), sound(3.0)]
    for notes in (told, untold):
        found = gaps(notes)
        assert (found.replies, found.underruns_ms) == (2, ())


def test_a_pause_is_cut_when_a_turn_ends_in_it_or_is_told_of_just_behind_it() -> None:
    pauses = (Pause(1000, 1500, "mid"), Pause(3000, 4500, "mid"), Pause(6000, 6400, "complete"))
    clip = Clip("clip", np.zeros(16, np.float32), "", 8000.0, pauses)
    assert cut(clip, [1300.0], "mid") == 1
    assert cut(clip, [1600.0], "mid") == 1
    assert cut(clip, [900.0, 2000.0, 8300.0], "mid") == 0
    assert cut(clip, [3500.0], "mid") == 0, "a pause of 1.5 s may end a turn"
    assert cut(clip, [6200.0], "complete") == 1


def test_turns_are_every_clip_once_and_then_the_short_ones() -> None:
    clips = [Clip(f"{n}", np.zeros(n, np.float32), "", 0.0, ends_turn=n != 5) for n in range(1, 7)]
    assert {clip.name for clip in choose(clips, 8)} == {"1", "2", "3", "4", "5", "6"}
    assert sum(clip.ends_turn for clip in choose(clips, 8)) == 8
    assert [clip.name for clip in choose(clips, 2)] == ["1", "2"]


def test_a_session_under_load_talks_a_quarter_of_the_time_on_the_windows_grid() -> None:
    for number in range(7):
        pcm, end = Plan().microphone(number, 7)
        assert np.count_nonzero(pcm) == len(pcm) // 4
        loud_until = end % 400 * 320
        assert pcm[loud_until - 1] > 0
        assert pcm[loud_until % len(pcm)] == 0
        assert loud_until % 160 == 0
        assert (end - 100) * 320 % 512 == 0


def test_growth_is_the_slope_of_the_second_half() -> None:
    flat_then_rising = [Spent(float(s), 0.0, 1000 if s < 60 else 1000 + (s - 60), 5, 5) for s in range(120)]
    assert growth(flat_then_rising, "memory_bytes") == pytest.approx(60, rel=0.01)
    assert growth(flat_then_rising, "files") == pytest.approx(0, abs=1e-6)


def test_a_ratio_is_of_medians_and_of_90th_percentiles() -> None:
    report = Report("example", {})
    report.ratio("ours / peer", [1.0, 2.0, 3.0], [2.0, 4.0, 12.0])
    assert (report.rows[0]["median"], report.rows[0]["p90"]) == (0.5, 0.25)
    report.ratio("nothing", [], [1.0])
    assert report.notes == ["nothing: not measured"]


def test_results_go_where_the_document_has_a_place_for_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    report = Report("peer", {"reply": "template"})
    report.values("voice to voice", [500.0, 600.0, 700.0])
    report.figure("cut", 2, 14, "pauses")
    report.finish(tmp_path / "bench_peer.json")
    written = table(json.loads((tmp_path / "bench_peer.json").read_text()))
    assert "| voice to voice | 600 ms | 700 ms | 3 |" in written
    assert "| cut | 2 pauses |  | 14 |" in written
    document = tmp_path / "benchmarks.md"
    document.write_text("before\n<!-- peer -->\nnot measured\n<!-- /peer -->\nbehind\n")
    monkeypatch.setattr("sys.argv", ["tables", str(document), str(tmp_path / "bench_peer.json")])
    assert main() == 0
    assert document.read_text() == f"before\n<!-- peer -->\n{written}\n<!-- /peer -->\nbehind\n"
    assert put(document.read_text(), "load", "") is None
    document.write_text("<!-- headline -->\n<!-- /headline -->\n")
    assert main() == 0
    assert "| the same of Pipecat 1.14, same models, interleaved | not measured | | |" in document.read_text()
    (tmp_path / "bench_peer.json").rename(tmp_path / "bench_load.json")
    document.write_text("")
    monkeypatch.setattr("sys.argv", ["tables", str(document), str(tmp_path / "bench_load.json")])
    assert main() == 1
    assert "no place for load" in capsys.readouterr().err


def test_plots_are_well_formed_and_hold_every_point() -> None:
    drawn = ElementTree.fromstring(curve([Point(300, 7, "x 0.5"), Point(440, 2, "x 1 & more")], "ms", "cut"))
    shape = "{http://www.w3.org/2000/svg}"
    centres = [(float(each.attrib["cx"]), float(each.attrib["cy"])) for each in drawn.iter(f"{shape}circle")]
    assert len(centres) == 2
    assert centres[0][0] < centres[1][0], "later is further right"
    assert centres[0][1] < centres[1][1], "more is higher"
    bars = list(ElementTree.fromstring(waterfall([Bar("a", 0, 100), Bar("b", 100, 300)], "ms")).iter(f"{shape}rect"))
    widths = [float(each.attrib["width"]) for each in bars[1:]]
    assert widths[1] == pytest.approx(2 * widths[0], abs=0.2)


async def test_a_bad_network_delays_everything_and_loses_nothing() -> None:
    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            writer.write(data)
        writer.close()

    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    weather = Weather(delay_ms=60, jitter_ms=0, stall_every_s=0.05, stall_ms=30)
    async with through(server.sockets[0].getsockname()[1], weather) as front:
        reader, writer = await asyncio.open_connection("127.0.0.1", front)
        sent = b"".join(number.to_bytes(4, "little") for number in range(1000))
        began = loop.time()
        for at in range(0, len(sent), 400):
            writer.write(sent[at : at + 400])
            await asyncio.sleep(0.01)
        assert await asyncio.wait_for(reader.readexactly(len(sent)), 30) == sent
        assert loop.time() - began >= 0.12
        writer.close()
    server.close()
