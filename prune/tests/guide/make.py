"""Makes network.pth: `python make.py WEIGHTS.safetensors`, with PyTorch 2.15.

WEIGHTS are of a network that was trained for six epochs on the built-in data set:

    pleach train --model vgg-small:8,8,12,12,16,16 -e 6 --seed 1 -o run
    pleach export run/best.safetensors --format pytorch -o WEIGHTS
"""

import sys
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn


def small_vgg(widths=(8, 8, 12, 12, 16, 16), pools=(1, 3, 5, 6), classes=10):
    layers, channels = [], 3
    for i, width in enumerate(widths, 1):
        conv = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        layers += [conv, nn.BatchNorm2d(width), nn.ReLU()]
        if i in pools:
            layers.append(nn.MaxPool2d(2))
        channels = width
    return nn.ModuleDict({"features": nn.Sequential(*layers), "classifier": nn.Linear(4 * channels, classes)})


network = small_vgg()
network.load_state_dict(load_file(sys.argv[1]), strict=False)
missing = set(network.state_dict()) - set(load_file(sys.argv[1]))
assert all(name.endswith("num_batches_tracked") for name in missing), missing
torch.save(network.state_dict(), Path(__file__).with_name("network.pth"))
