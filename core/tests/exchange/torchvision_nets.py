"""Saves torchvision's networks at some widths with random values: `python torchvision_nets.py FOLDER`.

For each NAME: NAME.pth, NAME.images.npy, NAME.logits.npy. Exits with 77 if there is no torchvision here.
"""

import sys
from pathlib import Path

try:
    import numpy as np
    import torch
    from torch import nn
    from torchvision import models
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

# Each at a fraction of its channels; those of ResNets are multiples of 8 at their narrowest.
NETWORKS = ["resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "wide_resnet50_2"]
FRACTION = 8


def narrow(network):
    """Replaces every layer by one with a fraction of the channels, the image's and the logits' excepted."""

    def fewer(channels):
        return channels if channels == 3 else channels // FRACTION

    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Conv2d):
            new = nn.Conv2d(
                fewer(module.in_channels),
                fewer(module.out_channels),
                module.kernel_size,
                module.stride,
                module.padding,
                bias=False,
            )
        elif isinstance(module, nn.BatchNorm2d):
            new = nn.BatchNorm2d(fewer(module.num_features))
        elif isinstance(module, nn.Linear):
            new = nn.Linear(fewer(module.in_features), module.out_features)
        else:
            continue
        network.set_submodule(name, new)


folder = Path(sys.argv[1])
torch.manual_seed(1)
for name in NETWORKS:
    network = getattr(models, name)(weights=None, num_classes=7)
    narrow(network)
    images = torch.randn(8, 3, 64, 64)
    with torch.no_grad():
        last = "bn3" if hasattr(network.layer1[0], "bn3") else "bn2"
        for path, module in network.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                # Blocks add little to their inputs, or else 50 of them multiply every rounding error.
                module.weight.uniform_(*(0.1, 0.3) if path.endswith(last) else (0.5, 1.5))
                module.bias.uniform_(-0.5, 0.5)
                module.momentum = None  # Its statistics become those of the images.
        network.train()(images)
        network.eval()
        torch.save(network.state_dict(), folder / f"{name}.pth")
        np.save(folder / f"{name}.images.npy", images[:2].numpy())
        np.save(folder / f"{name}.logits.npy", network(images[:2]).numpy())
