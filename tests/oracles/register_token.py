#!/usr/bin/env python3
"""Does an untrained register token help int8? Simulated on an image tower of transformers' CLIP.

    python tests/oracles/clip_b16_outliers.py OUT
    python tests/oracles/register_token.py OUT PHOTOS

After "Vision Transformers Don't Need Trained Registers" (arXiv 2506.08010): a token of zeros is appended, and what the
register neurons of an MLP do in any token is moved to it: the largest activation goes to the register, zero to all
others. Register neurons are the hidden units that write massive activations in a few tokens only.

Every linear layer of the blocks has int8 weights with a scale per output, and int8 activations with a scale per token
(as ocelli has it) or one for all tokens of a picture. Smoothing (alpha 0.5) goes into LayerNorm. Pictures are split as
ocelli-pack does: every other one is for fitting. Prints the mean cosine to the f32 tower without register, and, in
brackets, to the f32 tower that has one where the int8 tower has. Needs torch, transformers and pillow.
"""

import sys
from pathlib import Path

import torch
from PIL import Image
from transformers import CLIPImageProcessor, CLIPVisionModelWithProjection

MASSIVE = 100.0


class Linear(torch.nn.Module):
    """A linear layer with int8 products, or exact ones if `scales` is None."""

    def __init__(self, linear):
        super().__init__()
        self.weight, self.bias = linear.weight.detach(), linear.bias.detach()
        self.scales, self.factors, self.smoothed, self.peak = None, None, False, torch.zeros(linear.in_features)

    def forward(self, x):
        if self.scales is None:
            self.peak = torch.maximum(self.peak, x.abs().amax((0, 1)))
            return torch.nn.functional.linear(x, self.weight, self.bias)
        weight = self.weight
        if self.smoothed:
            x, weight = x / self.factors, weight * self.factors
        dims = (-1,) if self.scales == "per token" else (-2, -1)
        x = rounded(x, x.abs().amax(dims, keepdim=True))
        return torch.nn.functional.linear(x, rounded(weight, weight.abs().amax(1, keepdim=True)), self.bias)


def rounded(values, peak):
    scale = peak.clamp(min=1e-12) / 127
    return (values / scale).round().clamp(-127, 127) * scale


def smooth(linears):
    """Factors for the layers that read one norm."""
    column = torch.stack([linear.weight.abs().amax(0) for linear in linears]).amax(0)
    for linear in linears:
        linear.factors = (linear.peak / column).sqrt().clamp(min=1e-4)


class Tower:
    def __init__(self, folder, photos):
        self.model = CLIPVisionModelWithProjection.from_pretrained(folder).eval()
        processor = CLIPImageProcessor.from_pretrained(folder)
        pictures = [Image.open(path).convert("RGB") for path in photos]
        self.pixels = processor(pictures, return_tensors="pt")["pixel_values"]
        self.vision = self.model.vision_model
        self.linears, self.register = [], False
        self.neurons = [[] for _ in self.vision.encoder.layers]
        for block in self.vision.encoder.layers:
            for module, names in [(block.self_attn, "q_proj k_proj v_proj out_proj"), (block.mlp, "fc1 fc2")]:
                for name in names.split():
                    setattr(module, name, Linear(getattr(module, name)))
                    self.linears.append(getattr(module, name))

    def embed(self, pixels, saw=None):
        x = self.vision.embeddings(pixels)
        if self.register:
            x = torch.cat([x, torch.zeros_like(x[:, :1])], 1)
        x = self.vision.pre_layrnorm(x)
        for i, block in enumerate(self.vision.encoder.layers):
            x = x + block.self_attn(block.layer_norm1(x))[0]
            hidden = block.mlp.activation_fn(block.mlp.fc1(block.layer_norm2(x)))
            if self.register:
                for unit in self.neurons[i]:
                    most = hidden[..., unit].amax(1)
                    hidden[..., unit] = 0
                    hidden[:, -1, unit] = most
            if saw:
                saw(i, block, hidden)
            x = x + block.mlp.fc2(hidden)
        return self.model.visual_projection(self.vision.post_layernorm(x[:, 0]))

    def find_register_neurons(self, pixels):
        """Units that write more than MASSIVE into a channel of some tokens, but of fewer than a tenth."""

        def saw(i, block, hidden):
            writes = hidden.abs() * block.mlp.fc2.weight.abs().amax(0) > MASSIVE
            share = writes.float().mean((0, 1))
            self.neurons[i] = ((share > 0) & (share < 0.1)).nonzero().flatten().tolist()

        self.embed(pixels, saw)

    def fit_smoothing(self, pixels):
        self.embed(pixels)
        for block in self.vision.encoder.layers:
            smooth([block.self_attn.q_proj, block.self_attn.k_proj, block.self_attn.v_proj])
            smooth([block.mlp.fc1])


@torch.no_grad()
def main():
    photos = sorted(path for path in Path(sys.argv[2]).rglob("*") if path.suffix in (".jpg", ".png"))
    tower = Tower(sys.argv[1], photos)
    fitted, judged = tower.pixels[0::2], tower.pixels[1::2]
    tower.find_register_neurons(fitted)
    tower.fit_smoothing(fitted)
    print("register neurons:", {i: units for i, units in enumerate(tower.neurons) if units})
    exact = {}
    for register in [False, True]:
        tower.register = register
        exact[register] = tower.embed(judged)
    cosine = lambda a, b: torch.nn.functional.cosine_similarity(a, b).mean().item()
    print(f"f32 with register: {cosine(exact[True], exact[False]):.5f}")
    for smoothed in [False, True]:
        for linear in tower.linears:
            linear.smoothed = smoothed and linear.factors is not None
        for scales in ["per token", "per picture"]:
            for register in [False, True]:
                tower.register = register
                for linear in tower.linears:
                    linear.scales = scales
                found = tower.embed(judged)
                name = ("smooth, " if smoothed else "") + scales + (", register" if register else "")
                print(f"{name:<32}{cosine(found, exact[False]):.5f} ({cosine(found, exact[register]):.5f})", flush=True)


if __name__ == "__main__":
    main()
