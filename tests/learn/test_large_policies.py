"""A large policy practises on the road of a small one: its adapter learns, its base does not."""

import numpy as np
import pytest
import torch

from robot_agent.core.errors import InputError
from robot_agent.learn.grpo import GrpoConfig
from robot_agent.learn.imagine import ImagineConfig, Start, imagine
from robot_agent.learn.practice import Burst, PracticeConfig, Safeguards
from robot_agent.models.openvla_chunks import OpenVlaChunks
from robot_agent.models.openvla_images import PictureConfig
from robot_agent.models.openvla_lora import AdapterConfig, weights_hash
from robot_agent.models.openvla_policy import chunk_log_probs
from robot_agent.models.openvla_statistics import choose_statistics
from robot_agent.models.openvla_tensors import load_openvla
from robot_agent.models.tiny_policy import token_log_probs
from tests.contracts.worlds import CountingWorld, observations
from tests.learn.test_grpo import BanditJudge
from tests.models.test_openvla import BRIDGE
from tests.models.tiny_openvla import PROMPTS, TINY, write_folder

TASKS = ("open the drawer", "close the drawer")
ADAPTER = AdapterConfig(rank=4, alpha=8)
CONFIG = PracticeConfig(
    iterations=2,
    starts=2,
    group=3,
    min_groups=1,
    max_groups=2,
    imagine=ImagineConfig(chunks=1, temperature=1.6),
    grpo=GrpoConfig(epochs=1, minibatch=4, learning_rate=1e-3),
    save_every=1,
)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_folder(tmp_path_factory.mktemp("openvla"))


def make_policy(folder, *, has_proprio=False, **settings):
    torch.manual_seed(0)
    network = load_openvla(folder, TINY, dtype=torch.float32, has_proprio=has_proprio)
    prompts = dict(zip(TASKS, PROMPTS.values(), strict=True))

    def encode(text):
        return next(ids for words, ids in prompts.items() if words in text)

    actions = choose_statistics({"bridge_orig": BRIDGE}, "bridge_orig")
    picture = PictureConfig(size_px=28)
    return OpenVlaChunks(network, encode, actions, TASKS, picture=picture, **settings)


def starts():
    return [Start(seen, index) for index, seen in enumerate(observations(2))]


def practised(policy, **guards):
    world = CountingWorld(strict=False)
    judge, checkpointed = BanditJudge(world), Safeguards(**guards)
    burst = Burst(policy, [world], judge, starts(), CONFIG, seed=0, safeguards=checkpointed)
    return burst.run()


def test_practice_changes_the_adapter_and_leaves_the_base_alone(folder):
    plain = weights_hash(load_openvla(folder, TINY, dtype=torch.float32))
    policy = make_policy(folder, adapter=ADAPTER)
    assert policy.base_hash == plain
    before = {name: value.clone() for name, value in policy.state_dict().items()}
    result = practised(policy)
    assert any("loss" in row for row in result.curve)
    changed = {n for n, v in policy.state_dict().items() if not torch.equal(v, before[n])}
    assert changed
    assert all("lora_" in name for name in changed)
    assert changed <= set(dict(policy.named_parameters()))


def test_a_checkpoint_holds_the_adapter_alone_and_goes_on_to_the_same_weights(folder, tmp_path):
    path = tmp_path / "practice.safetensors"
    straight = make_policy(folder, adapter=ADAPTER)
    curve = practised(straight).curve

    class KilledError(Exception):
        pass

    def kill(step, total, metrics):
        if step == 2:
            raise KilledError

    world = CountingWorld(strict=False)
    burst = Burst(
        make_policy(folder, adapter=ADAPTER),
        [world],
        BanditJudge(world),
        starts(),
        CONFIG,
        seed=0,
        safeguards=Safeguards(checkpoint=path),
    )
    with pytest.raises(KilledError):
        burst.run(kill)
    base_bytes = sum(v.nbytes for n, v in straight.state_dict().items() if "lora_" not in n)
    assert path.stat().st_size < base_bytes / 2
    resumed = make_policy(folder, adapter=ADAPTER)
    assert practised(resumed, checkpoint=path).curve == curve
    for name, value in straight.trained().items():
        assert torch.equal(value, resumed.trained()[name])


