"""Arrangements of published data sets, exports of labeling tools, and others: what is found there.

The files are empty: only their names count.
"""

import re

import pytest

from deeplab.data.layouts.cityscapes import CityscapesLayout, CityscapesSettings
from deeplab.data.layouts.folder import FolderLayout
from deeplab.data.layouts.folder_settings import FolderSettings
from deeplab.utils.errors import UserError
from deeplab.utils.program import command


def expand(pattern):
    """Return the names that a pattern such as ``images/{0..2}.jpg`` stands for."""
    match = re.search(r"\{(\d+)\.\.(\d+)\}", pattern)
    if not match:
        return [pattern]
    width = len(match[1])
    numbers = range(int(match[1]), int(match[2]) + 1)
    return [pattern.replace(match[0], f"{i:0{width}}") for i in numbers]


def write_tree(root, files, lists=None):
    for pattern in files:
        for name in expand(pattern):
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).write_bytes(b"")
    for name, lines in (lists or {}).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        text = lines if isinstance(lines, str) else "\n".join(n for p in lines for n in expand(p))
        (root / name).write_text(text)


def read_layout(root, **keys):
    return FolderLayout(FolderSettings(name="folder", root=str(root), **keys))


def pairs_of(layout):
    """Return the path of each image's mask, empty if it has none, by the image's path."""

    def relative(path):
        return path.relative_to(layout.root).as_posix() if path.is_file() else ""

    return {relative(item.image): relative(item.mask) for item in layout.items("all")}


def each(*patterns, **numbers):
    """Return patterns for each split, in which <s> stands for its name and <n> for its numbers."""
    return [pattern.replace("<s>", split).replace("<n>", those)
            for split, those in numbers.items() for pattern in patterns]  # fmt: skip


TWO = ["images/{0..9}.jpg", "masks/{0..9}.png"]

