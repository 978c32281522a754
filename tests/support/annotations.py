"""Annotated images in the forms of labeling tools, as their documentation describes them."""

import base64
import json
import zlib
from io import BytesIO
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import numpy as np
import yaml
from PIL import Image

SIZE = (48, 64)
"""Height and width of the images."""


class Object(NamedTuple):
    """Annotated object: a polygon with holes, or a mask of the whole image."""

    name: str
    points: tuple[tuple[float, float], ...] = ()
    holes: tuple[tuple[tuple[float, float], ...], ...] = ()
    mask: np.ndarray | None = None


NAMES = ("cat", "dog")


def draw(objects, order=("background", *NAMES), size=SIZE):
    """Return the label map by the even-odd rule at the centers of the pixels, a pixel at a time."""
    label = np.zeros(size, np.uint8)
    for thing in objects:
        inside = np.zeros(size, bool) if thing.mask is None else thing.mask
        rings = (thing.points, *thing.holes) if thing.mask is None else ()
        for y, x in np.ndindex(*size):
            crossings = sum(_crossings(ring, x + 0.5, y + 0.5) for ring in rings)
            inside[y, x] |= crossings % 2 == 1
        label[inside] = order.index(thing.name)
    return label


def _crossings(ring, x, y):
    """Return how many lines of a ring a ray to the left crosses."""
    count = 0
    for (x0, y0), (x1, y1) in zip(ring, (*ring[1:], ring[0]), strict=True):
        if (y0 <= y) != (y1 <= y):
            count += x0 + (y - y0) / (y1 - y0) * (x1 - x0) <= x
    return count


