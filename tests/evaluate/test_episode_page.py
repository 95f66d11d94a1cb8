"""An episode can be looked at without a display."""

from html.parser import HTMLParser

import numpy as np
from PIL import Image

from robot_agent.evaluate.episode_page import contact_sheet, write_episode_page
from tests.learn.episodes import real_episode


class Tags(HTMLParser):
    def __init__(self):
        super().__init__()
        self.seen = []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))


def test_the_page_needs_nothing_else_and_escapes_what_people_wrote(tmp_path):
    episode = real_episode("e1", 8, instruction="open <b>the</b> drawer", seed=3)
    path = tmp_path / "deep/page.html"
    write_episode_page(path, episode)
    page = Tags()
    page.feed(path.read_text())
    assert "b" not in [tag for tag, _ in page.seen]
    images = [attrs["src"] for tag, attrs in page.seen if tag == "img"]
    assert images and all(source.startswith("data:image/gif") for source in images)
    assert [tag for tag, _ in page.seen].count("svg") == 3


def test_the_sheet_shows_first_and_last_picture(tmp_path):
    episode = real_episode("e1", 30, instruction="open the drawer", seed=3)
    contact_sheet(episode).save(tmp_path / "sheet.png")
    sheet = np.asarray(Image.open(tmp_path / "sheet.png"))
    few = np.asarray(contact_sheet(episode, tiles=2))
    assert sheet.shape[1] > few.shape[1]
    first = Image.fromarray(episode.images[0]).resize((320, 240), Image.Resampling.LANCZOS)
    assert np.array_equal(few[8:248, 8:328], np.asarray(first))
