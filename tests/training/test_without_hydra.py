"""A network, a data set and a training from Python alone, without config files."""

from deeplab.config.build_model import build_model
from deeplab.config.schema.run import TrainConfig
from deeplab.config.schema.stage import Recipe
from deeplab.training.train import run_experiment


def test_a_run_from_python(tmp_path):
    config = TrainConfig(
        name="mine",
        runs_dir=str(tmp_path / "runs"),
        backbone={"family": "resnet", "depth": (2, 2, 2, 2), "base_width": 4},
        aspp={"channels": 8},
        decoder={"convs": ((3, 8),)},
        data={
            "name": "shapes",
            "root": str(tmp_path / "data"),
            "classes": ("background", "disc"),
            "num_train": 4,
            "num_val": 2,
            "min_size": 48,
            "max_size": 56,
            "crop_size": 33,
            "eval_size": 65,
        },
        stage=Recipe(max_steps=2, batch_size=2),
        trainer={"enable_progress_bar": False},
    )
    assert build_model(config, num_classes=2).decoder.out_channels == 8
    folder = run_experiment(config)
    assert folder.finished
    assert (tmp_path / "runs").is_dir()
