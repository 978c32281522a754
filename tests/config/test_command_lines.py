"""Command lines that must end before anything is drawn, written or looked up on the network."""

import re
import shlex
import shutil
import subprocess
import sys

import pytest
from PIL import Image
from pydantic import TypeAdapter, ValidationError

from deeplab.config import messages
from deeplab.config.command_line import check_arguments, check_overrides, parse_overrides
from deeplab.config.messages import format_hydra_error, unknown_choice
from deeplab.config.parsing import validate
from deeplab.config.reference import script_keys
from deeplab.config.schema.model import AsppSettings, ModelConfig
from deeplab.config.schema.scripts import EvaluateConfig
from deeplab.training.tune import _train_command
from deeplab.utils import program
from deeplab.utils.errors import UserError, format_message
from deeplab.utils.program import command
from deeplab.utils.settings import FilePath, SplitName
from support.messages import check_error_message, check_refusal
from support.repository import ROOT
from support.scripts import SMALL, environment, run, run_folders

LONG = "z" * 7000


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("stage={lr: 1}", "expected the name of one choice"),
        ("logger=[csv,wandb]", "expected the name of one choice"),
        ("stage=voc.yml", "Did you mean voc?"),
        ("aspp=../aspp/full", "Did you mean full?"),
        ("decoder=", "no such choice"),
        ("data.scales={}", "an empty dictionary changes nothing"),
        ("~trainer", "a key cannot be removed"),
        ("~optimizer.momentum", "a key cannot be removed"),
        ("hydra.output_subdir=.hydra", "the scripts rely on this setting"),
        ("hydra/hydra_logging=none", "the scripts rely on this setting"),
        ("hydra/sweeper=basic", "without checking"),
        ("hydra/launcher=", "expected a name"),
        ("--config-name=other", "a script has one config file"),
        ("--experimental-rerun=config.pickle", "a script has one config file"),
        ("--config-dir=/no/such/folder", "--config-dir=/no/such/folder: no such folder"),
        (f"--config-dir {LONG}", "no such folder"),
        ("--resolve", "Add --cfg job"),
        ("--lr=0.1", "unrecognized arguments: --lr=0.1"),
        ("-m ablation=table2,table2", "table2 is listed twice"),
        ("-m decoder=full,naive,full", "full is listed twice"),
        (f"data.classes={'[' * 400}{']' * 400}", "nested too deeply"),
        (f"stage.lr={'9' * 5000}", "this number is too long"),
        (f"{LONG}=1", "no such key"),
        ("name=\udcfe", "not valid UTF-8"),
        ("'name=a\nb'", "name=a b: a line break"),
        ("=5", "a key is missing"),
        ("' '", "' ': cannot be read as key=value"),
        ("+backbone=xception", "Write it as backbone=NAME"),
        ("++stage=voc", "Write it as stage=NAME"),
        ("backbone@model=xception", "Write it as backbone=NAME"),
    ],
)
def test_refused_before_a_config_is_composed(line, words):
    with pytest.raises(UserError, match=r"^\S") as error:
        check_arguments(shlex.split(line) if "{" not in line else [line], "train")
    assert words in str(error.value)


@pytest.mark.parametrize(
    "line",
    [
        "seed=1 -m stage.lr=0.1,0.2 trainer.accelerator=cpu",
        "-m ablation=table1,table2 num_seeds=2",
        "-m hydra/launcher=joblib hydra.launcher.n_jobs=2 seed=0",
        "-m hydra/launcher=ray +hydra.launcher.ray.init.object_store_memory=null seed=0",
        "hydra.job.env_set.OMP_NUM_THREADS=1 ~data.expected_images.val",
        "--cfg job --resolve backbone=xception",
    ],
)
def test_lines_that_are_right(line):
    arguments = shlex.split(line)
    checked = check_arguments(arguments, "train")
    assert sorted(checked) == sorted(arguments)
    assert [a for a in checked if "=" in a] == [a for a in arguments if "=" in a]