FOUND = {
    # published data sets
    "CamVid": (
        each("<s>/<n>.png", "<s>annot/<n>.png", train="{0..5}", val="{6..7}", test="{8..9}"), {},
        {"train": (6, "train/0.png", "trainannot/0.png"), "val": (2,), "test": (2,)},
    ),
    "CamVid of Kaggle": (
        [*each("<s>/<n>.png", "<s>_labels/<n>_L.png", train="{0..5}", val="{6..7}"),
         "class_dict.csv"], {},
        {"train": (6, "train/0.png", "train_labels/0_L.png"), "val": (2,)},
    ),
    "ADE20K": (
        each("images/<s>/ADE_<n>.jpg", "annotations/<s>/ADE_<n>.png",
             training="{0..5}", validation="{6..7}"), {},
        {"train": (6, "images/training/ADE_0.jpg", "annotations/training/ADE_0.png"), "val": (2,)},
    ),
    "ADE20K in its folder, with objects": (
        [f"ADEChallengeData2016/{p}" for p in each(
            "images/<s>/<n>.jpg", "annotations/<s>/<n>.png", "annotations_instance/<s>/<n>.png",
            training="{0..5}", validation="{6..7}")], {},
        {"train": (6, "ADEChallengeData2016/images/training/0.jpg",
                   "ADEChallengeData2016/annotations/training/0.png"), "val": (2,)},
    ),
    "Cityscapes": (
        [*each("leftImg8bit/<s>/bonn/b_<n>_leftImg8bit.png",
         "gtFine/<s>/bonn/b_<n>_gtFine_labelIds.png",
               "gtFine/<s>/bonn/b_<n>_gtFine_color.png",
                "gtFine/<s>/bonn/b_<n>_gtFine_polygons.json",
               train="{0..5}", val="{6..7}"), "leftImg8bit/test/rome/r_{0..1}_leftImg8bit.png"], {},
        {"train": (6, "leftImg8bit/train/bonn/b_0_leftImg8bit.png",
                   "gtFine/train/bonn/b_0_gtFine_labelIds.png"), "val": (2,),
         "test": (2, "leftImg8bit/test/rome/r_0_leftImg8bit.png", "")},
    ),
    "COCO-Stuff": (
        each("images/<s><n>.jpg", "annotations/<s><n>.png",
             **{"train2017/": "{000..005}", "val2017/": "{006..007}"}), {},
        {"train": (6, "images/train2017/000.jpg", "annotations/train2017/000.png"), "val": (2,)},
    ),
    "LoveDA": (
        each("<s>/R/images_png/<n>.png", "<s>/R/masks_png/<n>.png", Train="{0..5}", Val="{6..7}")
        + each("<s>/U/images_png/<n>.png", "<s>/U/masks_png/<n>.png", Train="{0..5}",
         Val="{6..7}"), {},
        {"train": (12, "Train/R/images_png/0.png", "Train/R/masks_png/0.png"), "val": (4,)},
    ),
    "Kvasir-SEG": (
        ["images/{0..9}.jpg", "masks/{0..9}.jpg", "kavsir_bboxes.json"], {},
        {"train": (8, "images/0.jpg", "masks/0.jpg"), "val": (2,)},
    ),
    "Carvana": (
        ["train/{0..9}_01.jpg", "train_masks/{0..9}_01_mask.gif", "test/{0..4}_01.jpg"], {},
        {"train": (8, "train/0_01.jpg", "train_masks/0_01_mask.gif"), "val": (2,),
         "test": (5, "test/0_01.jpg", "")},
    ),
    "ISIC 2018": (
        [p.replace("T1", t) for t, p in zip(
            ("Task1-2", "Task1") * 3, each(
                "ISIC2018_T1_<s>_Input/ISIC_<n>.jpg",
                "ISIC2018_T1_<s>_GroundTruth/ISIC_<n>_segmentation.png",
                Training="{0..5}", Validation="{6..7}", Test="{8..9}"), strict=True)], {},
        {"train": (6, "ISIC2018_Task1-2_Training_Input/ISIC_0.jpg",
                   "ISIC2018_Task1_Training_GroundTruth/ISIC_0_segmentation.png"),
         "val": (2,), "test": (2,)},
    ),
    "DUTS": (
        each("DUTS-<s>/DUTS-<s>-Image/<n>.jpg", "DUTS-<s>/DUTS-<s>-Mask/<n>.png", TR="{0..9}",
         TE="{10..13}"),
        {},
        {"train": (8, "DUTS-TR/DUTS-TR-Image/0.jpg", "DUTS-TR/DUTS-TR-Mask/0.png"), "val": (2,),
         "test": (4,)},
    ),
    "Mapillary Vistas 1.2": (
        [*each("<s>/images/<n>.jpg", "<s>/labels/<n>.png", "<s>/instances/<n>.png",
         "<s>/panoptic/<n>.png",
               training="{0..5}", validation="{6..7}"), "testing/images/{8..9}.jpg"], {},
        {"train": (6, "training/images/0.jpg", "training/labels/0.png"), "val": (2,),
         "test": (2, "testing/images/8.jpg", "")},
    ),
    "SUIM": (
        [*each("<s>/images/<n>.jpg", "<s>/masks/<n>.bmp", train_val="{0..9}", TEST="{10..13}")], {},
        {"train": (8, "train_val/images/0.jpg", "train_val/masks/0.bmp"), "val": (2,),
         "test": (4,), "trainval": (10,)},
    ),
    "Oxford Pets": (
        ["images/cat_{0..9}.jpg", "annotations/trimaps/cat_{0..9}.png",
         "annotations/xmls/cat_{0..3}.xml"],
        {"annotations/trainval.txt": ["cat_{0..5} 1 1 1"],
         "annotations/test.txt": ["cat_{6..9} 1 1 1"],
         "annotations/list.txt": "#Image CLASS-ID SPECIES\ncat_0 1 1 1"},
        {"train": (5, "images/cat_0.jpg", "annotations/trimaps/cat_0.png"), "val": (1,),
         "test": (4,)},
    ),
    "Potsdam": (
        ["2_Ortho_RGB/top_potsdam_2_{10..19}_RGB.tif",
         "5_Labels_all/top_potsdam_2_{10..19}_label.tif"],
        {}, {"train": (8, "2_Ortho_RGB/top_potsdam_2_10_RGB.tif",
                       "5_Labels_all/top_potsdam_2_10_label.tif"), "val": (2,)},
    ),
    "mmsegmentation": (
        each("img_dir/<s>/<n>.png", "ann_dir/<s>/<n>.png", train="{0..5}", val="{6..7}"), {},
        {"train": (6, "img_dir/train/0.png", "ann_dir/train/0.png"), "val": (2,)},
    ),
    "nnU-Net's folders": (
        ["imagesTr/c_{0..9}.png", "labelsTr/c_{0..9}.png", "imagesTs/c_{10..12}.png"], {},
        {"train": (8, "imagesTr/c_0.png", "labelsTr/c_0.png"), "val": (2,),
         "test": (3, "imagesTs/c_10.png", "")},
    ),
    "Polyp benchmarks": (
        ["TrainDataset/image/{0..9}.png", "TrainDataset/mask/{0..9}.png",
         "TestDataset/CVC-300/images/{0..3}.png", "TestDataset/CVC-300/masks/{0..3}.png",
         "TestDataset/Kvasir/images/{0..3}.png", "TestDataset/Kvasir/masks/{0..3}.png"], {},
        {"train": (8, "TrainDataset/image/0.png", "TrainDataset/mask/0.png"), "val": (2,),
         "test": (8,)},
    ),
    "CVC-ClinicDB": (
        ["Original/{1..10}.tif", "Ground Truth/{1..10}.tif"], {},
        {"train": (8, "Original/1.tif", "Ground Truth/1.tif"), "val": (2,)},
    ),
    "semantic drone": (
        ["original_images/{000..009}.jpg", "label_images_semantic/{000..009}.png"], {},
        {"train": (8, "original_images/000.jpg", "label_images_semantic/000.png"), "val": (2,)},
    ),
    "BUSI": (
        ["benign/benign ({1..9}).png", "benign/benign ({1..9})_mask.png",
         "benign/benign (4)_mask_1.png", "normal/normal (1).png", "normal/normal (1)_mask.png"], {},
        {"train": (8, "benign/benign (1).png", "benign/benign (1)_mask.png"), "val": (2,)},
    ),
    "VOC with all tasks": (
        ["JPEGImages/{0..9}.jpg", "SegmentationClass/{0..9}.png", "SegmentationObject/{0..9}.png",
         "Annotations/{0..9}.xml"],
        {"ImageSets/Segmentation/train.txt": ["{0..3}"],
         "ImageSets/Segmentation/val.txt": ["{4..5}"],
         "ImageSets/Main/train.txt": ["{0..8}"], "ImageSets/Main/cat_train.txt": ["{0..8} -1"],
         "ImageSets/Main/cat_val.txt": ["9  1"]},
        {"train": (4, "JPEGImages/0.jpg", "SegmentationClass/0.png"), "val": (2,)},
    ),
    # exports of tools
    "Roboflow": (
        [*each("<s>/a_<n>_png.rf.0a1b.jpg", "<s>/a_<n>_png.rf.0a1b_mask.png",
               train="{0..5}", valid="{6..7}", test="{8..9}"), "train/_classes.csv"], {},
        {"train": (6, "train/a_0_png.rf.0a1b.jpg", "train/a_0_png.rf.0a1b_mask.png"),
         "val": (2,), "test": (2,)},
    ),
    "CVAT's segmentation masks": (
        ["JPEGImages/{0..9}.jpg", "SegmentationClass/{0..9}.png", "SegmentationObject/{0..9}.png",
         "labelmap.txt"], {"ImageSets/Segmentation/default.txt": ["{0..9}"]},
        {"train": (8, "JPEGImages/0.jpg", "SegmentationClass/0.png"), "val": (2,)},
    ),
    "CVAT with subsets": (
        ["JPEGImages/{0..9}.jpg", "SegmentationClass/{0..9}.png"],
        {"ImageSets/Segmentation/Train.txt": ["{0..7}"],
         "ImageSets/Segmentation/Validation.txt": ["{8..9}"]},
        {"train": (8, "JPEGImages/0.jpg", "SegmentationClass/0.png"), "val": (2,)},
    ),
    "LabelMe's VOC export": (
        ["JPEGImages/{0..9}.jpg", "SegmentationClass/{0..9}.npy",
         "SegmentationClassVisualization/{0..9}.jpg", "class_names.txt"], {},
        {"train": (8, "JPEGImages/0.jpg", "SegmentationClass/0.npy"), "val": (2,)},
    ),
    "RectLabel": (
        ["images/{000..009}.jpg", "masks/{000..009}_all_objects.png"], {},
        {"train": (8, "images/000.jpg", "masks/000_all_objects.png"), "val": (2,)},
    ),
    "Supervisely": (
        ["ds0/img/{0..9}.jpg", "ds0/ann/{0..9}.jpg.json", "ds0/masks_machine/{0..9}.png",
         "meta.json"], {},
        {"train": (8, "ds0/img/0.jpg", "ds0/masks_machine/0.png"), "val": (2,)},
    ),
    "YOLO's labels beside masks": (
        [*each("images/<s>/<n>.jpg", "masks/<s>/<n>.png", "labels/<s>/<n>.txt", train="{0..5}",
         val="{6..7}")],
        {}, {"train": (6, "images/train/0.jpg", "masks/train/0.png"), "val": (2,)},
    ),
    # names of splits
    "train_images": (
        each("<s>_images/<n>.jpg", "<s>_masks/<n>.png", train="{0..5}", val="{6..7}"), {},
        {"train": (6, "train_images/0.jpg", "train_masks/0.png"), "val": (2,)},
    ),
    "images_train": (
        each("images_<s>/<n>.jpg", "masks_<s>/<n>.png", train="{0..5}", dev="{6..7}"), {},
        {"train": (6, "images_train/0.jpg", "masks_train/0.png"), "val": (2,)},
    ),
    "upper case": (
        each("<s>/IMAGES/<n>.JPG", "<s>/MASKS/<n>.PNG", TRAIN="{0..5}", VALID="{6..7}"), {},
        {"train": (6, "TRAIN/IMAGES/0.JPG", "TRAIN/MASKS/0.PNG"), "val": (2,)},
    ),
    "tr and te": (
        each("<s>/images/<n>.png", "<s>/gt/<n>.png", tr="{0..9}", te="{10..13}"), {},
        {"train": (8, "tr/images/0.png", "tr/gt/0.png"), "val": (2,), "test": (4,)},
    ),
    "train_set": (
        each("<s>/img/<n>.png", "<s>/labels_png/<n>.png",
             train_set="{0..5}", val_set="{6..7}"), {},
        {"train": (6, "train_set/img/0.png", "train_set/labels_png/0.png"), "val": (2,)},
    ),
    "masks in one folder": (
        [*each("images/<s>/<n>.jpg", train="{00..05}", val="{06..07}"), "masks/{00..07}.png"], {},
        {"train": (6, "images/train/00.jpg", "masks/00.png"), "val": (2,)},
    ),
    "same names in both splits": (
        each("images/<s>/<n>.jpg", "masks/<s>/<n>.png", train="{0..5}", val="{0..1}"), {},
        {"train": (6, "images/train/0.jpg", "masks/train/0.png"),
         "val": (2, "images/val/0.jpg", "masks/val/0.png")},
    ),
    "a class named train_station": (
        each("images/<s>/<n>.jpg", "masks/<s>/<n>.png", train_station="{0..5}", airport="{0..3}"),
         {},
        {"train": (8,), "val": (2,)},
    ),
    # names of files
    "nested folders": (
        ["images/a/b/{0..9}.png", "masks/a/b/{0..9}.png"], {},
        {"train": (8, "images/a/b/0.png", "masks/a/b/0.png"), "val": (2,)},
    ),
    "masks one folder deeper": (
        ["images/{0..9}.jpg", "masks/annotations/{0..9}.png"], {},
        {"train": (8, "images/0.jpg", "masks/annotations/0.png"), "val": (2,)},
    ),
    "suffixes on both sides": (
        ["images/img_{0..9}_image.jpg", "masks/img_{0..9}_mask.png"], {},
        {"train": (8, "images/img_0_image.jpg", "masks/img_0_mask.png"), "val": (2,)},
    ),
    "other suffixes on both sides": (
        ["images/{0..9}_pre_event.jpg", "masks/{0..9}_building_footprint.png"], {},
        {"train": (8, "images/0_pre_event.jpg", "masks/0_building_footprint.png"), "val": (2,)},
    ),
    "prefixes": (
        ["images/photo-{0..9}.jpg", "masks/truth-{0..9}.png"], {},
        {"train": (8, "images/photo-0.jpg", "masks/truth-0.png"), "val": (2,)},
    ),
    "prefix of the masks": (
        ["images/{0..9}.jpg", "masks/colored_{0..9}.png"], {},
        {"train": (8, "images/0.jpg", "masks/colored_0.png"), "val": (2,)},
    ),
    "IMG_1 and img_1": (
        ["images/IMG_{0..9}.JPG", "masks/img_{0..9}.png"], {},
        {"train": (8, "images/IMG_0.JPG", "masks/img_0.png"), "val": (2,)},
    ),
    "unknown end in one folder": (
        ["{0..9}.png", "{0..9}_outline.png"], {}, {"train": (8, "0.png", "0_outline.png"),
         "val": (2,)},
    ),
    "PNG and NPY in one folder": (
        ["{0..9}.png", "{0..9}.npy"], {}, {"train": (8, "0.png", "0.npy"), "val": (2,)},
    ),
    "image and mask in a folder for each": (
        ["{0..9}/image.png", "{0..9}/mask.png"], {}, {"train": (8, "0/image.png", "0/mask.png"),
         "val": (2,)},
    ),
    "LabelMe's folder for each image": (
        ["{0..9}_json/img.png", "{0..9}_json/label.png", "{0..9}_json/label_viz.png"], {},
        {"train": (8, "0_json/img.png", "0_json/label.png"), "val": (2,)},
    ),
    "masks of images that are elsewhere": (
        ["images/train/a/{0..5}.jpg", "gt/train/a/{0..5}.png", "gt/train/b/{0..8}.png",
         "images/val/a/7.jpg", "gt/val/a/7.png"], {},
        {"train": (6, "images/train/a/0.jpg", "gt/train/a/0.png"), "val": (1,)},
    ),
    "splits of the masks only": (
        ["images/{0..9}.jpg", "gt/train/{0..5}.png", "gt/val/{6..9}.png"], {},
        {"train": (6, "images/0.jpg", "gt/train/0.png"), "val": (4,)},
    ),
    "predictions beside images and masks": (
        ["{0..9}.jpg", "{0..9}_mask.png", "predictions/{0..9}.png"], {},
        {"train": (8, "0.jpg", "0_mask.png"), "val": (2,)},
    ),
    "the same names in folders that differ": (
        [*each("images/<s>/<n>.jpg", "masks/final/<s>/<n>.png", a="{0..4}", b="{0..4}")], {},
        {"train": (8, "images/a/0.jpg", "masks/final/a/0.png"), "val": (2,)},
    ),
    "several sites": (
        [*each("bonn/<s>/images/<n>.jpg", "bonn/<s>/masks/<n>.png", train="{0..5}", val="{6..7}"),
         *each("rome/<s>/images/<n>.jpg", "rome/<s>/masks/<n>.png", train="{0..5}", val="{6..7}")],
        {}, {"train": (12, "bonn/train/images/0.jpg", "bonn/train/masks/0.png"), "val": (4,)},
    ),
    "languages": (
        each("images/<s>/<n>.jpg", "masks/<s>/<n>.png", tr="{0..4}", en="{0..4}"), {},
        {"train": (8, "images/tr/0.jpg", "masks/tr/0.png"), "val": (2,)},
    ),
    "crops of Crack500": (
        each("<s>/<n>.jpg", "<s>/<n>.png", traincrop="{00..05}", valcrop="{06..07}",
             testcrop="{08..09}"), {},
        {"train": (6, "traincrop/00.jpg", "traincrop/00.png"), "val": (2,), "test": (2,)},
    ),
    "ISIC 2017 with superpixels": (
        [*each("ISIC-2017_<s>_Data/I_<n>.jpg",
               "ISIC-2017_<s>_Part1_GroundTruth/I_<n>_segmentation.png",
               Training="{0..5}", Validation="{6..7}", Test_v2="{8..9}"),
         "ISIC-2017_Training_Data/I_{0..5}_superpixels.png"], {},
        {"train": (6, "ISIC-2017_Training_Data/I_0.jpg",
                   "ISIC-2017_Training_Part1_GroundTruth/I_0_segmentation.png"),
         "val": (2,), "test": (2,)},
    ),
    "CVAT's CamVid export": (
        ["default/{0..9}.png", "defaultannot/{0..9}.png"], {},
        {"train": (8, "default/0.png", "defaultannot/0.png"), "val": (2,)},
    ),
    "words in the middle of names": (
        ["seq/camera/2018_camera_front_{0..9}.png", "seq/label/2018_label_front_{0..9}.png"], {},
        {"train": (8, "seq/camera/2018_camera_front_0.png", "seq/label/2018_label_front_0.png"),
         "val": (2,)},
    ),
    "words at the start of names": (
        ["data/img_{0..9}.png", "data/mask_{0..9}.png"], {},
        {"train": (8, "data/img_0.png", "data/mask_0.png"), "val": (2,)},
    ),
    "other files of each image": (
        [f"A1/plant{{1..9}}_{kind}.png" for kind in ("rgb", "label", "fg", "centers")], {},
        {"train": (7, "A1/plant1_rgb.png", "A1/plant1_label.png"), "val": (2,)},
    ),
    "two forms of Unicode": (
        [f"images/{name}/{{0..4}}.jpg" for name in ("\u00fc", "b")]
        + [f"masks/{name}/{{0..4}}.png" for name in ("u\u0308", "b")],
        {"train.txt": ["u\u0308/{0..4}"], "val.txt": ["b/{0..4}"]},
        {"train": (5, "images/\u00fc/0.jpg", "masks/u\u0308/0.png"), "val": (5,)},
    ),
    "thumbnails and deleted files": (
        [*TWO, "images/@eaDir/{0..9}.jpg/THUMB.jpg", "$RECYCLE.BIN/images/{0..3}.jpg",
         "$RECYCLE.BIN/masks/{0..3}.png"], {},
        {"train": (8,), "val": (2,), "all": (10,)},
    ),
    "a folder val without masks": (
        ["train/{0..9}_sat.jpg", "train/{0..9}_mask.png", "valid/{10..12}_sat.jpg"], {},
        {"train": (8, "train/0_sat.jpg", "train/0_mask.png"), "val": (2,), "valid": (3,)},
    ),
    "a folder eval": (
        each("images/<s>/<n>.jpg", "masks/<s>/<n>.png", train="{0..5}", eval="{6..7}"), {},
        {"train": (6,), "val": (2, "images/eval/6.jpg", "masks/eval/6.png")},
    ),
    # lists
    "a table with a column of splits": (
        TWO, {"meta.csv": ["id,patient,Subset", "{0..5},a,training", "{6..7},b,validation",
                           "{8..9},c,testing"]},
        {"train": (6,), "val": (2,), "test": (2,)},
    ),
    "a table with a column of folds": (
        TWO, {"meta.csv": ["fold,image", "0,{0..4}.jpg", "1,{5..9}.jpg"]},
        {"train": (8,), "val": (2,), "fold0": (5,), "fold1": (5,)},
    ),
    "tables with tabs": (
        TWO, {"train.tsv": ["mask\timage", *(f"masks/{i}.png\timages/{i}.jpg" for i in range(8))],
              "val.tsv": ["8", "9"]},
        {"train": (8, "images/0.jpg", "masks/0.png"), "val": (2,)},
    ),
    "lists of DAVIS's videos": (
        [f"{folder}/480p/{video}/{{0..4}}.{end}" for video in ("bear", "bus")
         for folder, end in (("JPEGImages", "jpg"), ("Annotations", "png"))],
        {"ImageSets/2017/train.txt": ["bear"], "ImageSets/2017/val.txt": ["480p/bus"]},
        {"train": (5, "JPEGImages/480p/bear/0.jpg", "Annotations/480p/bear/0.png"), "val": (5,)},
    ),
    "a table of objects": (
        TWO, {"train.csv": ["filename,class", "{0..7}.jpg,1", "{0..7}.jpg,2"],
              "val.txt": ["{8..9}"]},
        {"train": (8,), "val": (2,)},
    ),
    "lists of images and lists of masks": (
        TWO, {"train_images.txt": ["images/{0..7}.jpg"], "train_masks.txt": ["other/{0..7}x.png"],
              "val_images.txt": ["images/{8..9}.jpg"]},
        {"train": (8,), "val": (2,)},
    ),
    "train_list and test_list": (
        ["images/{0..9}.jpg", "masks/{0..9}.png"],
        {"lists/train_list.txt": ["{0..5}"], "lists/test_list.txt": ["{6..9}"]},
        {"train": (5,), "val": (1,), "test": (4,)},
    ),
    "train_ids and valid_ids of CIHP's kind": (
        each("<s>/Images/<n>.jpg", "<s>/Labels/<n>.png", Training="{00..05}",
         Validation="{06..07}"),
        {"Training/train_id.txt": ["{00..03}"], "Validation/val_id.txt": ["{06..07}"]},
        {"train": (4,), "val": (2,)},
    ),
    "lists of folders whose names are shared": (
        each("<s>/images/<n>.jpg", "<s>/masks/<n>.png", train="{0..5}", val="{0..5}"),
        {"train.txt": ["{0..3}"], "val.txt": ["{0..3}"]},
        {"train": (4, "train/images/0.jpg", "train/masks/0.png"),
         "val": (4, "val/images/0.jpg", "val/masks/0.png")},
    ),
    "HRNet's lst": (
        ["leftImg/{0..9}.png", "gt/{0..9}.png"],
        {"list/train.lst": ["leftImg/{0..7}.png\tgt/{0..7}.png".replace("{0..7}",
         str(i)) for i in range(8)],
         "list/val.lst": ["leftImg/8.png\tgt/8.png", "leftImg/9.png\tgt/9.png"]},
        {"train": (8, "leftImg/0.png", "gt/0.png"), "val": (2,)},
    ),
    "pairs with names that have nothing in common": (
        ["photos/a{0..9}.jpg", "labels/x{10..19}.png"],
        {"train.txt": [f"photos/a{i}.jpg labels/x{i + 10}.png" for i in range(8)],
         "val.txt": [f"photos/a{i}.jpg labels/x{i + 10}.png" for i in (8, 9)]},
        {"train": (8, "photos/a0.jpg", "labels/x10.png"), "val": (2,)},
    ),
    "CSV with a heading": (
        ["images/{0..9}.jpg", "masks/{0..9}.png"],
        {"train.csv": ["image_id,rle_mask", "{0..7},1 2"],
         "val.csv": "filename;width\n8.jpg;3\n9.jpg;4\n"},
        {"train": (8,), "val": (2,)},
    ),
    "CSV without a heading, whose ids are words": (
        ["images/IMG {0..9}.jpg", "masks/IMG {0..9}.png", "images/image.jpg", "masks/image.png"],
        {"train.csv": ["image", "IMG {1..7}"], "val.csv": ["IMG 8", "IMG 9"]},
        {"train": (8,), "val": (2,)},
    ),
    "CSV of pairs": (
        ["images/{0..9}.jpg", "masks/{0..9}.png"],
        {"train.csv": ["mask_path,image_path",
         *(f"masks/{i}.png,images/{i}.jpg" for i in range(8))],
         "val.csv": ["images/8.jpg,masks/8.png", "images/9.jpg,masks/9.png"]},
        {"train": (8, "images/0.jpg", "masks/0.png"), "val": (2,)},
    ),
    "Windows paths": (
        ["images/{0..9}.jpg", "masks/{0..9}.png"],
        {"train.txt": ["C:\\data\\images\\{0..7}.jpg"], "val.txt": ["images\\{8..9}.jpg"]},
        {"train": (8,), "val": (2,)},
    ),
    "only val.txt": (
        ["images/{0..9}.jpg", "masks/{0..9}.png"], {"val.txt": ["{0..3}"]},
        {"train": (6, "images/4.jpg", "masks/4.png"), "val": (4,)},
    ),
    "only test.txt": (
        ["images/{0..9}.jpg", "masks/{0..9}.png"], {"test.txt": ["{0..4}"]},
        {"train": (4,), "val": (1,), "test": (5,)},
    ),
    "test.txt names images of the folder train": (
        each("images/<s>/<n>.jpg", "masks/<s>/<n>.png", train="{00..09}", val="{10..11}"),
        {"test.txt": ["{00..03}"]}, {"train": (6,), "val": (2,), "test": (4,)},
    ),
    "trainval and val": (
        ["images/{0..9}.jpg", "masks/{0..9}.png"],
        {"trainval.txt": ["{0..7}"], "val.txt": ["{6..7}"]}, {"train": (6,), "val": (2,)},
    ),
    "trainval and train": (
        ["images/{0..9}.jpg", "masks/{0..9}.png"],
        {"trainval.txt": ["{0..7}"], "train.txt": ["{0..5}"]}, {"train": (6,), "val": (2,)},
    ),
    "one fold": (
        ["images/{0..9}.jpg", "masks/{0..9}.png"],
        {"fold_1/train.txt": ["{0..7}"], "fold_1/val.txt": ["{8..9}"]}, {"train": (8,),
         "val": (2,)},
    ),
    "the same list twice": (
        ["images/{0..9}.jpg", "masks/{0..9}.png"],
        {"train.txt": ["{0..7}"], "splits/train.txt": ["images/{0..7}.jpg"], "val.txt": ["{8..9}"]},
        {"train": (8,), "val": (2,)},
    ),
    "logs and an image named train": (
        [*TWO, "images/train.jpg", "masks/train.png"],
        {"train_log.txt": "step 1\n", "val_log.txt": "step 1\n", "train.txt": ["{0..7}", "train"],
         "val.txt": ["{8..9}"]},
        {"train": (9,), "val": (2,)},
    ),
    "lists with the name of the data set": (
        ["images/{0..9}.jpg", "masks/{0..9}.png"],
        {"lists/kitti_train.txt": ["{0..7}"], "lists/kitti_val.txt": ["{8..9}"]},
        {"train": (8,), "val": (2,)},
    ),
}  # fmt: skip
"""Files, lists, and for each split the number of images, perhaps with one of them and its mask."""


