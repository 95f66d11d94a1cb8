"""A run that is killed goes on to the very numbers it would have reached; processes share one."""

import dataclasses
import hashlib
import json
import multiprocessing
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file, save_file

from robot_agent.core.errors import BundleRejectedError, ConfigError, InputError
from robot_agent.learn.dit_pretraining import DitJob, DitPretrainingConfig, pretrain_dit
from robot_agent.learn.dit_training import DitTrainingConfig, train_dit
from robot_agent.learn.fit import FitConfig, fit
from robot_agent.learn.latents import LatentEpisodes
from robot_agent.learn.sources import Source
from robot_agent.learn.split import SplitConfig
from robot_agent.learn.training_checkpoint import Keep
from robot_agent.learn.world_training import WorldTrainingConfig, train_world
from robot_agent.models.lora import LoraConfig
from robot_agent.models.tiny_world import TinyWorld, TinyWorldConfig
from robot_agent.models.worldgym.network import Dit, DitConfig
from robot_agent.sim.collect import Plan, collect
from robot_agent.sim.recordings import save_recording
from tests.learn.episodes import moving_dot

SMALL = TinyWorldConfig(channels=(8, 16, 16), condition=16)
CONFIG = WorldTrainingConfig(
    fit=FitConfig(steps=6, warmup_steps=2), frames=4, unroll=(1, 2), stages=(0.5, 1.0)
)


def train(keep=None, report=None, config=CONFIG, size=SMALL):
    torch.manual_seed(5)
    world = TinyWorld(size)
    train_world(world, moving_dot(4), config, 3, report=report, keep=keep)
    return world.state_dict()


def stop_after(count):
    def report(step, _total, _metrics):
        if step == count:
            raise KeyboardInterrupt

    return report


def assert_equal(one, two):
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_a_resumed_run_reaches_the_numbers_of_a_straight_one(tmp_path):
    keep = Keep(tmp_path / "run", "order", every=2)
    straight = train()
    with pytest.raises(KeyboardInterrupt):
        train(keep, stop_after(5))
    seen = []
    resumed = train(keep, lambda step, *_: seen.append(step))
    assert seen == [5, 6]
    assert_equal(resumed, straight)


def test_the_averaged_network_resumes_too(tmp_path):
    size = DitConfig(channels=3, latent_px=8, patch=4, embedding=16, depth=1, heads=2)
    episodes = LatentEpisodes(torch.rand(4, 6, 3, 8, 8).half(), torch.rand(4, 6, 10))
    config = DitTrainingConfig(fit=FitConfig(steps=5), batch=2, frames=4, ema_decay=0.5)

    def run(keep=None, report=None):
        torch.manual_seed(1)
        averaged, _ = train_dit(Dit(size), episodes, config, 2, keep=keep, report=report)
        return averaged.state_dict()

    straight, keep = run(), Keep(tmp_path / "run", "order", every=3)
    with pytest.raises(KeyboardInterrupt):
        run(keep, stop_after(4))
    assert_equal(run(keep), straight)


def _train_until_killed(path):
    def report(step, _total, _metrics):
        if step == 4:
            os.kill(os.getpid(), signal.SIGKILL)

    train(Keep(path, "order", every=1), report)


@pytest.mark.slow
def test_a_killed_process_leaves_a_whole_checkpoint(tmp_path):
    process = multiprocessing.get_context("spawn").Process(
        target=_train_until_killed, args=(tmp_path / "run",)
    )
    process.start()
    process.join(120)
    assert process.exitcode == -signal.SIGKILL
    assert_equal(train(Keep(tmp_path / "run", "order", every=1)), train())


def test_another_order_does_not_resume(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(Keep(path, "seed 1", every=1), stop_after(2))
    with pytest.raises(InputError, match=r"is of another run \(seed 1\), must be seed 2"):
        train(Keep(path, "seed 2", every=1))


def test_a_cut_checkpoint_is_named(tmp_path):
    path = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        train(Keep(path, "order", every=1), stop_after(2))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match=r"is no checkpoint .* Move it away to start again"):
        train(Keep(path, "order", every=1))


def test_a_checkpoint_of_another_shape_is_refused(tmp_path):
    keep = Keep(tmp_path / "run", "order", every=1)
    with pytest.raises(KeyboardInterrupt):
        train(keep, stop_after(2))
    with pytest.raises(BundleRejectedError, match="those of the network"):
        train(keep, size=TinyWorldConfig(channels=(8, 16, 24), condition=16))