@pytest.mark.parametrize(
    ("schema", "values", "words"),
    [
        (AsppSettings, {"atrous_rates": []}, "atrous_rates=[]: expected 1 or more"),
        (AsppSettings, {"atrous_rates": [6, 10**6]}, "atrous_rates.1=1000000"),
        (ModelConfig, {"backbone": {"family": "resnet"}, "output_stride": 8.0}, "=8.0: expected"),
        (ModelConfig, {"backbone": {"family": "xception", "depth": 65.0}}, "depth=65.0: expected"),
        (EvaluateConfig, {"run": "r", "trimap_widths": []}, "trimap_widths=[]"),
        (EvaluateConfig, {"run": "r", "overlap": 0.5}, "window_size is null"),
        (EvaluateConfig, {"run": "~no such user/r"}, "run=~no such user/r: "),
        (EvaluateConfig, {"run": "r", "output_stride": "a\nb"}, "output_stride=a\\nb: "),
    ],
)
def test_values_of_wrong_shape(schema, values, words):
    with pytest.raises(UserError) as error:
        validate(schema, values)
    assert words in str(error.value)


@pytest.mark.parametrize("path", [LONG, "a/" * 5000, "a\0b", "~no such user/x"])
def test_text_that_cannot_be_a_path(path):
    with pytest.raises(ValidationError):
        TypeAdapter(FilePath).validate_python(path)


def test_names_of_splits_fit_into_file_names():
    assert TypeAdapter(SplitName).validate_python("train+val")
    with pytest.raises(ValidationError):
        TypeAdapter(SplitName).validate_python("é" * 101)


@pytest.mark.parametrize(
    ("script", "arguments", "words"),
    [
        ("train", ["runs_dir=/dev/null/x"], ["runs_dir=/dev/null/x", "Not a directory"]),
        ("train", ["trainer.accelerator=gpu"], ["trainer.accelerator=gpu: not available"]),
        ("train", ["-m", "seed=3,4", "runs_dir=/proc/x"], ["runs_dir=/proc/x"]),
        ("train", ["-m", "seed=3,4", "trainer.accelerator=cuda"], ["this machine has no GPU"]),
        ("train", ["-m", "seed=range(5,5)"], ["seed=range(5,5): no value."]),
        ("train", ["name=${name}"], ["name: Recursive interpolation"]),
        ("train", ["num_seeds=1"], ["num_seeds: this key defines several runs. Add -m"]),
        ("train", ["-m", "stage.lr=interval(0,1)"], ["no values to list. List them"]),
        ("evaluate", ["run=x", "strategies={a:b}"], ["strategies={a:b}: a value of another form"]),
        ("evaluate", ["run=x", "+run=y"], ["run: this key exists. Write it without the +."]),
        ("evaluate", ["run=x", "split=range(1,3)"], ["Add -m to sweep over them."]),
        ("predict", ["run=x", "input=range(1,3)"], ["Set a single one."]),
        (
            "predict",
            ["run=x", "input=x", "-m"],
            ["-m: only deeplab train and deeplab evaluate sweep."],
        ),
        ("cost", ["input_size=[513]"], ["input_size=[513]: must be a valid integer; or expected"]),
        ("cost", ["input_size=1e400"], ["valid integer; or expected a list, as in [a,b]."]),
        ("train", [f"resume={LONG}"], ["resume=z", "does not exist", " characters "]),
        ("train", ["data=shape_classes", "data.val_split=dev"], ["data.val_split=dev"]),
        ("train", ["strategies=[{strategy:os8,split:dev}]"], ["split 'dev'"]),
        ("evaluate", ["run=runs/NAME"], ["run=runs/NAME: does not exist", "run=hf://USER/NAME"]),
        ("evaluate", ["run=x", "data={}"], ["data={}: an empty dictionary"]),
        ("evaluate", ["run=x", "stage.lr=1"], ["stage.lr: keys of stage are for"]),
        ("predict", ["run=x", f"input={LONG}"], ["input=z", "cannot be a path"]),
        ("prepare", ["source=/no/such"], ["source=/no/such: has no effect with data=shapes"]),
        ("prepare", ["data=shape_classes", "splits=[dev]", "check=true"], ["split 'dev'"]),
        ("prepare", ["data=voc", "source=/dev/null"], ["source=/dev/null"]),
        ("compare", ["runs=/no/such*", "output=/dev/null/x"], ["output=/dev/null/x"]),
        ("convert", ["a.pb", "output=/dev/null/x/w.safetensors"], ["output=/dev/null/x"]),
        ("ablations", ["report", "runs_dir=/no/such"], ["runs_dir=/no/such: no run"]),
        ("ablations", ["report", f"runs_dir={LONG}"], ["runs_dir=z", "cannot be a path"]),
        ("ablations", ["plan", "ablation=table1,table1"], ["table1 is listed twice"]),
        ("cost", ["measure_speed=true", "trainer.accelerator=gpu"], ["trainer.accelerator=gpu"]),
        ("benchmark", ["loss", "--repeats", "0"], ["an integer from 1 to 1000"]),
    ],
)
def test_nothing_begins(script, arguments, words, tmp_path, capsys):
    other_parser = script in ("ablations", "benchmark", "convert")
    if not other_parser and not {"-m", "name=${name}"} & {*arguments}:
        check_refusal(script, arguments, words, tmp_path)
        assert not capsys.readouterr().out
        return
    done = run(script, *arguments, cwd=tmp_path, ok=False)
    check_error_message(done, words, tmp_path)
    assert done.returncode == 2
    assert not done.stdout
    assert len(done.stderr) < 1000


