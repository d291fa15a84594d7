#!/usr/bin/env python3
"""VGG-16 and ResNet-18 for CIFAR-10, trained by PyTorch as pleach trains them.

    python3 train.py --data cifar-10-batches-bin --jobs bases.json --out OUT

made the base networks that studies were given (`bases.json`), and

    python3 train.py --data cifar-10-batches-bin --jobs search.json --out OUT

tried settings (`search.json`). Each job is a dictionary of settings that differ from DEFAULT, in `search.json` with what was
found beside them; one with a `name` is kept as OUT/NAME.safetensors: PyTorch's names, f16, as pleach reads them. OUT/found.jsonl
gets a line a job.

The same as in pleach: training and validation images, augmentation, initial distributions, optimiser, schedule and
lookahead. Not the same: random numbers, and the arithmetic, TF32 on a GPU, or bfloat16 where a job says so. Test images
are not read.
"""

import argparse
import json
import math
import os
import time

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

# As pleach's, whose `pleach train` explains them.
DEFAULT = {
    "model": "vgg16",
    "epochs": 15,
    "batch": 128,
    "lr": 0.05,
    "momentum": 0.9,
    "weight_decay": 5e-4,
    "label_smoothing": 0.1,
    "cutout": 0,
    "reflect": False,
    "padding": 4,
    "identity": True,
    "lookahead": 0.95,
    "lookahead_every": 5,
    "warmup": 0.25,
    "start_div": 10.0,
    "end_div": 1000.0,
    "bn_momentum": 0.1,
    "views": 0,
    "bf16": False,
    "seed": 1,
}
MEAN, STD = [0.4914, 0.4822, 0.4465], [0.2470, 0.2435, 0.2616]
PARTITION_KEY, MULTIPLIER = 0x706C656163680001, 0x9E3779B97F4A7C15


def product(a):
    """The high and the low half of `a * MULTIPLIER`, for an array of uint64."""
    half, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    b_low, b_high = np.uint64(MULTIPLIER) & mask, np.uint64(MULTIPLIER) >> half
    a_low, a_high = a & mask, a >> half
    low, cross, other = a_low * b_low, a_low * b_high, a_high * b_low
    middle = (low >> half) + (cross & mask) + (other & mask)
    high = a_high * b_high + (cross >> half) + (other >> half) + (middle >> half)
    return high, (low & mask) | (middle << half)


