"""The report: parses, asks nothing of a network, says what the numbers mean, hides nothing bad."""

import base64
import io
import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from PIL import Image
from rich.console import Console

from robot_agent.core.errors import InputError, StorageError
from robot_agent.evaluate.figures import animation, curves, rate_bars
from robot_agent.evaluate.headline import headline
from robot_agent.evaluate.report import print_table, write_report

_VOID = {"meta", "img", "path", "rect", "circle", "polyline", "br"}
_SOURCES = {"src", "href", "srcset", "data", "action", "poster"}


class Reader(HTMLParser):
    """Checks that every element is closed where it should be; gathers text and sources."""

    def __init__(self):
        super().__init__()
        self.open, self.words, self.sources, self.tags = [], [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in _SOURCES]
        if tag not in _VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.sources += [value for name, value in attrs if name in _SOURCES]

    def handle_endtag(self, tag):
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


def read(text):
    reader = Reader()
    reader.feed(text)
    reader.close()
    assert reader.open == []
    return reader


def cell(successes, trials=80):
    return {"successes": successes, "trials": trials}


def results(**changes):
    curve = [{"success": 0.1 * step, "reward": 0.2 * step} for step in range(5)]
    made = {
        "home_before": cell(70),
        "home_after": cell(68),
        "new_before": cell(30),
        "new_after": cell(62),
        "new_gain_points": 40.0,
        "new_gain_interval": [26.0, 52.0],
        "adapt_seconds": 431.0,
        "swap_missed_ticks": 0,
        "gate_passed": True,
        "peak_memory_mb": 3400.0,
        "scene": "kitchen <&>",
        "per_task": {"kitchen: open the drawer": {"before": cell(9, 40), "after": cell(30, 40)}},
        "gate": [
            {"name": "golden", "passed": True, "value": "1e-6 apart", "limit": "at most 1e-3"},
            {"name": "latency", "passed": False, "value": "300 ms", "limit": "at most 200 ms"},
        ],
        "rounds": [
            {
                "index": 0,
                "real_outcomes": [True, False],
                "gaps": ["open the drawer: imagined 0.60, real 0.50 of 2: goes on"],
                "imagined_after": {"open the drawer": 0.75},
                "curve": curve,
                "version_after": "v2",
                "seconds": 200.0,
            },
            {"index": 1, "curve": curve, "version_after": ""},
        ],
        "timeline": [{"seconds": 3.0, "what": "first frame"}, [9.5, "swap"]],
    }
    return {**made, **changes}


@pytest.fixture
def frames(rng):
    return rng.integers(0, 255, (6, 16, 16, 3), dtype=np.uint8)


def test_the_report_is_one_file_that_parses(tmp_path, frames):
    path = tmp_path / "run" / "report.html"
    clips = {"imagined, round 0": frames[:4], "real, round 0": frames, "start": frames[:1]}
    write_report(path, json.loads(json.dumps(results())), clips)
    text = path.read_text("utf-8")
    reader = read(text)
    assert [p.name for p in path.parent.iterdir()] == ["report.html"]
    assert len(reader.sources) == 3
    assert all(source.startswith("data:image/gif;base64,") for source in reader.sources)
    without_pictures = re.sub(r"base64,[^\"]+", "", text)
    assert not re.search(r"https?:|//|@import|url\(|<script", without_pictures)
    assert "prefers-color-scheme: dark" in text
    assert reader.tags.count("svg") == 3
    assert text.index("real, round 0") < text.index("imagined, round 0")


def test_each_number_stands_in_the_report_with_its_sentence(tmp_path, frames):
    write_report(tmp_path / "report.html", results(), {})
    words = " ".join("".join(read((tmp_path / "report.html").read_text("utf-8")).words).split())
    for expected in (
        "Adapting to the scene 'kitchen <&>'",
        "+40",
        "between +26 and +52: better.",
        "38 % to 78 %",
        "88 % to 85 %",
        "7 min 11 s",
        "missed while weights were swapped under control",
        "3.4 GB",
        "30 of 40",
        "imagined 0.60, real 0.50 of 2: goes on",
        "not released",
        "FAILED",
        "at most 200 ms",
        "first frame",
        "took over",
    ):
        assert expected in words, expected
    assert "Real and imagined" not in words