@pytest.mark.parametrize("name", FOUND)
def test_arrangements(name, tmp_path):
    files, lists, expected = FOUND[name]
    write_tree(tmp_path, files, lists)
    layout = read_layout(tmp_path)
    splits = {split: layout.items(split) for split in layout.splits()}
    assert {s: len(splits[s]) for s in expected} == {
        s: count for s, (count, *_) in expected.items()
    }
    pairs = dict(pair for _, *pair in expected.values() if pair)
    assert pairs.items() <= pairs_of(layout).items()
    assert not pairs or {*pairs} <= {
        i.image.relative_to(tmp_path).as_posix() for i in splits["all"]
    }
    images = {s: {item.image for item in items} for s, items in splits.items()}
    assert not images["train"] & images["val"]
    assert not (images["train"] | images["val"]) & images.get("test", set())
    for split, items in splits.items():
        assert len({item.id for item in items}) == len(items) or split == "all"
        assert split not in ("train", "val") or all(item.mask.is_file() for item in items)


UNCLEAR = {
    "folds": (
        TWO, {f"{kind}_fold_{k}.txt": ["{0..4}" if k else "{5..9}"] for k in range(5)
              for kind in ("train", "val")},
        ["split 'train': 5 may be it: train_fold_0, train_fold_1, train_fold_2, and 2 more",
         "data.train_split=train_fold_0 data.val_split=val_fold_0"],
    ),
    "lists in folders of folds": (
        TWO, {f"fold{k}/train.txt": [f"{{{k}..6}}"] for k in range(3)},
        ["3 may be it: fold0/train, fold1/train", "data.train_split=fold0/train"],
    ),
    "two different lists": (
        TWO, {"train.txt": ["{0..5}"], "splits/train.txt": ["{0..6}"]},
        ["split 'train': 2 may be it: splits/train, train"],
    ),
    "train2014 and train2017": (
        each("images/<s>/<n>.jpg", "masks/<s>/<n>.png", train2014="{0..5}", train2017="{6..7}"),
        {}, ["data.train_split=train2014"],
    ),
    "DRIVE's second folder": (
        ["training/images/{21..30}_training.tif", "training/1st_manual/{21..30}_manual1.gif",
         "training/mask/{21..30}_training_mask.gif"], {},
        ["data.mask_dir: training/1st_manual and training/mask may both hold the masks"],
    ),
    "two lungs": (
        ["CXR_png/{0..9}.png", "ManualMask/leftMask/{0..9}.png",
         "ManualMask/rightMask/{0..9}.png"], {},
        ["CXR_png/0.png has two masks: ManualMask/leftMask/0.png and ManualMask/rightMask/0.png",
         "Set data.mask_dir"],
    ),
    "a mask of two images": (
        ["images/a/{0..4}.jpg", "images/b/{0..4}.jpg", "masks/{0..4}.png"], {},
        ["images/a/0.jpg and images/b/0.jpg: two files have the same name"],
    ),
    "two masks of an image": (
        ["images/{0..4}.jpg", "masks/{0..4}_mask.png", "masks/{0..4}_label.png"], {},
        ["images/0.jpg has two masks", "data.mask_suffix"],
    ),
    "training images without masks": (
        ["test/broken/{0..5}.png", "ground_truth/broken/{0..5}_mask.png", "train/good/{0..9}.png"],
        {}, ["none of the 10 images of train", "has a mask"],
    ),
    "masks beside the training images only": (
        ["train/{0..7}.jpg", "train/{0..7}_mask.png", "val/images/{8..9}.jpg",
         "val/masks/{8..9}.png"], {},
        ["no image is left for it (val: 2 images of val/images)"],
    ),
    "two folders of masks": (
        [*TWO, "labels/{0..9}.png"], {}, ["data.mask_dir: images/0.jpg has two masks: "],
    ),
    "Label Studio": (
        ["images/{0..9}.jpg", "masks/task-{20..29}-annotation-1-by-1-tag-car-0.png"], {},
        ["10 images (images/0.jpg, images/1.jpg, images/2.jpg, and 7 more) and 10 masks "
         "(masks/task-20-", "no mask has the name of an image", "data.mask_suffix",
          "data.mask_dir"],
    ),
    "masks of another numbering": (
        ["images/{0..9}.jpg", "masks/{10..19}.png"], {}, ["no mask has the name of an image"],
    ),
    "outlines as text": (
        ["images/{0..9}.jpg", "annotations/{0..9}.xml"], {},
        ["10 images (images/0.jpg", "annotations holds 10 .xml files, which are not masks"],
    ),
    "an id that is nowhere": (TWO, {"train.txt": ["{0..5}", "x"]},
                              ["train.txt, line 7: 'x' is no image"]),
    "two images of a name": (
        ["images/a/{0..9}.jpg", "masks/a/{0..9}.png", "images/b/1.jpg", "masks/b/1.png"],
        {"train.txt": "1\n"}, ["line 1: '1' may be images/a/1.jpg or images/b/1.jpg"],
    ),
    "an image of the other split": (
        each("images/<s>/<n>.jpg", "masks/<s>/<n>.png", train="{0..5}", val="{6..7}"),
        {"train.txt": "train/1\ntrain/6\n"}, ["line 2: 'train/6' is no image"],
    ),
    "nothing left to train on": (TWO, {"val.txt": ["{0..9}"]}, ["no image is left for it"]),
    "one image": (["images/a.jpg", "masks/a.png"], {}, ["only one image to draw val from"]),
    "a line of no end": (TWO, {"train.txt": "0\n" + "1.jpg " * 9999}, ["line 2", "more than 9000"]),
    "a list of no images": (TWO, {"train.txt": "\n"}, ["lists no images"]),
    **{
        f"a line that leads out, {line!r}": (TWO, {"train.txt": f"0\n{line}\n"},
                                            ["train.txt, line 2: ", problem])
        for line, problem in {
            "../images/0.jpg": "has '..'", "images/../../0": "has '..'",
             "..\\images\\0": "has '..'",
            "/etc/passwd": "is an absolute path and is no image",
             "C:\\x.jpg": "is an absolute path",
            "~/x": "'~/x' is no image", "a\0b": "has a NUL character",
            "a\x1bb": r"'a\x1bb' is no image",
            "x" * 300: "has more than 255 bytes", "images/0.jpg ../../0.png": "has '..'",
        }.items()
    },
}  # fmt: skip
"""Files, lists and parts of the error."""


