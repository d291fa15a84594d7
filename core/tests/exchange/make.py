"""Makes the files beside it: `python make.py`, with PyTorch 2.15.

plain.pth    what torch.save makes of a state dict
wrapped.pth  a checkpoint as training scripts write them: other entries, another protocol, several types,
             parameters, prefixed names, tensors that share storages or are not dense in them
old.pth      the format before PyTorch 1.6
images.npy, logits.npy  what the network makes of some images
"""

from collections import OrderedDict
from pathlib import Path

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

HERE = Path(__file__).parent


def block(*arguments, **settings):
    conv = nn.Conv2d(*arguments, bias=False, **settings)
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), nn.ReLU())


class ConcatSmall(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = block(3, 2, 3, padding=1)
        self.left = block(2, 3, 3, padding=1)
        self.right = block(2, 1, 1)
        self.depthwise = block(4, 4, 3, padding=1, groups=4)
        self.expand = block(4, 4, 1)
        self.down = block(4, 2, 3, padding=1, stride=2)
        self.fc = nn.Linear(2, 2)

    def forward(self, x):
        x = self.stem(x)
        x = torch.cat([self.left(x), self.right(x)], 1)
        x = self.down(self.expand(self.depthwise(x)))
        return self.fc(x.mean((2, 3)))


torch.manual_seed(1)
net = ConcatSmall().eval()
with torch.no_grad():
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.weight.uniform_(0.5, 1.5)
            module.bias.uniform_(-0.5, 0.5)
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
    # Values that the shortest of the types holds exactly.
    for value in net.state_dict().values():
        if value.is_floating_point():
            value.copy_(value.bfloat16().half().float())
    images = torch.randn(4, 3, 6, 6)
    np.save(HERE / "images.npy", images.numpy())
    np.save(HERE / "logits.npy", net(images).numpy())

plain = net.state_dict()
torch.save(plain, HERE / "plain.pth")
torch.save(plain, HERE / "old.pth", _use_new_zipfile_serialization=False)

types = [torch.float64, torch.float32, torch.float16, torch.bfloat16]
wrapped = OrderedDict()
for i, (name, value) in enumerate(plain.items()):
    if value.is_floating_point():
        value = value.to(types[i % 4])
    if value.dim() == 4:
        value = value.contiguous(memory_format=torch.channels_last)
    if name.endswith("running_mean"):  # A part of a larger storage.
        value = torch.stack([value, value + 1, value], 1)[:, 2]
    if name == "fc.weight":  # Transposed.
        value = nn.Parameter(value.t().contiguous().t())
    wrapped["module." + name] = value
optimizer = torch.optim.SGD(net.parameters(), lr=0.1, momentum=0.9)
checkpoint = {"epoch": 3, "best": 0.5, "note": "n\u00e4", "state_dict": wrapped, "optimizer": optimizer.state_dict()}
torch.save(checkpoint, HERE / "wrapped.pth", pickle_protocol=4)
