"""A published checkpoint comes in whole, or is refused with every reason; nothing in it runs."""

import io
import json
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import load_file, save_file

from robot_agent.cli import main
from robot_agent.core.errors import ConfigError, InputError
from robot_agent.models import memory
from robot_agent.models.worldgym.checkpoint import load_network, read_weights
from robot_agent.models.worldgym.taking_in import import_checkpoint
from robot_agent.models.worldgym.torch_archive import TorchArchive
from tests.models.test_worldgym_network import small_network, some_inputs

DEFAULTS = {"rotary": "standard", "heads": 2}


def published(network, **changes):
    """What the published training script saves."""
    state = network.state_dict()
    optimizer = torch.optim.AdamW(network.parameters())
    ema = {key: value + 0.25 for key, value in state.items()}
    return {"model": state, "ema": ema, "optimizer": optimizer.state_dict(), "step": 580_000,
            "val_mse": [0.5, 0.25], **changes}  # fmt: skip


def saved(tmp_path, content, name="world.pt"):
    path = tmp_path / name
    torch.save(content, path)
    return path


def test_the_averaged_weights_of_a_checkpoint_are_taken_in_exactly(tmp_path):
    network = small_network()
    found = import_checkpoint(saved(tmp_path, published(network)), tmp_path / "out", **DEFAULTS)
    assert (found.kind, found.misfits) == ("ema", ())
    config, tensors, notes = read_weights(tmp_path / "out")
    assert config.depth == network.config.depth
    assert notes["weights"] == "ema"
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensors[name], tensor + 0.25), name
    again = load_network(load_file(tmp_path / "out/world.safetensors"), config)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.25)
    inputs = some_inputs(2)
    assert (again(*inputs) - network(*inputs)).abs().max() < 1e-6


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod."])
@pytest.mark.parametrize("form", ["pt", "safetensors", "safetensors ema", "pt model"])
def test_other_forms_of_the_same_weights_come_in_too(tmp_path, form, prefix):
    network = small_network()
    state = {f"{prefix}{key}": value for key, value in network.state_dict().items()}
    path = tmp_path / f"world.{form.split()[0]}"
    if form == "safetensors ema":
        save_file({f"{kind}.{k}": v * scale for k, v in state.items()
                   for kind, scale in (("ema", 1.0), ("model", 2.0))}, path)  # fmt: skip
    elif form == "safetensors":
        save_file(state, path)
    else:
        torch.save({"model": state} if form == "pt model" else state, path)
    found = import_checkpoint(path, tmp_path / "out", **DEFAULTS)
    assert found.misfits == ()
    tensors = read_weights(tmp_path / "out")[1]
    assert torch.equal(tensors["x_proj.weight"], network.x_proj.weight)


def test_half_precision_and_views_keep_their_values(tmp_path):
    wide = torch.arange(24.0).reshape(4, 6)
    content = {"a": wide.half(), "b": wide.bfloat16().T, "c": wide[1:3, ::2], "d": wide.long()}
    archive = TorchArchive(saved(tmp_path, content))
    for name, tensor in content.items():
        assert torch.equal(archive.read(archive.content[name]), tensor), name
    archive.close()


def test_every_key_that_does_not_fit_is_listed_and_nothing_is_written(tmp_path):
    state = dict(small_network().state_dict())
    del state["blocks.0.s_block.attn.out_proj.bias"]
    state["blocks.1.t_block.ffwd.0.bias"] = torch.zeros(5)
    state["extra.weight"] = torch.zeros(2, 3)
    found = import_checkpoint(saved(tmp_path, {"ema": state}), tmp_path / "out", **DEFAULTS)
    assert found.misfits == (
        "blocks.0.s_block.attn.out_proj.bias: missing, must be [32]",
        "blocks.1.t_block.ffwd.0.bias: is [5], must be [128]",
        "extra.weight: [2, 3] is not part of the network",
    )
    assert not (tmp_path / "out").exists()


class Harmful:
    def __reduce__(self):
        return (open, ("harm_was_done", "w"))