def test_bad_news_is_told():
    facts = {
        fact.title: fact
        for fact in headline(
            results(
                new_gain_interval=[-5.0, 30.0],
                swap_missed_ticks=None,
                gate_passed=False,
                adapt_seconds=None,
            )
        )
    }
    assert "could be chance" in facts["Gain in the new scene"].sentence
    assert facts["Gain in the new scene"].mood == ""
    assert (facts["Missed ticks"].value, facts["Missed ticks"].mood) == ("not measured", "bad")
    assert (facts["Gate"].value, facts["Gate"].mood) == ("refused", "bad")
    assert facts["Time to adapt"].value == "none"
    worse = headline(results(new_gain_points=-9.0, new_gain_interval=[-15.0, -2.0]))[0]
    assert (worse.mood, worse.value) == ("bad", "-9")
    assert headline(results(swap_missed_ticks=2))[4].mood == "bad"


def test_a_refused_candidate_did_not_take_over(tmp_path):
    write_report(tmp_path / "report.html", results(gate_passed=False), {})
    assert "the old ones kept running" in (tmp_path / "report.html").read_text("utf-8")


def test_what_cannot_be_shown_is_named(tmp_path, frames):
    whole = results()
    del whole["gate_passed"]
    with pytest.raises(InputError, match="gate_passed missing"):
        write_report(tmp_path / "report.html", whole, {})
    with pytest.raises(InputError, match="clip 'real': expected uint8"):
        write_report(tmp_path / "report.html", results(), {"real": frames.astype(float)})
    with pytest.raises(InputError, match="clip 'real': 0 frames"):
        write_report(tmp_path / "report.html", results(), {"real": frames[:0]})
    assert not (tmp_path / "report.html").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="writing the report failed"):
        write_report(tmp_path / "file" / "report.html", results(), {})


def test_an_animation_plays_every_frame_at_the_rate_of_control(frames):
    content = base64.b64decode(re.search(r"base64,([^\"]+)", animation(frames, "x")).group(1))
    image = Image.open(io.BytesIO(content))
    assert image.n_frames == 6
    assert image.size == (16, 16)
    assert 'width="48" height="48"' in animation(frames, "x")
    assert image.info["duration"] == 200
    assert image.info["loop"] == 0
    flat = np.zeros((3, 8, 8, 3), np.uint8)
    flat[1] = (250, 0, 0)
    content = base64.b64decode(re.search(r"base64,([^\"]+)", animation(flat, "x")).group(1))
    image = Image.open(io.BytesIO(content))
    image.seek(1)
    assert np.abs(np.asarray(image.convert("RGB")).mean((0, 1)) - (250, 0, 0)).max() < 8


def test_curves_rise_to_the_right_and_leave_out_what_is_not_finite():
    text = curves({"a": [(0, 0.0), (1, float("nan")), (2, 1.0)]}, "t", "x", "y")
    points = re.search(r'polyline class="line c0" points="([^"]+)"', text).group(1).split()
    (x_0, y_0), (x_1, y_1) = (map(float, point.split(",")) for point in points)
    assert x_0 < x_1
    assert y_0 > y_1  # up is less in SVG
    assert "nothing was measured" in curves({"a": []}, "t", "x", "y")
    read(curves({"<b>": [(0, 1)], "c": [(0, 1)]}, "t & u", "x", "y"))


def test_bars_are_as_long_as_their_rates():
    text = rate_bars({"a": (0.5, 0.4, 0.6), "b": (1.0, 0.9, 1.0)}, "t")
    widths = [
        float(w) for w in re.findall(r'class="bar c\d" x="150" y="\d+" width="([\d.]+)"', text)
    ]
    assert widths[1] == pytest.approx(2 * widths[0])


def test_the_table_prints_in_a_terminal():
    console = Console(width=100, record=True, file=io.StringIO())
    print_table(results(), console)
    text = console.export_text()
    for expected in (
        "Gain in the new scene",
        "+40",
        "38 % to 78 %",
        "9/40 to 30/40",
        "7 min 11 s",
    ):
        assert expected in text


def test_unknown_outcomes_are_told_apart_and_in_no_rate(tmp_path):
    made = results()
    made["rounds"][0]["real_outcomes"] = [True, None, False, None]
    made["rounds"][1]["real_outcomes"] = [None]
    write_report(tmp_path / "report.html", made, {})
    text = (tmp_path / "report.html").read_text("utf-8")
    assert "1 of 2, 2 unknown" in text
    assert "<td>1 unknown</td>" in text