def write_image(path: Path, seed: int = 0, size=SIZE):
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (*size, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def random_objects(seed, *, number=3):
    """Return objects of both classes whose lines meet no center of a pixel."""
    generator = np.random.default_rng(seed)
    objects = []
    for i in range(number):
        corners = generator.uniform(0, (SIZE[1], SIZE[0]), (generator.integers(3, 7), 2))
        points = tuple((round(x, 2), round(y, 2)) for x, y in corners.tolist())
        objects.append(Object(NAMES[i % 2], points))
    return objects


def write_json(path: Path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def write_labelme(root: Path, images, *, folder="", image_folder=""):
    """Write a file for each image, beside it or in a folder of its own."""
    for stem, objects in images.items():
        write_image(root / image_folder / f"{stem}.jpg")
        shapes = [
            {
                "label": thing.name, "points": [list(p) for p in thing.points], "group_id": None,
                "description": "", "shape_type": "polygon", "flags": {}, "mask": None,
            }
            for thing in objects
        ]  # fmt: skip
        content = {
            "version": "5.5.0", "flags": {}, "shapes": shapes,
            "imagePath": f"../{image_folder}/{stem}.jpg" if folder else f"{stem}.jpg",
            "imageData": None, "imageHeight": SIZE[0], "imageWidth": SIZE[1],
        }  # fmt: skip
        write_json(root / folder / f"{stem}.json", content)


def coco_content(images, *, names=NAMES, first_category=1):
    """Return the content of a file; objects with a mask become run lengths."""
    annotations = []
    for image_id, objects in enumerate(images.values()):
        for thing in objects:
            segmentation = [[n for point in thing.points for n in point]]
            if thing.mask is not None:
                segmentation = {"size": list(SIZE), "counts": runs(thing.mask.T.ravel())}
            annotations.append({
                "id": len(annotations), "image_id": image_id, "iscrowd": 0,
                "category_id": first_category + names.index(thing.name),
                "segmentation": segmentation, "area": 0, "bbox": [0, 0, 1, 1],
            })  # fmt: skip
    return {
        "info": {}, "licenses": [],
        "images": [
            {"id": i, "file_name": name, "height": SIZE[0], "width": SIZE[1]}
            for i, name in enumerate(images)
        ],
        "annotations": annotations,
        "categories": [
            {"id": first_category + i, "name": name, "supercategory": ""}
            for i, name in enumerate(names)
        ],
    }  # fmt: skip


def runs(flat):
    """Return the lengths of runs of equal values, the first of zeros."""
    edges = np.flatnonzero(np.diff(flat.astype(np.int8), prepend=0, append=2))
    lengths = np.diff(edges, prepend=0).tolist()
    return lengths if len(lengths) else [flat.size]


def write_yolo(root: Path, images, *, split_first=True):
    """Write ``train/images`` and ``train/labels`` (Roboflow), or ``images/train`` (Ultralytics)."""
    for name, objects in images.items():
        split, stem = name.split("/")
        parts = (split, "{}") if split_first else ("{}", split)
        write_image(root / "/".join(parts).format("images") / f"{stem}.jpg")
        label = root / "/".join(parts).format("labels") / f"{stem}.txt"
        label.parent.mkdir(parents=True, exist_ok=True)
        lines = [
            " ".join([
                str(NAMES.index(thing.name)),
                *(f"{value / side:.10f}" for p in thing.points
                  for value, side in zip(p, SIZE[::-1], strict=True)),
            ])
            for thing in objects
        ]  # fmt: skip
        label.write_text("\n".join(lines))
    names = list(NAMES) if split_first else dict(enumerate(NAMES))
    (root / "data.yaml").write_text(yaml.safe_dump({"nc": 2, "names": names, "train": "train"}))


def write_cvat(root: Path, images, *, with_mask=()):
    """Write ``annotations.xml``; objects with a mask become masks in their box."""
    document = ElementTree.Element("annotations")
    ElementTree.SubElement(document, "version").text = "1.1"
    meta = ElementTree.SubElement(document, "meta")
    labels = ElementTree.SubElement(ElementTree.SubElement(meta, "task"), "labels")
    for name in NAMES:
        ElementTree.SubElement(ElementTree.SubElement(labels, "label"), "name").text = name
    for i, (stem, objects) in enumerate(images.items()):
        write_image(root / f"images/{stem}.jpg")
        size = {"width": str(SIZE[1]), "height": str(SIZE[0])}
        image = ElementTree.SubElement(document, "image", id=str(i), name=f"{stem}.jpg", **size)
        for order, thing in reversed([*enumerate(objects)]):  # z_order tells what covers what
            common = {"label": thing.name, "occluded": "0", "z_order": str(order)}
            if thing.mask is None:
                points = ";".join(f"{x:.2f},{y:.2f}" for x, y in thing.points)
                ElementTree.SubElement(image, "polygon", points=points, **common)
                continue
            (top, left), (bottom, right) = _bounds(thing.mask)
            part = thing.mask[top:bottom, left:right]
            place = {"left": left, "top": top, "width": right - left, "height": bottom - top}
            rle = ", ".join(map(str, runs(part.ravel())))
            place = {key: str(value) for key, value in place.items()}
            ElementTree.SubElement(image, "mask", rle=rle, **place, **common)
    (root / "annotations.xml").write_bytes(ElementTree.tostring(document))


def _bounds(mask):
    rows, columns = np.nonzero(mask)
    return (rows.min(), columns.min()), (rows.max() + 1, columns.max() + 1)


def png_text(mask, *, compressed):
    """Return a mask as a PNG file in base64: gray, or compressed once more with an alpha."""
    pixels = mask.astype(np.uint8) * 255
    if compressed:
        pixels = np.stack([pixels] * 4, axis=-1)
    stream = BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    data = stream.getvalue()
    return base64.b64encode(zlib.compress(data) if compressed else data).decode()


def write_supervisely(root: Path, images):
    """Write ``meta.json`` and the folders of each data set."""
    classes = [{"title": name, "shape": "polygon", "color": "#00FF00"} for name in NAMES]
    write_json(root / "meta.json", {"classes": classes, "tags": [], "projectType": "images"})
    for name, objects in images.items():
        dataset, stem = name.split("/")
        write_image(root / dataset / "img" / f"{stem}.png")
        entries = []
        for thing in objects:
            entry = {"classTitle": thing.name, "geometryType": "polygon", "tags": []}
            if thing.mask is None:
                holes = [[list(p) for p in hole] for hole in thing.holes]
                exterior = [list(p) for p in thing.points]
                entry["points"] = {"exterior": exterior, "interior": holes}
            else:
                (top, left), (bottom, right) = _bounds(thing.mask)
                data = png_text(thing.mask[top:bottom, left:right], compressed=True)
                entry["geometryType"] = "bitmap"
                entry["bitmap"] = {"data": data, "origin": [int(left), int(top)]}
            entries.append(entry)
        content = {"description": "", "size": {"height": SIZE[0], "width": SIZE[1]}}
        write_json(root / dataset / "ann" / f"{stem}.png.json", {**content, "objects": entries})


def write_label_studio(root: Path, images):
    """Write a JSON list of tasks whose images were uploaded."""
    tasks = []
    for i, (stem, objects) in enumerate(images.items()):
        write_image(root / f"images/{stem}.jpg", seed=i)
        results = []
        for thing in objects:
            result = {"original_width": SIZE[1], "original_height": SIZE[0], "image_rotation": 0}
            if thing.mask is None:
                points = [[100 * x / SIZE[1], 100 * y / SIZE[0]] for x, y in thing.points]
                value = {"points": points, "closed": True, "polygonlabels": [thing.name]}
                result |= {"type": "polygonlabels", "value": value}
            else:
                value = {"format": "rle", "rle": brush(thing.mask), "brushlabels": [thing.name]}
                result |= {"type": "brushlabels", "value": value}
            results.append(result)
        image = f"/data/upload/7/{i:08x}-{stem}.jpg"
        annotations = [{"id": i, "was_cancelled": False, "result": results}]
        tasks.append({"id": i, "data": {"image": image}, "annotations": annotations})
    write_json(root / "project-7-at-2026-01-02-03-04-abcdef12.json", tasks)


def brush(mask):
    """Return a brush of Label Studio: alternately runs of one value and of different ones."""
    values = np.repeat((mask.astype(np.uint8) * 255).ravel(), 4)
    bits = f"{values.size:032b}" + f"{8 - 1:05b}" + "".join(f"{n - 1:04b}" for n in (3, 4, 8, 16))
    start = 0
    while start < values.size:
        different = np.flatnonzero(values[start:] != values[start])
        length = min(int(different[0]) if len(different) else values.size - start, 1 << 16)
        if length < 8:  # written one by one
            length = min(8, values.size - start)
            body = "".join(f"{v:08b}" for v in values[start : start + length])
            bits += "0" + "00" + f"{length - 1:03b}" + body
        else:
            index, width = next((i, w) for i, w in enumerate((3, 4, 8, 16)) if length <= 1 << w)
            bits += "1" + f"{index:02b}" + f"{length - 1:0{width}b}" + f"{values[start]:08b}"
        start += length
    bits += "0" * (-len(bits) % 8)
    return [int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)]
