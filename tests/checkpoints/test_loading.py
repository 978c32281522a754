"""Loading of weight files into networks."""

import json
import os
from typing import ClassVar

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from deeplab.checkpoints.loading import (
    load_model,
    load_weights,
    save_weights,
)
from deeplab.checkpoints.matching import initialize_from, load_backbone
from deeplab.checkpoints.trained_run import describe_weights
from deeplab.models.backbones.wrapped import OwnBackbone
from deeplab.models.network import without_constants
from deeplab.tracking.run_folder import RunFolder
from deeplab.utils.errors import UserError
from support.networks import tiny_model


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


def test_weights_of_an_unfinished_run_are_described_with_their_step(tmp_path):
    folder = RunFolder(tmp_path)
    torch.save({"global_step": 40, "state_dict": {}}, tmp_path / "last.ckpt")
    path, line = describe_weights(folder, tmp_path / "last.ckpt", 400)
    assert path == str(tmp_path / "last.ckpt")
    assert line.startswith("step 40 of 400: this run is not finished;")
    assert f"resume={tmp_path}" in line
    folder.result.write_text("{}")
    assert describe_weights(folder, tmp_path / "last.ckpt", 400) == [path]


def test_wrong_files_are_named(tmp_path):
    path = tmp_path / "weights.safetensors"
    with pytest.raises(UserError, match=r"weights\.safetensors: cannot be read"):
        load_weights(tiny_model(), path)
    path.write_bytes(b"nothing")
    with pytest.raises(UserError, match="cannot be read"):
        load_weights(tiny_model(), path)
    (tmp_path / "text.pt").write_text("nothing")
    with pytest.raises(UserError, match=r"text\.pt: cannot be read \(it is no file of torch"):
        load_weights(tiny_model(), tmp_path / "text.pt")
    save_weights(tiny_model(num_classes=3), path)
    with pytest.raises(UserError, match="weights of another network"):
        load_weights(tiny_model(num_classes=5), path)


def test_initialize_from_weights_with_another_number_of_classes(tmp_path):
    path = tmp_path / "w.safetensors"
    source, target = tiny_model(num_classes=3), tiny_model(num_classes=5)
    save_weights(source, path)
    initial_logits = target.logits.weight.clone()
    report = initialize_from(target, path)
    assert report.left_out == report.new == {"logits": 2}
    assert str(report).endswith(
        "by this project's names; left out: logits (2); new: logits (2); "
        "logits are new because the file has 3 classes"
    )
    assert torch.equal(target.logits.weight, initial_logits)
    expected = source.state_dict()
    for name, tensor in target.state_dict().items():
        if not name.startswith("logits."):
            assert torch.equal(tensor, expected[name]), name


def test_initialize_from_the_same_network_loads_all_weights(tmp_path):
    path = tmp_path / "w.safetensors"
    source, target = tiny_model(num_classes=3), tiny_model(num_classes=3)
    save_weights(source, path)
    report = initialize_from(target, path)
    assert set(report.state) == set(without_constants(target.state_dict()))
    assert not report.left_out
    assert not report.new
    assert torch.equal(source.logits.weight, target.logits.weight)


def test_initialize_from_another_network_is_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    save_weights(tiny_model(num_classes=3), path)
    with pytest.raises(UserError, match="weights of another network"):
        initialize_from(tiny_model(num_classes=3, low_level_channels=7), path)


def test_matching_weights_of_another_network_are_loaded_without_strict(tmp_path):
    path = tmp_path / "w.safetensors"
    source, target = tiny_model(num_classes=3), tiny_model(num_classes=5, low_level_channels=7)
    save_weights(source, path)
    initial = {n: t.clone() for n, t in without_constants(target.state_dict()).items()}
    saved = source.state_dict()
    report = initialize_from(target, path, strict=False)
    matching = {n for n, t in saved.items() if n in initial and t.shape == initial[n].shape}
    assert set(report.state) == matching
    for name, tensor in without_constants(target.state_dict()).items():
        assert torch.equal(tensor, saved[name] if name in matching else initial[name]), name
    missing = [n for n in initial if n not in matching and not n.endswith("num_batches_tracked")]
    assert report.new.total() == len(missing)
    assert set(report.new) == {"decoder", "logits"}
    other = tiny_model(num_classes=3)
    save_weights(other.logits, path)
    with pytest.raises(UserError, match="Nothing in it fits"):
        initialize_from(target, path, strict=False)


@pytest.mark.parametrize("classifier", [True, False])
def test_initialize_from_a_backbone(tmp_path, classifier):
    path = tmp_path / "w.safetensors"
    source, target = tiny_model(), tiny_model()
    state = {n: t for n, t in source.state_dict().items() if n.startswith("backbone.")}
    if classifier:
        state |= {"classifier.weight": torch.ones(10, 64), "classifier.bias": torch.ones(10)}
    save_file(state, path)
    initial = {n: t.clone() for n, t in target.state_dict().items()}
    report = initialize_from(target, path)
    assert report.left_out == ({"classifier": 2} if classifier else {})
    assert set(report.new) == {"aspp", "decoder", "logits"}
    for name, tensor in target.state_dict().items():
        assert torch.equal(tensor, state.get(name, initial[name])), name
    del state["backbone.stem.0.conv.weight"]
    save_file(state, path)
    with pytest.raises(UserError, match=r"1 of its \d+ tensors are missing"):
        initialize_from(target, path)


