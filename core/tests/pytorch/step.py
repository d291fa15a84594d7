"""One training step by PyTorch 2.15, in double precision: `python step.py` writes `step.safetensors` beside it.

The network is that of `main.rs`, with the same names. The file holds the images and labels, the parameters
before the step (running statistics are 0 and 1), the loss, `grad.<parameter>` and the running statistics
after it.
"""

import json
import pathlib

import torch
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem, self.stem_bn = nn.Conv2d(3, 8, 3, padding=1, bias=False), nn.BatchNorm2d(8)
        self.conv1, self.bn1 = nn.Conv2d(8, 12, 3, 2, 1, bias=False), nn.BatchNorm2d(12)
        self.conv2, self.bn2 = nn.Conv2d(12, 12, 3, 1, 1, bias=False), nn.BatchNorm2d(12)
        self.shortcut, self.shortcut_bn = nn.Conv2d(8, 12, 1, 2, bias=False), nn.BatchNorm2d(12)
        self.fc = nn.Linear(12 * 4 * 4, 5)

    def forward(self, x):
        x = functional.max_pool2d(functional.relu(self.stem_bn(self.stem(x))), 2)
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        x = functional.relu(y + self.shortcut_bn(self.shortcut(x)))
        return self.fc(torch.flatten(x, 1))


torch.manual_seed(1)
net, images, labels = Net(), torch.randn(4, 3, 16, 16), torch.tensor([0, 3, 4, 3])
for name, param in net.named_parameters():
    if "bn" in name:
        nn.init.normal_(param, mean=1.0 if name.endswith("weight") else 0.0, std=0.2)
found = {"images": images, "labels": labels}
found |= {name: param.detach().clone() for name, param in net.named_parameters()}
net, images = net.double(), images.double()
loss = functional.cross_entropy(net(images), labels, label_smoothing=0.1)
loss.backward()
found["loss"] = loss.detach()
found |= {f"grad.{name}": param.grad for name, param in net.named_parameters()}
found |= {name: value for name, value in net.named_buffers() if "running" in name}

header, data = {}, b""
for name, tensor in found.items():
    values = tensor.float().contiguous()
    begin, shape = len(data), list(values.shape)
    data += bytes(values.untyped_storage())
    header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [begin, len(data)]}
header = json.dumps(header).encode()
header += b" " * (-len(header) % 8)
file = pathlib.Path(__file__).with_suffix(".safetensors")
file.write_bytes(len(header).to_bytes(8, "little") + header + data)