def fit_line(batches, config=None):
    """Fit y = 3 x; `batches` are drawn in turn."""
    torch.manual_seed(0)
    line = torch.nn.Linear(1, 1)
    turns = iter(batches)

    def loss_of_step(_step):
        x = next(turns)
        loss = (line(x) - 3 * x).square().mean()
        return loss, {"loss": float(loss.detach())}

    fit(line.parameters(), loss_of_step, config or FitConfig(steps=8, learning_rate=0.05))
    return torch.cat([value.detach().flatten() for value in line.parameters()])


def numbers():
    return torch.from_numpy(np.random.default_rng(0).normal(size=(8, 4, 1)).astype(np.float32))


def test_accumulated_batches_equal_one_large_one():
    halves = [half for batch in numbers() for half in batch.split(2)]
    config = FitConfig(steps=8, learning_rate=0.05, accumulate=2)
    assert torch.allclose(fit_line(halves, config), fit_line(numbers()), atol=1e-6)


def test_a_constant_schedule_does_not_decay():
    many = [batch for _ in range(10) for batch in numbers()]
    constant = FitConfig(steps=80, learning_rate=0.05, schedule="constant")
    cosine = FitConfig(steps=80, learning_rate=0.05)
    target = torch.tensor([3.0, 0.0])
    off = [(fit_line(many, config) - target).norm() for config in (constant, cosine)]
    assert off[0] < off[1]


def _half_of_two(rank: int, store: Path, out: Path) -> None:
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
    found = fit_line([batch.split(2)[rank] for batch in numbers()])
    dist.destroy_process_group()
    np.save(out / f"{rank}.npy", found.numpy())


@pytest.mark.slow
def test_two_processes_equal_one_with_twice_the_batch(tmp_path):
    context = multiprocessing.get_context("spawn")
    arguments = [(rank, tmp_path / "store", tmp_path) for rank in range(2)]
    processes = [context.Process(target=_half_of_two, args=each) for each in arguments]
    for process in processes:
        process.start()
    for process in processes:
        process.join(180)
    one = fit_line(numbers()).numpy()
    for rank in range(2):
        assert np.allclose(np.load(tmp_path / f"{rank}.npy"), one, atol=1e-6)


EVEN = FitConfig(steps=4, learning_rate=1e-4, warmup_steps=1)


def halved(frames, keep=None, stop=0):
    """Train with so many frames for this process; two processes train with twice as many."""
    config = WorldTrainingConfig(fit=EVEN, frames=frames, unroll=(1,), stages=(1.0,))
    return train(keep, stop_after(stop) if stop else None, config)


def _one_of_two(rank: int, folder: Path, stop: int) -> None:
    store = f"file://{folder}/store_{stop}"
    dist.init_process_group("gloo", init_method=store, rank=rank, world_size=2)
    try:
        keep = Keep(folder / "run", "order", every=1)
        found = halved(4, keep if stop >= 0 else None, max(stop, 0))
        save_file(found, folder / f"{rank}.safetensors")
    except KeyboardInterrupt:
        pass
    finally:
        dist.destroy_process_group()


def two_processes(folder: Path, stop: int):
    """Train on two processes: -1 without checkpoints, 0 with them, n stops after n updates."""
    context = multiprocessing.get_context("spawn")
    both = [context.Process(target=_one_of_two, args=(rank, folder, stop)) for rank in range(2)]
    for process in both:
        process.start()
    for process in both:
        process.join(180)
    assert [process.exitcode for process in both] == [0, 0]


def mean_difference(one, two):
    return float(np.mean([(one[name] - two[name]).abs().mean() for name in one]))


@pytest.mark.slow
def test_two_processes_train_what_one_with_twice_the_batch_trains(tmp_path):
    two_processes(tmp_path, -1)
    both = [load_file(tmp_path / f"{rank}.safetensors") for rank in range(2)]
    assert_equal(*both)
    assert mean_difference(both[0], halved(8)) < 1e-6
    assert mean_difference(both[0], halved(4)) > 1e-5


@pytest.mark.slow
def test_two_processes_go_on_from_one_checkpoint(tmp_path):
    two_processes(tmp_path, 2)
    assert not (tmp_path / "0.safetensors").exists()
    assert (tmp_path / "run").exists()
    two_processes(tmp_path, 0)
    both = [load_file(tmp_path / f"{rank}.safetensors") for rank in range(2)]
    assert_equal(*both)
    assert mean_difference(both[0], halved(8)) < 1e-6


