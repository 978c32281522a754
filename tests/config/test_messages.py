"""Error messages for a user's mistakes.

A message of a few lines names the key, the value and what is allowed; the exit status is 1 or 2,
there is no traceback, and nothing is left on disk.
"""

import pytest
from PIL import Image

from support.messages import check_error_message, check_refusal
from support.scripts import run
from support.trees import voc_tree

TRAIN = [
    # typos in keys
    (["stage.lrr=0.1"], ["stage.lrr", "stage.lr"]),
    (["data.crop=97"], ["data.crop"]),
    (["+stage.dampening=0.1"], ["stage.dampening", "no such key"]),
    (["backbone=xception", "backbone.stem=7x7"], ["backbone.stem"]),
    (["ablation=table2"], ["ablation: ", "Add -m"]),
    (["strategies=[os9]"], ["strategies", "os9"]),
    (["strategies=[{split:val}]"], ["strategies.0.strategy", "missing"]),
    # unknown choices
    (["backbone=xceptoin"], ["backbone=xceptoin", "xception", "resnet101"]),
    (["data=cityscape"], ["data=cityscape", "voc", "shapes"]),
    (["output_stride=12"], ["output_stride=12", "8, 16 or 32"]),
    (["backbone.depth=34"], ["backbone.depth=34", "50", "101"]),
    (["backbone.family=vgg"], ["backbone.family=vgg: no such backbone", "resnet", "xception"]),
    (["data.name=kitti"], ["data.name=kitti: no such data set", "cityscapes", "voc"]),
    (["trainer.precision=fp8"], ["trainer.precision=fp8", "bf16-mixed"]),
    (["trainer.strategy=nonsense"], ["trainer.strategy=nonsense", "'ddp'"]),
    (["trainer.strategy=fsdp"], ["trainer.strategy=fsdp", "shards", "gradient_checkpointing"]),
    (["trainer.num_nodes=2", "trainer.accelerator=cpu"], ["trainer.num_nodes=2", "srun"]),
    (
        ["stage.early_stopping=2", "trainer.num_validations=3"],
        ["stage.early_stopping=2", "Set it to 4 or more"],
    ),
    (["trainer.profiler=nonsense"], ["trainer.profiler=nonsense", "'simple'"]),
    (["trainer.devices=[0,0]"], ["trainer.devices=[0, 0]", "named twice"]),
    (["trainer.devices=[[0],[0]]"], ["trainer.devices"]),
    (["name=" + "李" * 40], ["name=李", "longer than 100 bytes"]),
    (["trainer.max_epochs=9"], ["trainer.max_epochs: ", "set stage.max_steps"]),
    (["+trainer.plugins=[x]"], ["trainer.plugins: ", "Set trainer.precision"]),
    (["trainer.accumulate_grad_batches=0"], ["trainer.accumulate_grad_batches=0", "1"]),
    (["trainer.overfit_batches=-1"], ["trainer.overfit_batches=-1", "or equal to 0"]),
    (["trainer.max_time=3h"], ["trainer.max_time=3h", "DD:HH:MM:SS"]),
    (["trainer.gradient_clip_algorithm=value"], ["gradient_clip_val"]),
    (["trainer.accelerator=cpu", "trainer.devices=[1]"], ["trainer.devices=[1]", "GPUs"]),
    (
        ["stage.batch_size=4", "trainer.accumulate_grad_batches=3"],
        ["stage.batch_size=4", "not a multiple of trainer.accumulate_grad_batches (3)"],
    ),
    # wrong types
    (["stage.lr=fast"], ["stage.lr=fast", "number"]),
    (["seed=abc"], ["seed=abc", "integer"]),
    (["aspp.image_pooling=maybe"], ["aspp.image_pooling=maybe", "boolean"]),
    (["aspp.atrous_rates=6"], ["aspp.atrous_rates=6", "list"]),
    (["decoder.convs=[3,256]"], ["decoder.convs", "3", "list"]),
    (["stage=null"], ["stage=null", "voc", "shapes"]),
    # out of range
    (["stage.lr=-0.1"], ["stage.lr=-0.1", "greater than 0"]),
    (["optimizer=adamw", "optimizer.betas=[0.9,1]"], ["optimizer.betas.1=1", "less than 1"]),
    (["data.augmentations=[{Blurr: {}}]"], ["data.augmentations: Blurr", "no such transform"]),
    (["data.augmentations=[{Blur: {size: 3}}]"], ["data.augmentations: Blur", "size"]),
    (["data.crop_size=16"], ["data.crop_size=16", "greater than or equal to 33"]),
    (["decoder.convs=[[2,64]]"], ["decoder.convs", "the kernel size must be odd"]),
    # invalid combinations
    (["decoder.low_level=[conv5]"], ["decoder", "conv5", "conv2, conv3, conv4"]),
    (["decoder.low_level=[conv2,conv2]"], ["decoder", "conv2", "more than once"]),
    (["decoder.low_level=[]"], ["decoder", "without a low-level stage"]),
    (["output_stride=32", "aspp.atrous_rates=[5]"], ["output_stride", "rate 5", "even"]),
    (["data.scales.min=2.0", "data.scales.max=0.5"], ["data.scales", "(0.5) is below min (2.0)"]),
    (["data.scales.step=0.4"], ["data.scales", "step (0.4) does not divide"]),
    (["backbone.mean=[300,0,0]"], ["backbone.mean.0=300", "less than or equal to 255"]),
    (["stage.lr=inf"], ["stage.lr=inf", "finite"]),
    (["seed=4294967296"], ["seed=4294967296", "less than 4294967296"]),
    (["data.eval_size=1000000000"], ["data.eval_size=1000000000", "less than or equal to"]),
    (["loss.class_weights=[0,0,0,0,0,0,0]"], ["loss.class_weights: all weights are 0"]),
    (["loss.class_weights=[1,2]"], ["loss.class_weights", "2 weights", "7 classes"]),
    (["stage.warmup_steps=5000"], ["(5000)", "below max_steps", "Set stage.warmup_steps="]),
    (["decoder.width=3"], ["decoder.width: no such key. Did you mean decoder.weight_init or"]),
    (["stage.momentum=0.9"], ["stage.momentum: no such key. Set optimizer.momentum instead"]),
    (["epochs=10"], ["epochs: no such key. Set stage.max_steps instead"]),
    (["data.val_part=0.3"], ["data.val_part: no such key. Set data.val_fraction instead"]),
    (["model=resnet50"], ["model: no such key. Set backbone=NAME instead"]),
    (["optimizer=adamw", "optimizer.momentum=0.9"], ["optimizer has no such key", "optimizer=sgd"]),
    (["loss.hard_pixel_fraction=0.5"], ["loss has no such key. It is for loss=top_k"]),
    (["lr_scheduler.power=null"], ["lr_scheduler.power=null", "number"]),
    (["lr_scheduler=step"], ["lr_scheduler=step: no such choice", "poly"]),
    (["backbone.depth=[1,2,2,2]"], ["backbone", "two units"]),
    (["data.classes=[disc]"], ["data.classes", "2 or more values"]),
    (["data.classes=[background,circle]"], ["data.classes", "circle", "disc"]),
    (["data.val_split=test"], ["data.val_split=test", "train and val"]),
    (["stage.batch_size=3", "trainer.accelerator=cpu", "trainer.devices=2"],
     ["stage.batch_size=3", "multiple of trainer.devices"]),
    # weights that do not exist
    (["backbone=resnet101", "backbone.pretrained=imagenet"],
     ["backbone.pretrained=imagenet", "deeplab convert resnet_v1_101_2018_05_04.tar.gz"]),
    (["backbone=mobilenetv2", "backbone.width_mult=0.5", "backbone.pretrained=imagenet"],
     ["mobilenetv2: width_mult=0.5, divisor=8", "resnet101_torchvision"]),
    (["backbone=resnet101_torchvision", "backbone.stem=3x3x3", "backbone.pretrained=imagenet"],
     ["stem=3x3x3"]),
    (["backbone.pretrained=imagenet"], ["depth=(2, 2, 2, 2)", "xception41"]),
    (["init_from=nothing"], ["init_from=nothing", "does not exist"]),
    # data and runs that do not exist
    (["data=voc", "data.root=/no/such/place"], ["data.root=/no/such/place", "does not exist"]),
    (["data=voc", "data.root=."], ["data.root=.", "ImageSets/Segmentation"]),
    (["resume=runs/nothing"], ["resume=runs/nothing", "does not exist"]),
    (["resume=."], ["resume=.", "not a run folder"]),
    (["resume=5"], ["resume=5", "does not exist"]),
    # arguments that are not overrides
    (["stage.lr"], ["stage.lr"]),
    (["stage.lr=[1,2"], ["stage.lr"]),
    (["name=a/b"], ["name=a/b", "pattern"]),
]  # fmt: skip


