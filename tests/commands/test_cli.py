"""The command line: wrong words are explained, results are one object, every exit has a status."""

import json
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path

import pytest

from robot_agent import __version__, cli
from robot_agent.commands import episodes, learner, output
from robot_agent.commands.interrupt import interruptible
from robot_agent.core.errors import ArmFaultError, ConfigError
from robot_agent.release.registry import Registry
from robot_agent.release.signing import save_keyring
from robot_agent.store.episode_store import EpisodeStore
from tests.release.bundles import KEYRING, OPERATOR, make_bundle
from tests.store.episodes import LOSSLESS, make_episode


def results_of(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    """Return the one JSON object that a command printed."""
    whole = json.loads(capsys.readouterr().out)
    assert set(whole) == {"command", "version", "machine", "seed", "results"}
    assert whole["version"] == __version__
    assert whole["machine"]["cores"] >= 1
    return whole


# ---------------------------------------------------------------------------------- wrong words


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("", ("command", "robot-agent --help")),
        ("rum", ("'rum'", "'run'", "robot-agent --help")),
        ("episodes", ("command", "robot-agent episodes --help")),
        ("run", ("--instruction", "robot-agent run --help")),
        ("run --instruction x --seed -3", ("--seed", "'-3'", "from 0 to", "--help")),
        ("run --instruction x --max-steps 1e3", ("--max-steps", "'1e3'", "1 to 1000")),
        ("run --instruction x --max 3", ("--max", "unrecognized")),
        ("adapt --instruction x --budget-minutes nan", ("'nan'", "0.1 to 100000 minutes")),
        ("bench imagine --batch 1,x", ("--batch", "'x'", "1 to 4096")),
        ("up --sim --robot", ("--robot", "not allowed", "--sim")),
        ("policy export --precision fp8 --out x", ("'fp8'", "'int8'")),
    ],
)
def test_a_wrong_word_is_told_with_its_value_limit_and_remedy(words, told, capsys):
    assert cli.main(words.split()) == 2
    said = capsys.readouterr()
    assert said.out == ""
    for text in told:
        assert text in said.err


@pytest.mark.parametrize("command", ["run", "adapt --scene kitchen"])
@pytest.mark.parametrize("instruction", ["", "make tea"])
def test_an_instruction_of_no_known_task_is_refused_before_any_node_is_asked(
    command, instruction, capsys
):
    assert cli.main([*command.split(), "--instruction", instruction]) == 2
    said = capsys.readouterr().err
    assert f"instruction '{instruction}'" in said
    assert "open the drawer, close the drawer" in said


@pytest.mark.parametrize(
    "words",
    [
        ["run", "--instruction", "open the drawer", "--scene", "kitschen"],
        ["adapt", "--instruction", "open the drawer", "--scene", "kitschen"],
        ["evaluate", "--suite", "kitschen"],
        ["up", "--scene", "kitschen"],
    ],
)
def test_an_unknown_scene_is_refused_with_the_known_ones(words, capsys):
    assert cli.main(words) == 2
    said = capsys.readouterr().err
    assert "'kitschen'" in said
    assert "home, drawer, sink, kitchen" in said


def test_a_setting_that_nobody_knows_is_refused_with_a_suggestion(tmp_path, capsys):
    data = tmp_path / "d.safetensors"
    data.write_bytes(b"")
    words = ["world", "train", "--data", str(data), "--out", str(tmp_path / "w")]
    assert cli.main([*words, "--set", "world.fit.stepz=3"]) == 2
    assert "unknown key 'stepz'. Did you mean 'steps'?" in capsys.readouterr().err


def test_a_file_that_exists_is_never_overwritten(tmp_path, capsys):
    out = tmp_path / "d.safetensors"
    out.write_text("mine")
    assert cli.main(["demos", "collect", "--num", "8", "--out", str(out)]) == 2
    assert "exists, must be new" in capsys.readouterr().err
    assert out.read_text() == "mine"


@pytest.mark.parametrize("words", ["episodes list --store", "weights list --releases"])
def test_a_folder_that_is_not_there_is_refused_and_not_made(words, tmp_path, capsys):
    missing = tmp_path / "nowhere"
    assert cli.main([*words.split(), str(missing)]) == 2
    assert "Name the" in capsys.readouterr().err
    assert not missing.exists()


# ------------------------------------------------------------------------------------- statuses


