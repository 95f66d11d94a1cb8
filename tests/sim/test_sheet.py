"""The sheet has every picture at its place."""

import numpy as np

from robot_agent.sim.sheet import TILE_PX, draw_sheet, severities


def test_every_scene_has_its_tile_and_caption():
    pictures = [np.full((480, 640, 3), (40 * k, 0, 200), np.uint8) for k in range(6)]
    captions = [
        (f"scene_{k}", "A sentence that is long enough to be wrapped. " * 3) for k in range(6)
    ]
    sheet = np.array(draw_sheet(pictures, captions))
    width, height = TILE_PX
    assert sheet.shape[1] == 4 * (width + 8) + 8
    for k in range(6):
        x, y = 8 + k % 4 * (width + 8), 8 + k // 4 * (sheet.shape[0] - 8) // 2
        tile = sheet[y : y + height, x : x + width].reshape(-1, 3)
        assert (tile == (40 * k, 0, 200)).all()
        caption = sheet[y + height : y + height + 70, x : x + width]
        assert (caption < 120).any(), "no caption"


def test_severities_leave_out_what_is_at_home():
    assert severities({"light": 0.5, "mass": 0.0, "table_look": 1.0}) == "light 0.5, table look 1"
