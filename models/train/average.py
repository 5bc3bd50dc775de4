#!/usr/bin/env python3
"""The mean of what two runs of train.py wrote (model soups, arXiv 2203.05482).

    python models/train/average.py FIRST SECOND --share 0.3 -o WORK/trained.pt

FIRST counts `--share`, SECOND the rest.
"""

import argparse
from pathlib import Path

import torch


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--share", type=float, default=0.5)
    parser.add_argument("-o", "--output", type=Path, required=True)
    args = parser.parse_args()
    first, second = torch.load(args.first), torch.load(args.second)
    for key, value in second["weights"].items():
        value.lerp_(first["weights"][key], args.share)
    torch.save(second, args.output)


if __name__ == "__main__":
    main()