@pytest.mark.parametrize(
    ("error", "status", "told"),
    [
        (ConfigError("a limit. Do this."), 2, "robot-agent: a limit. Do this.\n"),
        (ArmFaultError("the arm. Do that."), 1, "robot-agent: the arm. Do that.\n"),
        (KeyboardInterrupt(), 130, "interrupted\n"),
    ],
)
def test_each_end_has_its_status_and_one_paragraph(error, status, told, monkeypatch, capsys):
    def fail(_: object) -> int:
        raise error

    monkeypatch.setattr(episodes, "_list", fail)
    assert cli.main(["episodes", "list"]) == status
    assert capsys.readouterr().err == told


def test_an_error_of_the_program_itself_is_not_hidden(monkeypatch):
    monkeypatch.setattr(episodes, "_list", lambda _: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cli.main(["episodes", "list"])


def test_the_first_interrupt_asks_and_the_block_ends_well(capsys):
    reached, before = False, signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), interruptible("the test") as asked:
        os.kill(os.getpid(), signal.SIGINT)
        assert asked.wait(1.0)
        reached = True
    assert reached
    assert "stopping the test" in capsys.readouterr().err
    assert signal.getsignal(signal.SIGINT) is before


def test_the_second_interrupt_leaves_at_once():
    with pytest.raises(KeyboardInterrupt), interruptible("the test"):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        pytest.fail("the second interrupt was not heard")


