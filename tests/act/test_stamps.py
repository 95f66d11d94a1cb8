"""A camera's clock mapped to the monotonic one."""

import pytest

from robot_agent.act.stamps import FrameCounter, StampMapper

MS = 1_000_000
HOUR = 3600 * 1000 * MS
PERIOD = 33 * MS


def errors_ms(delays_ms: list[float], jump_ns: int = 0, jump_at: int = -1) -> list[float]:
    """How far each mapped stamp is from the capture time; the camera's clock may be set once."""
    mapper, errors = StampMapper(), []
    for index, delay_ms in enumerate(delays_ms):
        captured_ns = HOUR + index * PERIOD
        arrival_ns = captured_ns + round(delay_ms * MS)
        camera_ns = captured_ns + 17 * HOUR + (jump_ns if 0 <= jump_at <= index else 0)
        stamp_ns = mapper.map(camera_ns, arrival_ns)
        assert stamp_ns <= arrival_ns
        errors.append((stamp_ns - captured_ns) / MS)
    return errors


def test_the_fastest_frame_fixes_the_clock_and_no_stamp_lies_in_the_future() -> None:
    assert errors_ms([12.0, 3.0, 40.0, 3.5, 8.0])[1:] == pytest.approx([3.0] * 4)


def test_a_late_frame_keeps_the_time_at_which_it_was_taken() -> None:
    found = errors_ms([3.0, 3.0, 400.0, 3.0])
    assert found == pytest.approx([3.0] * 4)


@pytest.mark.parametrize("jump_ns", [HOUR, -HOUR])
def test_a_clock_that_is_set_costs_one_frame_its_own_stamp(jump_ns: int) -> None:
    found = errors_ms([3.0, 3.0, 9.0, 3.0, 5.0], jump_ns, jump_at=2)
    assert found == pytest.approx([3.0, 3.0, 9.0, 3.0, 3.0])


def test_stamps_of_no_use_are_replaced_by_the_arrival_and_said() -> None:
    mapper = StampMapper()
    mapper.map(0, HOUR)
    assert not mapper.is_replaced
    for index in range(1, 4):
        assert mapper.map(0, HOUR + index * PERIOD) == HOUR + index * PERIOD
        assert mapper.is_replaced


def test_a_clock_that_stood_still_or_leapt_ahead_is_said_once() -> None:
    for step_ns in (10 * PERIOD, 10 * PERIOD + HOUR):
        mapper = StampMapper()
        mapper.map(0, HOUR)
        arrival_ns = HOUR + 10 * PERIOD + (0 if step_ns > HOUR else 5 * 1000 * MS)
        assert mapper.map(step_ns, arrival_ns) == arrival_ns
        assert mapper.is_replaced
        assert mapper.map(step_ns + PERIOD, arrival_ns + PERIOD) == arrival_ns + PERIOD
        assert not mapper.is_replaced


def test_measured_latency_is_taken_off() -> None:
    assert StampMapper(latency_ns=20 * MS).map(5, HOUR) == HOUR - 20 * MS


def test_a_gap_in_the_stamps_is_a_gap_in_the_numbers() -> None:
    counter = FrameCounter(PERIOD)
    stamps = [0, PERIOD + 4 * MS, 2 * PERIOD - 5 * MS, 5 * PERIOD, 6 * PERIOD]
    assert [counter.count(s, is_replaced=False) for s in stamps] == [0, 1, 2, 5, 6]
    assert counter.count(6 * PERIOD + HOUR, is_replaced=True) == 7