def dit_run(tmp_path, name, stop=0, **changes):
    size = DitConfig(channels=3, latent_px=8, patch=4, embedding=16, depth=1, heads=2)
    training = DitTrainingConfig(fit=FitConfig(steps=5), batch=2, frames=4, ema_decay=0.5)
    config = DitPretrainingConfig(network=size, training=training, checkpoint_every=2, **changes)
    source = Source("recording", tmp_path / "play.safetensors")
    job = DitJob(sources=(source,), out=tmp_path / name, seed=3)
    return pretrain_dit(job, config, report=stop_after(stop) if stop else None)


@pytest.fixture
def play(tmp_path):
    save_recording(
        tmp_path / "play.safetensors", collect(Plan(kind="play", num=4, seed=5, steps=6), 1)
    )


def test_a_diffusion_model_goes_on_where_it_was_stopped(tmp_path, play):
    straight = dit_run(tmp_path, "straight")
    with pytest.raises(KeyboardInterrupt):
        dit_run(tmp_path, "run", stop=3)
    assert not (tmp_path / "run").exists()
    assert (tmp_path / "run.training").exists()
    resumed = dit_run(tmp_path, "run")
    assert_equal(
        *(load_file(tmp_path / name / "world.safetensors") for name in ("run", "straight"))
    )
    assert not (tmp_path / "run.training").exists()
    assert resumed["parameters"] == straight["parameters"]
    assert [path.name for path in sorted((tmp_path / "run.clips").iterdir())] == [
        "000002.mp4", "000004.mp4", "000005.mp4",
    ]  # fmt: skip


def test_a_run_makes_the_folder_that_it_is_kept_in(tmp_path, play):
    dit_run(tmp_path, "not/there/yet")
    assert (tmp_path / "not" / "there" / "yet" / "world.json").exists()


def test_a_diffusion_model_is_finetuned_by_low_rank_and_names_its_base(tmp_path, play):
    dit_run(tmp_path, "base", held_out=SplitConfig(episodes=0.25))
    base = load_file(tmp_path / "base" / "world.safetensors")
    lora = DitTrainingConfig(
        fit=FitConfig(steps=3, learning_rate=1e-2), batch=2, frames=4, lora=LoraConfig(rank=2)
    )
    job = DitJob(
        sources=(Source("recording", tmp_path / "play.safetensors"),),
        out=tmp_path / "tuned", init=tmp_path / "base",
    )  # fmt: skip
    results = pretrain_dit(
        job, DitPretrainingConfig(training=lora, held_out=SplitConfig(episodes=0.25))
    )
    notes = json.loads((tmp_path / "tuned" / "world.json").read_text())
    whole = (tmp_path / "base" / "world.safetensors").read_bytes()
    assert notes["base_sha256"] == hashlib.sha256(whole).hexdigest()
    assert notes["lora"] == {"rank": 2, "scale": 2.0}
    assert set(results["held_out"]) == {"1", "5"}
    tuned = load_file(tmp_path / "tuned" / "world.safetensors")
    assert list(tuned) == list(base)
    changed = tuned["x_proj.weight"] - base["x_proj.weight"]
    assert 0 < torch.linalg.matrix_rank(changed.flatten(1), atol=1e-6) <= 2
    with pytest.raises(ConfigError, match="weights of the autoencoder pixels, not taef2"):
        pretrain_dit(
            dataclasses.replace(job, out=tmp_path / "other", autoencoder="taef2"),
            DitPretrainingConfig(training=lora),
        )


@pytest.mark.slow
def test_torchrun_trains_a_world_and_one_process_writes(tmp_path):
    plan = Plan(kind="play", num=2, seed=5, steps=6)
    save_recording(tmp_path / "play.safetensors", collect(plan, workers=1))
    words = ["world", "train", "--data", str(tmp_path / "play.safetensors")]
    words += ["--out", str(tmp_path / "w.safetensors"), "--set", "world.fit.steps=1", "--json"]
    small = ["--set", "world.unroll=[1]", "--set", "world.stages=[1.0]", "--set", "world.frames=4"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
    address = ["--master-addr", "127.0.0.1", "--master-port", "29611"]
    done = subprocess.run(
        [*torchrun, *address, "-m", "robot_agent.cli", *words, *small],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.count('"command": "world train"') == 1
    assert (tmp_path / "w.safetensors").exists()