def test_help_needs_none_of_the_heavy_libraries():
    code = (
        "import sys; from robot_agent import cli; cli.parser(); "
        "print(sorted({'torch', 'rclpy', 'mujoco', 'onnxruntime', 'cv2', 'rich', 'numpy'} "
        "& set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


# --------------------------------------------------------------------------------------- results


def test_a_number_that_is_none_becomes_null(capsys):
    output.show("x", {"a": [float("nan"), 1.5], "b": Path("f")}, as_json=True, seed=3)
    whole = results_of(capsys)
    assert whole["seed"] == 3
    assert whole["results"] == {"a": [None, 1.5], "b": "f"}


def test_brackets_in_a_table_are_text(capsys):
    shown = output.table("PSNR [dB]", ("[m]",), [("[bold]x",)])
    output.show("x", {}, as_json=False, tables=[shown, "[red]plain"])
    said = capsys.readouterr().out
    assert "PSNR [dB]" in said
    assert "[m]" in said
    assert "[bold]x" in said
    assert "[red]plain" in said


def test_episodes_are_listed_shown_and_checked(episodes_path, capsys):
    EpisodeStore(episodes_path, LOSSLESS).append(make_episode("ep-1", steps=3))
    store = ["--store", str(episodes_path), "--json"]
    assert cli.main(["episodes", "list", *store]) == 0
    listed = results_of(capsys)["results"]["episodes"]
    assert [(e["id"], e["num_steps"], e["outcome"]) for e in listed] == [("ep-1", 3, "success")]
    assert cli.main(["episodes", "show", "ep-1", *store]) == 0
    assert results_of(capsys)["results"]["controllers"] == {"operator": 2, "policy": 1}
    assert cli.main(["episodes", "check", *store]) == 0
    assert results_of(capsys)["results"]["entries"] == []


def test_a_damaged_episode_is_found_by_show_and_set_aside_by_check(episodes_path, capsys):
    EpisodeStore(episodes_path, LOSSLESS).append(make_episode("ep-1"))
    recording = episodes_path / "ep-1" / "episode.mcap"
    recording.write_bytes(recording.read_bytes()[:-9])
    assert cli.main(["episodes", "show", "ep-1", "--store", str(episodes_path)]) == 1
    assert "quarantine" in capsys.readouterr().err
    assert cli.main(["episodes", "check", "--store", str(episodes_path), "--json"]) == 0
    assert results_of(capsys)["results"]["entries"][0]["action"] == "quarantined"


@pytest.fixture
def release(releases_path: Path, tmp_path: Path) -> str:
    save_keyring(releases_path / "keyring.json", KEYRING)
    make_bundle(tmp_path / "b1", 1, key=OPERATOR)
    return Registry(releases_path, KEYRING).install_factory(tmp_path / "b1")


def test_weights_are_listed_shown_and_verified(release, releases_path, capsys):
    place = ["--releases", str(releases_path), "--json"]
    assert cli.main(["weights", "list", *place]) == 0
    listed = results_of(capsys)["results"]
    assert listed["current"] == listed["factory"] == release
    assert listed["releases"][0]["state"] == "GOOD"
    assert cli.main(["weights", "show", release, *place]) == 0
    shown = results_of(capsys)["results"]
    assert shown["signed_by"] == "operator"
    assert shown["parameters"] > 0
    assert cli.main(["weights", "verify", *place]) == 0
    assert results_of(capsys)["results"]["damaged"] == 0


def test_damaged_weights_are_found(release, releases_path, capsys):
    policy = Registry(releases_path, KEYRING).path(release) / "policy.safetensors"
    content = bytearray(policy.read_bytes())
    content[-1] ^= 1
    policy.write_bytes(content)
    assert cli.main(["weights", "verify", "--releases", str(releases_path), "--json"]) == 1
    assert "sha256" in results_of(capsys)["results"]["releases"][release]


def test_a_release_that_is_not_there_is_told_with_those_that_are(release, releases_path, capsys):
    for command in (["weights", "show", "v9"], ["evaluate", "--policies", "v9"]):
        assert cli.main([*command, "--releases", str(releases_path)]) == 2
        said = capsys.readouterr().err
        assert "'v9'" in said
        assert release in said


# --------------------------------------------------------------------------------- the learner


def test_the_learner_needs_its_folders(capsys):
    words = ["adapt", "--source", "pipe", "--instruction", "open the drawer", "--run", "r"]
    assert cli.main(words) == 2
    said = capsys.readouterr()
    assert "--store is missing" in said.err
    assert said.out == ""


def test_folders_are_refused_where_the_running_agent_has_its_own(capsys):
    words = ["adapt", "--scene", "kitchen", "--instruction", "open the drawer", "--run", "r"]
    assert cli.main(words) == 2
    assert "--run: only for --source pipe" in capsys.readouterr().err


def test_the_learner_tells_the_robot_why_it_failed_and_prints_nothing_else(tmp_path):
    words = ["adapt", "--source", "pipe", "--scene", "kitchen", "--instruction", "make tea"]
    for name in ("run", "store", "releases"):
        words += [f"--{name}", str(tmp_path / name)]
    run = subprocess.run(
        [sys.executable, "-m", "robot_agent.cli", *words],
        capture_output=True,
        text=True,
        check=False,
        stdin=subprocess.DEVNULL,
    )
    assert run.returncode == 2
    (line,) = run.stdout.splitlines()
    event = json.loads(line)
    assert event["event"] == "failed"
    assert "'make tea'" in event["message"]


def test_what_libraries_print_does_not_reach_the_robot(capfd):
    with learner._own_stdout() as events:
        sys.stdout.write("from python\n")
        os.write(1, b"from a library\n")
        events.write("an event\n")
    said = capfd.readouterr()
    assert said.out == "an event\n"
    assert "from python" in said.err
    assert "from a library" in said.err


def test_an_interrupted_learner_ends_and_takes_its_workers_along():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        started = pool.submit(os.getpid)
        worker = started.result(20.0)
        slow = pool.submit(_sleep)
        with pytest.raises(KeyboardInterrupt), learner._ending_at_once():
            os.kill(os.getpid(), signal.SIGINT)
            threading.Event().wait(5.0)
        with pytest.raises(BrokenProcessPool):
            slow.result(5.0)
    with pytest.raises(ProcessLookupError):
        os.kill(worker, 0)


def _sleep() -> None:
    threading.Event().wait(60.0)


def test_a_run_is_resumed_only_for_the_same_order(tmp_path):
    order = {"scene": "kitchen", "instructions": ("open the drawer",), "config": {"seed": 0}}
    run = tmp_path / "run"
    learner._prepare_run(run, order, is_resumed=True)
    (run / "round_0.json").write_text("{}")
    learner._prepare_run(run, order, is_resumed=True)
    assert (run / "round_0.json").exists()
    with pytest.raises(ConfigError, match="scene was kitchen, now study, must be equal"):
        learner._prepare_run(run, {**order, "scene": "study"}, is_resumed=True)
    assert (run / "round_0.json").exists()


def test_a_new_run_moves_the_old_one_aside(tmp_path):
    order = {"scene": "kitchen", "instructions": (), "config": {}}
    run = tmp_path / "run"
    learner._prepare_run(run, order, is_resumed=False)
    (run / "round_0.json").write_text("{}")
    learner._prepare_run(run, order, is_resumed=False)
    assert not (run / "round_0.json").exists()
    (aside,) = [path for path in tmp_path.iterdir() if path != run]
    assert (aside / "round_0.json").exists()