def test_the_whole_network_practises_without_an_adapter(folder):
    policy = make_policy(folder)
    before = policy.copied()
    practised(policy)
    changed = [n for n, v in policy.trained().items() if not torch.equal(v, before[n])]
    assert any("language" in name for name in changed)
    assert any("projector" in name for name in changed)


def test_recomputed_blocks_give_the_same_log_probabilities_and_gradients(folder):
    images = torch.from_numpy(np.stack([s.observation.image_hwc for s in starts()]))
    images, ids = images.movedim(-1, 1).float() / 255.0, torch.tensor([0, 1])
    tokens = torch.randint(256, (2, 5, 7), generator=torch.Generator().manual_seed(1))
    found = []
    for checkpointing in (False, True):
        policy = make_policy(folder, adapter=ADAPTER, checkpointing=checkpointing)
        log_probs = token_log_probs(policy(images, ids), tokens, 1.6)
        log_probs.sum().backward()
        gradients = {n: p.grad for n, p in policy.named_parameters() if p.grad is not None}
        found.append((log_probs.detach(), gradients))
    (kept, kept_gradients), (again, gradients) = found
    assert torch.allclose(kept, again, atol=1e-6)
    assert kept_gradients.keys() == gradients.keys() != set()
    for name, gradient in gradients.items():
        assert torch.allclose(kept_gradients[name], gradient, atol=1e-5), name


def test_recomputing_keeps_fewer_activations(folder):
    images, ids = torch.rand(2, 3, 64, 64), torch.tensor([0, 1])
    kept = []
    for checkpointing in (False, True):
        policy, sizes = make_policy(folder, adapter=ADAPTER, checkpointing=checkpointing), []
        weights = {p.untyped_storage().data_ptr() for p in policy.parameters()}

        def keep(tensor, sizes=sizes, weights=weights):
            if tensor.untyped_storage().data_ptr() not in weights:
                sizes.append(tensor.nbytes)
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            policy(images, ids)
        kept.append(sum(sizes))
    assert kept[1] < kept[0] / 2


def test_rollouts_carry_the_networks_own_exact_log_probabilities(folder):
    policy = make_policy(folder, adapter=ADAPTER)
    rollouts = imagine(
        CountingWorld(strict=False),
        policy,
        None,
        starts(),
        ImagineConfig(chunks=1, temperature=1.6),
        group=2,
        version=0,
        generator=torch.Generator().manual_seed(0),
    )
    from robot_agent.models.openvla_images import prepare_picture

    config = PictureConfig(size_px=28)
    images = rollouts.images_BNHWC[:, 0].numpy()
    pixels = torch.stack([prepare_picture(image, config) for image in images])
    with torch.no_grad():
        context = policy.network.context(pixels)
        prompts = [list(PROMPTS.values())[i] for i in rollouts.instructions_B.tolist()]
        found = chunk_log_probs(policy.network, context, prompts, rollouts.tokens_BNKA[:, 0], 1.6)
    assert torch.allclose(found, rollouts.log_probs_BNKA[:, 0], atol=1e-4)


def test_weights_that_take_a_state_cannot_practise_on_pictures(tmp_path):
    folder = write_folder(tmp_path / "proprio", has_proprio=True)
    with pytest.raises(InputError, match="takes a measured state"):
        make_policy(folder, has_proprio=True, adapter=ADAPTER)


def test_a_dropout_that_would_part_rollout_and_update_is_refused(folder):
    with pytest.raises(InputError, match="drop activations, none may"):
        make_policy(folder, adapter=AdapterConfig(rank=4, alpha=8, dropout=0.1))