def test_values_are_shortened_and_printable():
    shown = format_message(f"run={LONG}: \x1b[31mproblem.\nSecond line.")
    assert len(shown) < 400
    assert shown.startswith("run=zzz")
    assert shown.endswith(": \\x1b[31mproblem.\nSecond line.")
    assert len(format_message("word " * 3000)) < 1300
    assert format_message("a short one.") == "a short one."


def test_suggestions_are_keys_of_the_script(monkeypatch):
    assert "strategies" in script_keys("evaluate")
    assert "stage.lr" not in script_keys("evaluate")
    assert {"stage.lr", "backbone.multi_grid", "data.image_dir"} <= set(script_keys("train"))
    monkeypatch.setenv(program.SCRIPT, "predict")
    message = format_hydra_error(ValueError("Could not override 'save_overlays'"))
    assert "Did you mean save_overlay or " in message


@pytest.mark.parametrize(
    ("script", "key", "message"),
    [
        ("predict", "stage.lr", "keys of stage are for {train}, not for {predict}. Leave it out."),
        ("predict", "data.root", "keys of data are for {train}, not for {predict}. Leave it out."),
        ("predict", "seed", "it is for {train}, not for {predict}. Leave it out."),
        (
            "predict",
            "output_stride",
            "it is for {train}, not for {predict}. Leave it out, or set strategy=os8.",
        ),
        ("evaluate", "data.rot", "no such key. Did you mean data.root?"),
        ("evaluate", "bogus", "no such key. See --help and --keys."),
    ],
)
def test_a_key_that_is_for_training(monkeypatch, script, key, message):
    monkeypatch.setenv(program.SCRIPT, script)
    expected = message.format(train=command("train"), predict=command("predict"))
    assert format_hydra_error(ValueError(f"Could not override '{key}'")) == f"{key}: {expected}"