@pytest.mark.parametrize(("arguments", "words"), TRAIN, ids=lambda x: " ".join(x))
def test_train(arguments, words, tmp_path):
    check_refusal("train", arguments, words, tmp_path)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["stage.lr=[1,2"], ["stage.lr"]),
        (["stage.lrr=0.1"], ["stage.lrr: no such key. Did you mean stage.lr?"]),
        (["backbone=xceptoin"], ["backbone=xceptoin", "Did you mean xception "]),
        (["stage.lr=-0.1"], ["stage.lr=-0.1", "greater than 0"]),
        (["data=voc", "data.root=/no/such/place"], ["data.root=/no/such/place", "does not exist"]),
        (["name=${nothing}"], ["name", "nothing"]),
    ],
    ids=lambda x: " ".join(x),
)
def test_a_script_prints_the_message_and_no_traceback(arguments, words, tmp_path):
    check_error_message(run("train", *arguments, cwd=tmp_path, ok=False), words, tmp_path)


@pytest.mark.parametrize(
    ("script", "arguments", "words"),
    [
        (
            "train",
            ["-m", "stage.max_steps=2", "stage.lr=0.1,-1"],
            ["stage.lr=-1", "greater than 0"],
        ),
        ("train", ["-m", "backbone=xception,vgg"], ["backbone=vgg", "resnet101"]),
        ("train", ["-m", "decoder.low_level=[conv2],[conv9]"], ["conv9"]),
        ("cost", ["input_size=20"], ["input_size=20", "greater than or equal to 33"]),
        ("cost", ["format=xml"], ["format=xml", "json"]),
        ("cost", ["scales=[]"], ["scales"]),
        ("cost", ["strategies=os12"], ["strategies", "'os12'", "os8, os16, os32"]),
        ("cost", ["stage.lr=0.1x"], ["stage.lr"]),
        ("evaluate", [], ["run", "run=..."]),
        ("evaluate", ["run=nothing"], ["run=nothing", "does not exist"]),
        (
            "evaluate",
            ["run=nothing", "strategies=single-scale,ms"],
            ["a list needs brackets", "strategies=[single-scale,ms]"],
        ),
        ("evaluate", ["run=2024"], ["run=2024", "expected a string"]),
        ("evaluate", ["run/nothing"], ["run/nothing", "key=value"]),
        ("cost", ["data=folder"], ["data.root=..."]),
        ("evaluate", ["run=nothing", "trimap_widths=[5,3]"], ["trimap_widths", "narrow to wide"]),
        ("evaluate", ["run=nothing", "backbone=xception"], ["backbone"]),
        ("export", [], ["run", "run=..."]),
        ("export", ["run=nothing", "format=torch_export"], ["run=nothing", "does not exist"]),
        ("export", ["run=nothing", "format=tflite"], ["format=tflite", "onnx", "torch_export"]),
        ("export", ["run=nothing", "format=safetensors", "output_stride=8"], ["output_stride"]),
        ("export", ["run=nothing", "private=true"], ["private", "push_to_hub"]),
        ("export", ["run=nothing", "license=mit"], ["license", "format=safetensors"]),
        ("export", ["run=nothing", "push_to_hub=name"], ["push_to_hub=name", "pattern"]),
    ],
    ids=str,
)
def test_other_scripts_and_sweeps(script, arguments, words, tmp_path):
    if "-m" in arguments:
        check_error_message(run(script, *arguments, cwd=tmp_path, ok=False), words, tmp_path)
    else:
        check_refusal(script, arguments, words, tmp_path)


