import os

import pytest
import torch

from deeplab.errors import UserError
from deeplab.weights import load_weights, save_weights, start_from
from networks import tiny_model


def test_safetensors_and_checkpoints_give_the_same_network(tmp_path):
    model, other = tiny_model(), tiny_model()
    save_weights(model, tmp_path / "weights.safetensors")
    load_weights(other, tmp_path / "weights.safetensors")
    assert all(
        torch.equal(a, b)
        for a, b in zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    )
    state = {f"model.{name}": t for name, t in model.state_dict().items()}
    torch.save({"state_dict": state | {"loss.class_weights": torch.ones(1)}}, tmp_path / "a.ckpt")
    third = tiny_model()
    load_weights(third, tmp_path / "a.ckpt")
    assert torch.equal(third.logits.weight, model.logits.weight)
    average = {f"average.{name}": t + 1 for name, t in model.state_dict().items()}
    torch.save({"state_dict": state | average}, tmp_path / "b.ckpt")
    load_weights(third, tmp_path / "b.ckpt")
    assert torch.equal(third.logits.weight, model.logits.weight + 1)


def test_wrong_files_are_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(UserError, match=r"weights\.safetensors: the weights cannot be read"):
        load_weights(tiny_model(), path)
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read"):
        load_weights(tiny_model(), path)
    save_weights(tiny_model(num_classes=3), path)
    with pytest.raises(UserError, match="weights of another network"):
        load_weights(tiny_model(num_classes=5), path)


def test_start_from_another_number_of_classes(tmp_path):
    path = tmp_path / "w.safetensors"
    source, target = tiny_model(num_classes=3), tiny_model(num_classes=5)
    save_weights(source, path)
    own = target.logits.weight.clone()
    assert start_from(target, path) == ["logits.weight", "logits.bias"]
    assert torch.equal(target.logits.weight, own)
    expected = source.state_dict()
    for name, tensor in target.state_dict().items():
        if not name.startswith("logits."):
            assert torch.equal(tensor, expected[name]), name


def test_start_from_takes_all_of_the_same_network(tmp_path):
    path = tmp_path / "w.safetensors"
    source, target = tiny_model(num_classes=3), tiny_model(num_classes=3)
    save_weights(source, path)
    assert start_from(target, path) == []
    assert torch.equal(source.logits.weight, target.logits.weight)


def test_start_from_another_network_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(tiny_model(num_classes=3), path)
    with pytest.raises(UserError, match="weights of another network"):
        start_from(tiny_model(num_classes=3, low_level_channels=7), path)


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "w.ckpt"
    torch.save({"state_dict": {"model.x": Evil()}}, path)
    with pytest.raises(UserError, match=r"this pickle is refused.*mkdir"):
        start_from(tiny_model(num_classes=3), path)
    assert not (tmp_path / "ran").exists()