def test_networks_of_timm_are_suggested(tmp_path, monkeypatch):
    models = tmp_path / "timm" / "models"
    models.mkdir(parents=True)
    (tmp_path / "timm" / "__init__.py").write_text("raise RuntimeError('imported')")
    (models / "some.py").write_text("@register_model\ndef efficientnet_b0(**kwargs): ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    messages._timm_networks.cache_clear()
    try:
        hint = "timm has it: backbone=timm backbone.model=efficientnet_b0."
        assert hint in unknown_choice("backbone", "efficientnet")
        assert "timm has it" not in unknown_choice("backbone", "alexnet")
    finally:
        messages._timm_networks.cache_clear()


def test_output_into_a_closed_pipe_ends_quietly(tmp_path):
    for script, *arguments in (("train", "--keys"), ("ablations", "report", "--help")):
        process = subprocess.Popen(
            [sys.executable, ROOT / "src" / f"{script}.py", *arguments],
            cwd=tmp_path,
            env=environment(),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""
        assert process.wait() == 141


@pytest.fixture(scope="module")
def scenes(tmp_path_factory):
    """Return a folder with a run of the default data set."""
    cwd = tmp_path_factory.mktemp("scenes")
    run("train", *SMALL, cwd=cwd)
    return cwd


def test_drawn_scenes_are_not_drawn_into_a_folder_that_is_named(scenes, tmp_path):
    (folder,) = run_folders(scenes)
    for line in (
        [f"data.root={tmp_path}"], ["split=dev"], ["trainer.accelerator=gpu"],
        ["split=val,dev", "-m"],  # the first job is not run, either
    ):  # fmt: skip
        done = run("evaluate", f"run={folder}", *line, cwd=tmp_path, ok=False)
        check_error_message(done, [line[0].partition("=")[2].split(",")[-1]], tmp_path)
    assert not (folder / "evaluations").exists()


def test_strategies_are_checked_before_scenes_are_drawn(scenes, tmp_path):
    (folder,) = run_folders(scenes)
    (scenes / "data").rename(scenes / "away")
    for line in (["strategies=os7"], ["strategies=[os16],[os7]", "-m"]):
        done = run("evaluate", f"run={folder}", *line, cwd=tmp_path, ok=False)
        check_error_message(done, ["os7"], tmp_path)
        assert not (scenes / "data").exists()
    (scenes / "away").rename(scenes / "data")


def test_a_sweep_of_evaluations_leaves_their_results_only(scenes, tmp_path):
    cwd = shutil.copytree(scenes, tmp_path / "cwd")
    (folder,) = run_folders(cwd)
    before = set(cwd.iterdir())
    cpu = ("trainer.accelerator=cpu", "trainer.enable_progress_bar=false")
    line = (f"run={folder}", "strategies=[os16],[os16-flip]", "-m", *cpu)
    run("evaluate", *line, cwd=cwd, variables={"TMPDIR": str(tmp_path)})
    names = {path.name for path in (folder / "evaluations").glob("[!.]*")}
    assert names == {"val-weights-os16", "val-weights-os16-flip"}
    assert set(cwd.iterdir()) == before
    assert list(tmp_path.iterdir()) == [cwd]


def test_gallery_of_an_evaluation_of_moved_images(scenes, tmp_path):
    (folder,) = run_folders(scenes)
    (scenes / "data").rename(scenes / "moved")
    root = scenes / "moved" / "shapes"
    cpu = ("trainer.accelerator=cpu", "trainer.enable_progress_bar=false")
    run("evaluate", f"run={folder}", "data.root=moved/shapes", *cpu, cwd=scenes)
    assert root.is_dir()
    done = run("gallery", f"run={folder}", "enable_progress_bar=false", cwd=tmp_path)
    assert "Gallery of 3 images" in done.stdout
    assert not list(tmp_path.iterdir())


def test_hints_for_odd_file_names_work(scenes, tmp_path):
    (folder,) = run_folders(scenes)
    line = ("predict", f"run={folder}", "trainer.accelerator=cpu", "save_overlay=false")
    for name, before in (("it's [1].png", "two pairs of quotes: "), ("a,b.png", "Write ")):
        Image.new("RGB", (40, 40)).save(tmp_path / name)
        done = run(*line, f"input={name}", cwd=tmp_path, ok=False)
        hint = done.stderr.partition(before)[2].rstrip(".\n")
        run(*line, *shlex.split(hint), cwd=tmp_path)
        assert (tmp_path / "predictions" / name).is_file()


def test_the_error_in_the_readme_is_what_is_printed(tmp_path):
    shown = re.search(r"^\$ deeplab (.+)\n(Error: .+)$", (ROOT / "README.md").read_text(), re.M)
    assert shown is not None
    done = run(*shown[1].split(), cwd=tmp_path, ok=False)
    assert done.stderr == f"{shown[2]}\n"


def test_a_command_line_can_be_typed_again(monkeypatch):
    monkeypatch.setenv(program.PROGRAM, "deeplab {}")
    monkeypatch.setenv(program.SCRIPT, "tune")
    arguments = ["data.root=/my photos", "data.classes=[a, b]", "find=batch_size", "seed=1"]
    monkeypatch.setattr(program, "_arguments", arguments)
    assert shlex.split(program.typed_command()) == ["deeplab", "tune", *arguments]
    again = shlex.split(_train_command("trainer.accumulate_grad_batches=2", "seed"))
    kept = [*arguments[:2], "trainer.accumulate_grad_batches=2"]
    assert again == ["deeplab", "train", *kept]


def test_values_that_python_takes_for_equal_are_different():
    check_overrides(parse_overrides(["stage.freeze_backbone=true,1,false,0"]), [])


def test_windows_is_named():
    code = "import sys; sys.platform = 'win32'; import deeplab"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment() | {"PYTHONPATH": str(ROOT / "src")},
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "ImportError: deeplab needs Linux or macOS" in done.stderr