@pytest.mark.parametrize(
    ("damage", "arguments", "words"),
    [
        (lambda r: None, ["data.classes=[background,thing]"], ["label", "2 classes"]),
        (lambda r: None, ["data.train_split=trainaug"], ["data.train_split", "train, val"]),
        (lambda r: (r / "ImageSets/Segmentation/val.txt").write_text(""), [], ["no image"]),
        (lambda r: (r / "JPEGImages/val_0.jpg").unlink(), [], ["val_0.jpg", "does not exist"]),
        (lambda r: (r / "JPEGImages/val_0.jpg").write_bytes(b""), [], ["val_0.jpg", "empty"]),
        (
            lambda r: Image.new("L", (10, 50)).save(r / "SegmentationClass/val_1.png"),
            [],
            ["val_1.png", "its image is 60 x 50"],
        ),
        (
            lambda r: [
                Image.new("L", (60, 50), 255).save(r / f"SegmentationClass/val_{i}.png")
                for i in range(2)
            ],
            [],
            ["'val'", "nothing but 255"],
        ),
        (
            lambda r: (r / "ImageSets/Segmentation/val.txt").write_bytes(b"\xff\xfe"),
            [],
            ["data.val_split=val", "lists no images"],
        ),
        (
            lambda r: Image.new("RGB", (60, 50), "red").save(r / "SegmentationClass/train_1.png"),
            [],
            ["train_1.png", "color mask"],
        ),
    ],
)  # fmt: skip
def test_wrong_data(damage, arguments, words, tmp_path):
    tree = voc_tree(tmp_path / "voc", {"train": 3, "val": 2})
    damage(tree)
    work = tmp_path / "work"
    work.mkdir()
    done = run(
        "train", "data=voc", f"data.root={tree}", "data.train_split=train", "stage.max_steps=2",
        "logger=csv", *arguments, cwd=work, ok=False,
    )  # fmt: skip
    check_error_message(done, words, work)