@pytest.mark.parametrize("name", UNCLEAR)
def test_unclear_arrangements_are_errors(name, tmp_path):
    files, lists, messages = UNCLEAR[name]
    write_tree(tmp_path, files, lists)
    with pytest.raises(UserError) as error:
        read_layout(tmp_path).items("train")
    assert all(message in str(error.value) for message in messages), error.value
    assert len(str(error.value)) < 800
    assert str(error.value).isprintable()


def test_choice_between_folds(tmp_path):
    write_tree(tmp_path, *UNCLEAR["folds"][:2])
    layout = read_layout(tmp_path)
    assert len(layout.items("train_fold_3")) == 5
    assert layout.origin("val_fold_3") == "val_fold_3.txt"
    drive = tmp_path / "drive"
    write_tree(drive, UNCLEAR["DRIVE's second folder"][0])
    items = read_layout(drive, mask_dir="1st_manual").items("train")
    assert all(item.mask.name.endswith("_manual1.gif") for item in items)


@pytest.mark.parametrize("mask_dir", ["deep/two", "two", "{root}/deep/two", "../other"])
def test_configured_folders(mask_dir, tmp_path):
    root = tmp_path / "mine"
    write_tree(root, ["deep/one/train/{0..5}.png", "deep/two/train/{0..5}.png", "masks/0.png"])
    write_tree(tmp_path, ["other/train/{0..5}.png"])
    layout = read_layout(root, image_dir="deep/one", mask_dir=mask_dir.format(root=root))
    folder = tmp_path / "other" if "other" in mask_dir else root / "deep" / "two"
    items = layout.items("train") + layout.items("val")
    assert {item.mask.resolve().parent.parent for item in items} == {folder}
    assert [item.id for item in sorted(items)] == list("012345")


