"""Trains a BitNet b1.58 of the shape given as JSON on random tokens with PyTorch. For every number read from standard input it makes as
many optimiser steps and writes the seconds that they took. Straight-through estimation by x + (Q(x) - x).detach()."""
import json
import math
import sys
import time

import torch
import torch.nn.functional as F

shape = json.loads(sys.argv[1])
torch.set_num_threads(shape["threads"])
torch.manual_seed(1)
hidden, ffn, heads, length = (shape[name] for name in ("hiddenSize", "ffnSize", "nHeads", "length"))
head_dim = hidden // heads
batch = shape["batchTokens"] // length


def parameter(*size):
    return torch.nn.Parameter(torch.randn(*size) * 0.02)


def norm(x, weight):
    return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-5) * weight


def linear(x, weight):
    scale = 127 / x.abs().amax(-1, keepdim=True).clamp(min=1e-5)
    x = x + ((x * scale).round().clamp(-128, 127) / scale - x).detach()
    mean = weight.abs().mean().clamp(min=1e-5)
    weight = weight + ((weight / mean).round().clamp(-1, 1) * mean - weight).detach()
    return F.linear(x, weight)


table = parameter(shape["vocabSize"], hidden)
layers = [
    {
        **{name: parameter(hidden, hidden) for name in "qkvo"},
        **{"gate": parameter(ffn, hidden), "up": parameter(ffn, hidden), "down": parameter(hidden, ffn)},
        **{name: torch.nn.Parameter(torch.ones(hidden)) for name in ("n1", "n2", "sub")},
        "fsub": torch.nn.Parameter(torch.ones(ffn)),
    }
    for _ in range(shape["nLayers"])
]
last = torch.nn.Parameter(torch.ones(hidden))
matrices = [table] + [w for layer in layers for w in layer.values() if w.dim() == 2]
norms = [last] + [w for layer in layers for w in layer.values() if w.dim() == 1]
optimizer = torch.optim.AdamW(
    [{"params": matrices, "weight_decay": 0.1}, {"params": norms, "weight_decay": 0.0}], lr=1e-3, betas=(0.9, 0.95)
)

angles = torch.arange(length)[:, None] * 10000.0 ** (-torch.arange(0, head_dim, 2) / head_dim)
cos, sin = angles.cos(), angles.sin()
mask = torch.full((length, length), -math.inf).triu(1)


def rotate(x):
    a, b = x.chunk(2, -1)
    return torch.cat((a * cos - b * sin, b * cos + a * sin), -1)


def split(x):
    return x.view(batch, length, heads, head_dim).transpose(1, 2)


def loss_of(ids, labels):
    x = table[ids]
    for w in layers:
        h = norm(x, w["n1"])
        q, k, v = rotate(split(linear(h, w["q"]))), rotate(split(linear(h, w["k"]))), split(linear(h, w["v"]))
        p = (q @ k.transpose(-1, -2) / math.sqrt(head_dim) + mask).softmax(-1)
        mixed = (p @ v).transpose(1, 2).reshape(batch, length, hidden)
        x = x + linear(norm(mixed, w["sub"]), w["o"])
        h = norm(x, w["n2"])
        x = x + linear(norm(F.relu(linear(h, w["gate"])) ** 2 * linear(h, w["up"]), w["fsub"]), w["down"])
    logits = F.linear(norm(x, last), table)
    return F.cross_entropy(logits.view(-1, logits.shape[-1]), labels.view(-1))


ids = (torch.arange(batch * length + 1) * 7919) % shape["vocabSize"]
for line in sys.stdin:
    begun = time.perf_counter()
    for _ in range(int(line)):
        optimizer.zero_grad()
        loss_of(ids[:-1].view(batch, length), ids[1:].view(batch, length)).backward()
        torch.nn.utils.clip_grad_norm_(matrices + norms, 1.0)
        optimizer.step()
    print(time.perf_counter() - begun, flush=True)
