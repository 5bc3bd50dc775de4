#!/usr/bin/env python3
"""Small files that PyTorch wrote, for the reader of its checkpoints.

    python tests/oracles/torch_files.py tests/fixtures

Needs torch, safetensors and numpy. `open-clip-siglip.bin` is the checkpoint of that fixture as open_clip saved it before
it used safetensors; the others are a few tensors each.
"""

import fractions
import sys
import warnings
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file


class Inner(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(3, 2)

    def forward(self, x):
        return self.linear(x)


class Outer(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = Inner()
        self.scale = torch.nn.Parameter(torch.tensor(2.5))
        self.rows: int = 7

    def forward(self, x):
        return self.inner(x) * self.scale


def main():
    warnings.simplefilter("ignore")
    root = Path(sys.argv[1])
    folder = root / "torch"
    folder.mkdir(exist_ok=True)
    torch.manual_seed(7)
    base = torch.randn(6, 4)
    state = OrderedDict(
        single=torch.randn(3, 5),
        half=torch.randn(2, 3).half(),
        brain=torch.randn(4).bfloat16(),
        parameter=torch.nn.Parameter(torch.randn(2, 2)),
        rows=base[2:5],  # a view of a storage that another tensor has whole
        whole=base,
        one_column=torch.randn(4, 1),
        scalar=torch.tensor(2.659),
        empty=torch.zeros(0, 3),
        count=torch.tensor(3),
    )
    torch.save(state, folder / "state.bin")
    expected = {name: tensor.detach().float().contiguous().clone() for name, tensor in state.items()}
    save_file(expected, folder / "expected.safetensors")
    linear = torch.nn.Linear(3, 2)
    optimizer = torch.optim.AdamW(linear.parameters())
    linear(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    training = {"epoch": 3, "name": "run", "state_dict": {f"module.{k}": v for k, v in linear.state_dict().items()},
                "optimizer": optimizer.state_dict(), "loss": 0.25, "done": False, "note": None}
    torch.save(training, folder / "training.pt")
    torch.save(linear.state_dict(), folder / "protocol4.bin", pickle_protocol=4)
    torch.jit.script(Outer()).save(str(folder / "scripted.pt"))
    torch.save(state, folder / "legacy.bin", _use_new_zipfile_serialization=False)
    torch.save({"right": base, "across": base.t()}, folder / "across.bin")
    torch.save({"a": base, "b": fractions.Fraction(1, 3)}, folder / "object.bin")
    torch.save(linear, folder / "model.pt")
    torch.save(load_file(root / "open-clip-siglip/open_clip_model.safetensors"), folder / "open-clip-siglip.bin")
    for path in folder.iterdir():
        path.chmod(0o644)
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