@pytest.mark.parametrize("place", ["beside", "inside"])
def test_a_checkpoint_that_calls_something_is_refused_and_nothing_runs(
    tmp_path, place, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    state = dict(small_network().state_dict())
    content = {"ema": state, "note": Harmful()} if place == "beside" else {"ema": Harmful()}
    with pytest.raises(ConfigError, match=r"holds more than tensors \(the name io open\)"):
        import_checkpoint(saved(tmp_path, content), tmp_path / "out", **DEFAULTS)
    assert not (tmp_path / "harm_was_done").exists()
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("protocol", range(6))
def test_a_bare_program_in_any_protocol_runs_nothing(tmp_path, protocol, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "world.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps({"ema": Harmful()}, protocol))
    with pytest.raises(ConfigError):
        TorchArchive(path)
    assert not (tmp_path / "harm_was_done").exists()


@pytest.mark.parametrize("share", [0.0, 0.2, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_is_refused(tmp_path, share):
    path = saved(tmp_path, published(small_network()))
    whole = path.read_bytes()
    path.write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ConfigError, match="is no whole torch checkpoint"):
        import_checkpoint(path, tmp_path / "out", **DEFAULTS)
    assert not (tmp_path / "out").exists()


def test_a_file_whose_numbers_are_cut_is_refused(tmp_path):
    path = saved(tmp_path, {"ema": small_network().state_dict()})
    broken = io.BytesIO()
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(broken, "w") as new:
        for name in old.namelist():
            new.writestr(name, old.read(name)[: None if name.endswith("pkl") else 8])
    path.write_bytes(broken.getvalue())
    with pytest.raises(ConfigError, match="cannot be read"):
        import_checkpoint(path, tmp_path / "out", **DEFAULTS)
    assert not (tmp_path / "out").exists()


def test_weights_that_are_not_numbers_are_refused(tmp_path):
    state = dict(small_network().state_dict())
    state["x_proj.bias"] = torch.full((32,), torch.nan)
    with pytest.raises(InputError, match=r"1 tensors hold numbers.*first is x_proj\.bias"):
        import_checkpoint(saved(tmp_path, {"ema": state}), tmp_path / "out", **DEFAULTS)


def test_another_network_is_refused_by_name(tmp_path):
    path = saved(tmp_path, {"model": {"conv.weight": torch.zeros(2)}})
    with pytest.raises(InputError, match=r"no x_proj\.weight .* it has conv\.weight"):
        import_checkpoint(path, tmp_path / "out", **DEFAULTS)


def test_a_folder_that_exists_is_never_written_over(tmp_path):
    (tmp_path / "out").mkdir()
    path = saved(tmp_path, {"ema": small_network().state_dict()})
    with pytest.raises(ConfigError, match="exists, must be new"):
        import_checkpoint(path, tmp_path / "out", **DEFAULTS)


def test_weights_that_changed_since_their_import_are_refused(tmp_path):
    path = saved(tmp_path, {"ema": small_network().state_dict()})
    import_checkpoint(path, tmp_path / "out", **DEFAULTS)
    notes = json.loads((tmp_path / "out/world.json").read_text())
    (tmp_path / "out/world.json").write_text(json.dumps({**notes, "sha256": "0" * 64}))
    with pytest.raises(ConfigError, match=r"is not the file that world\.json tells"):
        read_weights(tmp_path / "out")


def test_too_little_memory_is_told_before_anything_starts(tmp_path):
    with pytest.raises(ConfigError) as refused:
        memory.require_memory(5_000_000_000, "608 M parameters", available=3_000_000_000)
    assert "608 M parameters: needs 5.00 GB of memory, 3.00 GB are free" in str(refused.value)
    told = tmp_path / "meminfo"
    told.write_text("MemTotal: 8 kB\nMemAvailable:   2048 kB\n")
    assert memory.available_bytes(told) == 2048 * 1024
    memory.require_memory(10, "a little")


def test_a_user_imports_a_checkpoint_and_reads_what_does_not_fit(tmp_path, capsys):
    state = dict(small_network().state_dict())
    source, out = saved(tmp_path, {"ema": state}), tmp_path / "out"
    words = ["weights", "import", "--from", "worldgym", str(source), "--heads", "2"]
    assert main([*words, "--out", str(out), "--json"]) == 0
    results = json.loads(capsys.readouterr().out)["results"]
    assert results["written"] is True
    assert results["network"]["embedding"] == 32
    assert results["parameters"] == sum(v.numel() for v in state.values())
    assert read_weights(out)[2]["source"] == "world.pt"
    del state["x_proj.bias"]
    saved(tmp_path, {"ema": state})
    assert main([*words, "--out", str(tmp_path / "other")]) == 1
    assert "x_proj.bias: missing, must be [32]" in capsys.readouterr().out
    assert not (tmp_path / "other").exists()
    assert main(words) == 2
    assert "--out is missing" in capsys.readouterr().err