@pytest.mark.parametrize(
    "names", [["images/{0..5}.png", "masks/{0..5}.png"], ["{0..5}.jpg", "{0..5}.png"]]
)
def test_a_configured_suffix_that_no_mask_has(names, tmp_path):
    write_tree(tmp_path, names)
    assert read_layout(tmp_path).items("train")
    with pytest.raises(UserError, match="NAME_nosuch"):
        read_layout(tmp_path, mask_suffix="_nosuch").items("train")


def test_names_that_are_not_utf8(tmp_path):
    name = b"\xff\xfe".decode(errors="surrogateescape")
    write_tree(tmp_path, [f"images/{name}{{0..9}}.jpg", f"masks/{name}{{0..8}}.png"])
    layout = read_layout(tmp_path)
    assert len(layout.items("train")) == 8
    assert len(layout.fingerprint("train")) == 16
    assert all(note.isprintable() for note in layout.notes())


def test_notes(tmp_path):
    write_tree(
        tmp_path,
        ["images/{0..9}.jpg", "masks/{0..8}_outline.png", "masks/x_outline.png"],
        {
            "holdout.txt": "3\n",
            "train.txt": ["{0..5}"],
            "README.txt": "Read me\n",
            "all.txt": "1\n",
        },
    )
    (tmp_path / "masks" / "x_outline.png").rename(tmp_path / "masks" / "9_outline.png")
    layout = read_layout(tmp_path)
    assert layout.notes() == [
        "The mask of NAME is taken to be NAME_outline, which pairs every mask",
        "Lists not used: all.txt",
        "Lists not used, unless data.train_split or val_split names them: holdout",
        "4 of 10 images in no split: images/6.jpg, images/7.jpg, images/8.jpg, and 1 more",
    ]
    assert layout.origin("train") == "train.txt without val"
    assert layout.origin("val") == "20 % of train.txt by seed 0"
    assert len(layout.items("holdout")) == 1
    notes = read_layout(tmp_path, val_split="holdout").notes()
    assert notes[1] == "Lists not used: all.txt"
    (tmp_path / "train.txt").write_text("1\n2\n3\n1\n1\n")
    write_tree(tmp_path, ["depth/{0..9}.png"])
    notes = read_layout(tmp_path, train_split="train", val_split="holdout").notes()
    assert "Folders not used: depth (10 files)" in notes
    assert "train.txt names images more than once: 2 lines" in notes
    other = tmp_path / "other"
    write_tree(other, ["images/{0..9}.jpg", "masks/{2..9}.png", "masks/x.png"])
    assert read_layout(other).notes() == [
        "2 of 10 images without a mask: images/0.jpg, images/1.jpg",
        "1 mask without an image: masks/x.png",
    ]