class Stem(nn.Module):
    """A network of the user's own whose part has a name that also begins names of this project."""

    low_level: ClassVar = {}
    out_channels = 4

    def __init__(self):
        super().__init__()
        self.units = nn.Conv2d(3, 4, 1)

    def set_output_stride(self, output_stride):
        pass


@pytest.mark.parametrize("prefix", ["backbone.network.", "network.", ""])
def test_weights_of_an_own_backbone_by_this_project_s_names_and_by_its_own(tmp_path, prefix):
    path = tmp_path / "w.safetensors"
    source, target = Stem(), OwnBackbone(Stem(), [0.0] * 3, [1.0] * 3)
    save_file({f"{prefix}{name}": t for name, t in source.state_dict().items()}, path)
    assert load_backbone(target, path).publisher == ("this project" if prefix else "its author")
    assert torch.equal(target.network.units.weight, source.units.weight)


def test_a_pickle_that_runs_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "ran"),)

    path = tmp_path / "w.ckpt"
    torch.save({"state_dict": {"model.x": Evil()}}, path)
    with pytest.raises(UserError, match=r"this pickle is refused.*mkdir"):
        initialize_from(tiny_model(num_classes=3), path)
    assert not (tmp_path / "ran").exists()


def named(path, model, names):
    """Write the weights of a network with the names of its classes."""
    if path.suffix == ".ckpt":
        state = {f"model.{name}": t for name, t in model.state_dict().items()}
        torch.save({"state_dict": state, "classes": {"names": names}}, path)
    else:
        save_weights(model, path, {"classes": json.dumps({"names": names})})
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt"])
@pytest.mark.parametrize(
    "order", [("sky", "road", "car"), ("car", "sky", "road"), ("road", "sky", "car")]
)
def test_the_last_layer_is_taken_by_the_names_of_its_classes(tmp_path, suffix, order):
    source, target = tiny_model(num_classes=3), tiny_model(num_classes=3)
    names = ["sky", "road", "car"]
    report = initialize_from(target, named(tmp_path / f"w{suffix}", source, names), classes=order)
    assert ("ordered by their names" in str(report)) == (list(order) != names)
    for i, name in enumerate(order):
        for kind in ("weight", "bias"):
            rows = getattr(target.logits, kind), getattr(source.logits, kind)
            assert torch.equal(rows[0][i], rows[1][names.index(name)])
    assert torch.equal(
        target.state_dict()["backbone.stem.0.conv.weight"],
        source.state_dict()["backbone.stem.0.conv.weight"],
    )


@pytest.mark.parametrize("strict", [True, False])
def test_the_last_layer_of_other_classes_is_new(tmp_path, strict):
    source, target = tiny_model(num_classes=3), tiny_model(num_classes=3)
    path = named(tmp_path / "w.safetensors", source, ["sky", "road", "car"])
    initial = target.logits.weight.clone()
    report = initialize_from(target, path, classes=("sky", "road", "lorry"), strict=strict)
    assert report.new == report.left_out == {"logits": 2}
    assert "the file has no class 'lorry'" in str(report)
    assert torch.equal(target.logits.weight, initial)


@pytest.mark.parametrize("names", [None, 7, ["a"], ["a", 2, 3], {"a": 1}])
def test_classes_that_the_file_does_not_name_are_in_the_same_order(tmp_path, names):
    source, target = tiny_model(num_classes=3), tiny_model(num_classes=3)
    path = named(tmp_path / "w.safetensors", source, names)
    report = initialize_from(target, path, classes=("sky", "road", "car"))
    assert "the file does not name its classes" in str(report)
    assert torch.equal(target.logits.weight, source.logits.weight)


def test_a_loaded_network_draws_no_initial_weights_and_is_the_saved_one(tmp_path):
    model, path = tiny_model().eval(), tmp_path / "weights.safetensors"
    save_weights(model, path)
    before = torch.random.get_rng_state()
    loaded = load_model(tiny_model, path).eval()
    assert torch.equal(torch.random.get_rng_state(), before)
    images = torch.randint(0, 256, (1, 3, 33, 33), dtype=torch.uint8)
    assert torch.equal(loaded(images), model(images))
    assert all(parameter.requires_grad for parameter in loaded.parameters())
    path.write_bytes(bytes(path.stat().st_size))  # the network has its own copy
    assert torch.equal(loaded(images), model(images))


def test_weights_of_another_network_are_refused_before_memory_is_taken(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_weights(tiny_model(), path)
    with pytest.raises(UserError, match="weights of another network"):
        load_model(lambda: torch.nn.Linear(10**9, 10**6), path)