def partition(pixels, labels):
    """Indices of the training and of the validation images, by pleach's hash of their pixels."""
    words = pixels.reshape(len(pixels), -1).view("<u8")
    state = np.full(len(pixels), PARTITION_KEY, np.uint64)
    for word in words.T:
        high, low = product(state ^ word)
        state = low ^ high ^ ((state << np.uint64(29)) | (state >> np.uint64(35)))
    validation = []
    for label in range(10):
        index = np.flatnonzero(labels == label)
        validation.append(index[np.argsort(state[index])[: len(index) // 10]])
    validation = np.sort(np.concatenate(validation))
    return np.setdiff1d(np.arange(len(pixels)), validation), validation


def load(folder, limit, device):
    """Images `[N, 32, 32, 3]` of bytes and labels of both splits."""
    files = [os.path.join(folder, f"data_batch_{i}.bin") for i in range(1, 6)]
    records = np.concatenate([np.fromfile(file, np.uint8).reshape(-1, 3073) for file in files])
    labels, pixels = records[:, 0].astype(np.int64), np.ascontiguousarray(records[:, 1:])
    train, validation = partition(pixels, labels)
    images = pixels.reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)

    def split(at):
        arrays = np.ascontiguousarray(images[at]), labels[at]
        return [torch.from_numpy(array).to(device) for array in arrays]

    return split(train[:limit]), split(validation)


class Vgg16(nn.Module):
    def __init__(self):
        super().__init__()
        layers, channels = [], 3
        for i, width in enumerate([64, 64, 128, 128, 256, 256, 256] + [512] * 6):
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(width), nn.ReLU(True)]
            layers += [nn.MaxPool2d(2)] if i in (1, 3, 6, 9, 12) else []
            channels = width
        self.features, self.classifier = nn.Sequential(*layers), nn.Linear(channels, 10)

    def forward(self, x):
        return self.classifier(self.features(x).flatten(1))


class Block(nn.Module):
    def __init__(self, ic, oc, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(ic, oc, 3, stride, 1, bias=False), nn.BatchNorm2d(oc)
        self.conv2, self.bn2 = nn.Conv2d(oc, oc, 3, 1, 1, bias=False), nn.BatchNorm2d(oc)
        self.shortcut = nn.Sequential()
        if stride != 1 or ic != oc:
            projection = nn.Conv2d(ic, oc, 1, stride, bias=False)
            self.shortcut = nn.Sequential(projection, nn.BatchNorm2d(oc))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + self.shortcut(x))


class Resnet18(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64)
        channels = 64
        for i, width in enumerate([64, 128, 256, 512], 1):
            blocks = Block(channels, width, 1 if i == 1 else 2), Block(width, width, 1)
            setattr(self, f"layer{i}", nn.Sequential(*blocks))
            channels = width
        self.linear = nn.Linear(512, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer4(self.layer3(self.layer2(self.layer1(x))))
        return self.linear(x.mean((2, 3)))


MODELS = {"vgg16": Vgg16, "resnet18": Resnet18}


def initialise(net, identity):
    for layer in net.modules():
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, mode="fan_out")
            oc, ic, size, _ = layer.weight.shape
            if identity and ic != 3 and size == 3:
                passed = torch.arange(min(ic, oc))
                with torch.no_grad():
                    layer.weight[passed] = 0
                    layer.weight[passed, passed, 1, 1] = 1
        elif isinstance(layer, nn.Linear):
            bound = 1 / math.sqrt(layer.weight.shape[1])
            nn.init.uniform_(layer.weight, -bound, bound)
            nn.init.uniform_(layer.bias, -bound, bound)


class Arena:
    """All parameters, gradients and velocities of a network, an array each, of which its tensors are views."""

    def __init__(self, net, device):
        params = list(net.parameters())
        length = sum(param.numel() for param in params)
        self.value, self.grad, self.velocity, self.decays = (
            torch.zeros(length, device=device) for _ in range(4)
        )
        at = 0
        for param in params:
            place = slice(at, at + param.numel())
            value, grad = (self.view(array[place], param) for array in (self.value, self.grad))
            param.data, param.grad = value.copy_(param.data), grad
            self.decays[place] = float(param.dim() > 1)
            at = place.stop

    @staticmethod
    def view(array, param):
        if param.dim() != 4:
            return array.view(param.shape)
        oc, ic, kh, kw = param.shape
        return array.view(oc, kh, kw, ic).permute(0, 3, 1, 2)


def normalised(images):
    mean, std = (torch.tensor(values, device=images.device) for values in (MEAN, STD))
    return (images.float() / 255 - mean) / std


def views(images, epoch, mirrored_first, job, generator):
    """All images `[N, 32, 32, 3]` as an epoch shows them."""
    n, device, padding = len(mirrored_first), images.device, job["padding"]
    shift = torch.randint(0, 2 * padding + 1, (2, n, 1), generator=generator, device=device) - padding
    at = torch.arange(32, device=device)[None]
    mirrored = (mirrored_first ^ (epoch % 2 == 1))[:, None]
    rows, columns = at + shift[0], torch.where(mirrored, 31 - at, at) + shift[1]
    if job["reflect"]:
        rows, columns = (torch.where(x.abs() > 31, 62 - x.abs(), x.abs()) for x in (rows, columns))
    else:  # they have a black border
        rows, columns = rows + padding, columns + padding
    image = torch.arange(n, device=device)[:, None, None]
    shown = normalised(images[image, rows[:, :, None], columns[:, None, :]])
    if job["cutout"]:
        size = job["cutout"]
        drawn = torch.randint(0, 32, (2, n, 1), generator=generator, device=device) - size // 2
        down, across = ((at >= start) & (at < start + size) for start in drawn)
        shown.masked_fill_((down[:, :, None] & across[:, None, :])[..., None], 0)
    return shown


def rate(job, progress):
    def cosine(a, b, t):
        return b + (a - b) * (1 + math.cos(math.pi * t)) / 2

    warmup = job["warmup"]
    if progress < warmup:
        return job["lr"] * cosine(1 / job["start_div"], 1, progress / warmup)
    return job["lr"] * cosine(1, 1 / job["end_div"], (progress - warmup) / (1 - warmup))


class Step:
    """A training step on `images` and `labels`; on a GPU a recorded graph."""

    def __init__(self, net, arena, job, device):
        batch = job["batch"]
        self.net, self.arena, self.job, self.device = net, arena, job, device
        self.images = torch.zeros(batch, 32, 32, 3, device=device)
        self.labels = torch.zeros(batch, dtype=torch.long, device=device)
        self.lr, self.loss, self.right = (torch.zeros((), device=device) for _ in range(3))
        self.run = self.once if device == "cpu" else self.recorded()

    def predict(self, net):
        images, device = self.images.permute(0, 3, 1, 2), self.device
        with torch.autocast(device, torch.bfloat16, enabled=self.job["bf16"], cache_enabled=False):
            return net(images).float()

    def backward(self):
        """Gradients, and the logits and the loss that they are of."""
        self.arena.grad.zero_()
        logits = self.predict(self.net)
        smoothing = self.job["label_smoothing"]
        loss = F.cross_entropy(logits, self.labels, label_smoothing=smoothing)
        loss.backward()
        return logits, loss

    def update(self):
        arena, job = self.arena, self.job
        arena.grad.addcmul_(arena.value, arena.decays, value=job["weight_decay"])
        arena.velocity.mul_(job["momentum"]).add_(arena.grad)
        arena.value.sub_((arena.grad + job["momentum"] * arena.velocity) * self.lr)

    def once(self):
        logits, loss = self.backward()
        with torch.no_grad():
            self.update()
            self.loss.add_(loss.detach())
            self.right.add_((logits.argmax(1) == self.labels).sum())

    def recorded(self):
        state = [self.arena.value, self.arena.velocity, *self.net.buffers()]
        before = [tensor.clone() for tensor in state]
        self.labels.random_(0, 10)
        self.images.normal_()
        here, stream = torch.cuda.current_stream(), torch.cuda.Stream()
        stream.wait_stream(here)
        with torch.cuda.stream(stream):
            for _ in range(3):
                self.once()
        here.wait_stream(stream)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        # A stream of its own: graphs that run side by side must not share what matrix products work in.
        with torch.cuda.graph(graph, stream=torch.cuda.Stream()):
            self.once()
        for tensor, value in zip(state, before):
            tensor.copy_(value)
        return graph.replay


def network(job):
    net = MODELS[job["model"]]()
    initialise(net, job["identity"] and job["model"] == "vgg16")
    return net


def train(job, training, validation, device, network=network, make_step=Step):
    """Does a step whenever it is asked to, and at last returns the trained network and what was found."""
    torch.manual_seed(job["seed"])
    generator = torch.Generator(device=device)
    generator.manual_seed(1000 + job["seed"])
    net = network(job)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = job["bn_momentum"]
    net.to(device, memory_format=torch.channels_last).train()
    arena = Arena(net, device)
    step = make_step(net, arena, job, device)
    images, labels = training
    n, batch, padding = len(images), job["batch"], job["padding"]
    if not job["reflect"]:
        images = F.pad(images, (0, 0) + (padding,) * 4)
    mirrored_first = torch.rand(n, generator=generator, device=device) < 0.5
    per_epoch = n // batch
    steps = round(job["epochs"] * per_epoch)
    slow, started = None, time.time()
    for at in range(steps):
        epoch, index = divmod(at, per_epoch)
        if index == 0:
            drawn = generator
            if job["views"]:
                epoch %= job["views"]
                drawn = torch.Generator(device=device)
                drawn.manual_seed(2000 + 1000 * job["seed"] + epoch)
            shown = views(images, epoch, mirrored_first, job, drawn)
            order = torch.randperm(n, generator=generator, device=device)
            step.loss.zero_(), step.right.zero_()
        chosen = order[index * batch : (index + 1) * batch]
        step.images.copy_(shown[chosen])
        step.labels.copy_(labels[chosen])
        step.lr.fill_(rate(job, at / steps))
        step.run()
        done, every = at + 1, job["lookahead_every"]
        if job["lookahead"] and (done % every == 0 or done == steps):
            if slow is None:
                slow = arena.value.clone()
            else:
                keep = job["lookahead"] ** every * (done / steps) ** 3
                slow.sub_(arena.value).mul_(keep).add_(arena.value)
                arena.value.copy_(slow)
        yield
    seconds = time.time() - started
    accuracy, loss = evaluate(net, *validation)
    found = {
        "training_accuracy": round(step.right.item() / (index + 1) / batch, 4),
        "validation_accuracy": accuracy,
        "validation_loss": round(loss, 4),
        "seconds": round(seconds, 1),
    }
    return net, found


def finished(training):
    """What `training` returns in the end."""
    while True:
        try:
            next(training)
        except StopIteration as end:
            return end.value


def evaluate(net, images, labels):
    """Accuracy and mean cross-entropy."""
    net.eval()
    right, loss = 0, 0.0
    with torch.no_grad():
        for some, classes in zip(images.split(1000), labels.split(1000)):
            logits = net(normalised(some).permute(0, 3, 1, 2))
            right += (logits.argmax(1) == classes).sum().item()
            loss += F.cross_entropy(logits, classes, reduction="sum").item()
    return right / len(images), loss / len(images)


def save(net, path):
    from safetensors.torch import save_file

    state = {name: tensor for name, tensor in net.state_dict().items() if "num_batches" not in name}
    save_file({name: tensor.cpu().half().contiguous() for name, tensor in state.items()}, path)


def main():
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--data", required=True, help="the folder with data_batch_1.bin ...")
    parser.add_argument("--jobs", required=True, help="a JSON file")
    parser.add_argument("--out", default=".")
    parser.add_argument("--limit", type=int, help="of training images, for a trial")
    args = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    training, validation = load(args.data, args.limit, device)
    with open(args.jobs, encoding="utf-8") as file:
        jobs = json.load(file)["jobs"]
    for given in jobs:
        job = {key: given.get(key, value) for key, value in DEFAULT.items()}
        net, found = finished(train(job, training, validation, device))
        changed = {key: value for key, value in given.items() if key in DEFAULT}
        line = json.dumps({**changed, **found})
        print(line, flush=True)
        with open(os.path.join(args.out, "found.jsonl"), "a", encoding="utf-8") as file:
            file.write(line + "\n")
        if "name" in given:
            save(net, os.path.join(args.out, given["name"] + ".safetensors"))


if __name__ == "__main__":
    main()