def test_lists_with_marks_and_long_ids(tmp_path):
    names = ["a b", "long/" + "x" * 240 + "/" + "y" * 240, "李明", "c,d", "e"]
    write_tree(tmp_path, [f"{kind}/{n}.png" for kind in ("images", "masks") for n in names])
    (tmp_path / "train.txt").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(names[:3]).encode())
    (tmp_path / "val.txt").write_bytes("\r\n".join(names[3:]).encode("utf-16"))
    layout = read_layout(tmp_path)
    assert [item.id for item in layout.items("train")] == names[:3]
    assert [item.id for item in layout.items("val")] == names[3:]
    (tmp_path / "train.txt").write_bytes(b"\xff\xfe\xff")
    settings = FolderSettings(name="folder", root=str(tmp_path))
    problem = r"^data\.train_split=train: \S*train\.txt cannot be read .*save it as UTF-8"
    with pytest.raises(UserError, match=problem):
        FolderLayout.check(settings)


def test_a_folder_without_cityscapes_names_the_command(tmp_path):
    settings = CityscapesSettings.model_construct(root=str(tmp_path))
    text = f"or unpack your archives with {command('prepare')} data=cityscapes source=FOLDER"
    with pytest.raises(UserError, match=re.escape(text)):
        CityscapesLayout(settings)


def test_links(tmp_path):
    """Folders may be links, also out of the root; a link to a folder above is not followed."""
    write_tree(tmp_path / "elsewhere", ["{0..9}.jpg"])
    write_tree(tmp_path / "set", ["masks/{0..9}.png"])
    (tmp_path / "set" / "images").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "set" / "masks" / "loop").symlink_to(tmp_path / "set")
    assert len(read_layout(tmp_path / "set").items("all")) == 10
