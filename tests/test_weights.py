import pytest
import torch

from deeplab.errors import UserError
from deeplab.weights import load_weights, save_weights
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
