#!/usr/bin/env python3
"""What `train.py` does, with more settings, several jobs side by side on one GPU.

    python3 search.py --data cifar-10-batches-bin --jobs JOBS.json --files FILES --out OUT

JOBS.json is a list of jobs as in `muon.json`: settings that differ from DEFAULT, a `tag`, and with `from` those of the
best job so far that has this tag (`found`, what came of it, is not read). FILES holds networks in pleach's format: `base.safetensors`, the teacher of jobs that
distil, and what jobs name as `net`. OUT/found.jsonl gets a line a job. Test images are not read.

The settings that `train.py` does not have: Muon as pleach's `--optimizer muon` (but in bfloat16, and each filter's norm
is set to 1 rather than kept, which is the same behind a batch norm), sharpness-aware minimisation (Foret et al. 2021,
arXiv 2010.01412), a first layer that begins as the patches' principal axes (Jordan 2024, arXiv 2404.00498), another
rate for biases of batch norms, dropout before the last layer, other widths, and distillation as pleach has it.
"""

import argparse
import contextlib
import json
import math
import os
import time

import torch
import torch.nn.functional as F
import train
from torch import nn

DEFAULT = {
    **train.DEFAULT,
    "bf16": torch.cuda.is_available(),
    "muon": 0.0,  # the largest rate of filters; 0: SGD
    "muon_momentum": 0.6,
    "iterations": 3,
    "others_lr": 0.05,  # with Muon, the largest rate of everything else
    "sam": 0.0,  # how far the ascending step goes; 0: none
    "whiten": False,
    "bias_lr": 1.0,  # of batch norms, as a multiple
    "dropout": 0.0,
    "widths": None,
    "net": None,  # a file to go on from
    "distill": 0.0,
    "temperature": 4.0,
    "views": 0,  # ways in which an image is seen, again and again; 0: another each epoch
}
WIDTHS = [64, 64, 128, 128, 256, 256, 256] + [512] * 6


class Vgg(nn.Module):
    def __init__(self, widths, dropout):
        super().__init__()
        layers, channels = [], 3
        for i, width in enumerate(widths):
            layers += [nn.Conv2d(channels, width, 3, padding=1, bias=False)]
            layers += [nn.BatchNorm2d(width), nn.ReLU(True)]
            layers += [nn.MaxPool2d(2)] if i in (1, 3, 6, 9, 12) else []
            channels = width
        self.features, self.classifier = nn.Sequential(*layers), nn.Linear(channels, 10)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x):
        return self.classifier(self.dropout(self.features(x).flatten(1)))


def from_file(path, dropout=0.0):
    from safetensors.torch import load_file

    state = {name: tensor.float() for name, tensor in load_file(path).items()}
    filters = [(int(name.split(".")[1]), len(x)) for name, x in state.items() if x.dim() == 4]
    net = Vgg([width for _, width in sorted(filters)], dropout)
    missing, unexpected = net.load_state_dict(state, strict=False)
    assert not unexpected and all("num_batches" in name for name in missing)
    return net


def whiten(net, images):
    """Filters of the first layer along the principal axes of patches, with either sign."""
    patches = F.unfold(train.normalised(images[:5000]).permute(0, 3, 1, 2), 3)
    patches = patches.permute(0, 2, 1).reshape(-1, 27)
    values, vectors = torch.linalg.eigh(patches.T @ patches / len(patches))
    axes = (vectors / (values + 1e-2).sqrt()).T.flip(0)
    axes = torch.cat([axes, -axes])
    weight = net.features[0].weight
    with torch.no_grad():
        count = min(len(axes), len(weight))
        weight[:count] = axes[:count].reshape(count, 3, 3, 3)


def orthogonal(matrix, iterations):
    x = matrix.bfloat16() if matrix.is_cuda else matrix
    x = x / (x.norm() + 1e-7)
    tall = x.shape[0] > x.shape[1]
    x = x.T if tall else x
    for _ in range(iterations):
        gram = x @ x.T
        x = 3.4445 * x + (-4.7750 * gram + 2.0315 * gram @ gram) @ x
    return (x.T if tall else x).float()


class Step:
    """A training step on `images` and `labels`; on a GPU a recorded graph."""

    def __init__(self, net, arena, job, device, teacher):
        batch = job["batch"]
        self.net, self.arena, self.job, self.device, self.teacher = net, arena, job, device, teacher
        self.images = torch.zeros(batch, 32, 32, 3, device=device)
        self.labels = torch.zeros(batch, dtype=torch.long, device=device)
        self.lr, self.loss, self.right = (torch.zeros((), device=device) for _ in range(3))
        self.scale = torch.ones_like(arena.value)
        self.filters, at = [], 0
        for name, param in net.named_parameters():
            place = slice(at, at + param.numel())
            at = place.stop
            if job["muon"] and param.dim() == 4:
                self.filters.append((len(param), place))
                self.scale[place] = 0
                continue
            if param.dim() == 1 and name.startswith("features") and name.endswith("bias"):
                self.scale[place] = job["bias_lr"]
            if job["muon"]:
                self.scale[place] *= job["others_lr"] / job["lr"]
        self.run = self.once if device == "cpu" else self.recorded()

    def forward(self):
        job, x = self.job, self.images.permute(0, 3, 1, 2)
        with torch.autocast(self.device, torch.bfloat16, enabled=job["bf16"], cache_enabled=False):
            logits = self.net(x).float()
            if self.teacher is not None:
                with torch.no_grad():
                    taught = self.teacher(x).float()
        loss = F.cross_entropy(logits, self.labels, label_smoothing=job["label_smoothing"])
        if self.teacher is not None:
            share, t = job["distill"], job["temperature"]
            student, taught = F.log_softmax(logits / t, 1), F.log_softmax(taught / t, 1)
            apart = F.kl_div(student, taught, reduction="batchmean", log_target=True)
            loss = (1 - share) * loss + share * t * t * apart
        return logits, loss

    def backward(self):
        self.arena.grad.zero_()
        logits, loss = self.forward()
        loss.backward()
        return logits, loss

    def once(self):
        arena, job = self.arena, self.job
        logits, loss = self.backward()
        if job["sam"]:
            with torch.no_grad():
                away = arena.grad * (job["sam"] / (arena.grad.norm() + 1e-12))
                arena.value.add_(away)
            logits, loss = self.backward()
            with torch.no_grad():
                arena.value.sub_(away)
        with torch.no_grad():
            decays = arena.decays * (self.scale > 0)
            arena.grad.addcmul_(arena.value, decays, value=job["weight_decay"])
            for rows, place in self.filters:
                velocity, grad, value = (
                    array[place].view(rows, -1) for array in (arena.velocity, arena.grad, arena.value)
                )
                velocity.mul_(job["muon_momentum"]).add_(grad)
                update = orthogonal(grad + job["muon_momentum"] * velocity, job["iterations"])
                value.mul_(rows**0.5 / value.norm())
                value.sub_(update * self.lr * (job["muon"] / job["lr"]))
            velocity = arena.velocity * job["momentum"] + arena.grad
            arena.velocity.copy_(torch.where(self.scale > 0, velocity, arena.velocity))
            step = (arena.grad + job["momentum"] * arena.velocity) * self.scale
            arena.value.sub_(step * self.lr)
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


def network(job, images, files):
    if job["net"]:
        return from_file(os.path.join(files, job["net"]), job["dropout"])
    vgg = job["model"] == "vgg16"
    net = Vgg(job["widths"] or WIDTHS, job["dropout"]) if vgg else train.MODELS[job["model"]]()
    train.initialise(net, job["identity"] and vgg)
    if job["whiten"]:
        whiten(net, images.cpu())
    return net


def training(job, data, validation, device, files):
    """Trains, a step at a time, and ends with what was found."""
    torch.manual_seed(job["seed"])
    generator = torch.Generator(device=device)
    generator.manual_seed(1000 + job["seed"])
    images, labels = data
    net = network(job, images, files)
    for layer in net.modules():
        if isinstance(layer, nn.BatchNorm2d):
            layer.momentum = job["bn_momentum"]
    net.to(device, memory_format=torch.channels_last).train()
    teacher = None
    if job["distill"]:
        teacher = from_file(os.path.join(files, "base.safetensors"))
        teacher.to(device, memory_format=torch.channels_last).eval()
    arena = train.Arena(net, device)
    step = Step(net, arena, job, device, teacher)
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
            shown = train.views(images, epoch, mirrored_first, job, drawn)
            order = torch.randperm(n, generator=generator, device=device)
            step.loss.zero_(), step.right.zero_()
        chosen = order[index * batch : (index + 1) * batch]
        step.images.copy_(shown[chosen])
        step.labels.copy_(labels[chosen])
        step.lr.fill_(train.rate(job, at / steps))
        step.run()
        done, every = at + 1, job["lookahead_every"]
        if job["lookahead"] and (done % every == 0 or done == steps):
            if slow is None:
                slow = arena.value.clone()
            else:
                keep = job["lookahead"] ** every * (done / steps) ** 3
                slow.sub_(arena.value).mul_(keep).add_(arena.value)
                arena.value.copy_(slow)
        yield None
    accuracy, loss = train.evaluate(net, *validation)
    yield {
        "training_accuracy": round(step.right.item() / (index + 1) / batch, 4),
        "validation_accuracy": accuracy,
        "validation_loss": round(loss, 4),
    }


class Search:
    """Jobs to do and what was found, of which later jobs can begin."""

    def __init__(self, jobs, out):
        self.jobs, self.path, self.found = jobs, os.path.join(out, "found.jsonl"), []
        if os.path.exists(self.path):
            with open(self.path, encoding="utf-8") as file:
                self.found = [json.loads(line) for line in file]

    def next(self):
        """The tag and the settings of a job that is not done, or None."""
        while self.jobs:
            job = self.jobs.pop(0)
            tag, start, _ = (job.pop(key, None) for key in ("tag", "from", "found"))
            if start is not None:
                known = [found for found in self.found if found["tag"] == start]
                if not known:
                    continue
                job = {**max(known, key=lambda found: found["validation_accuracy"])["job"], **job}
            assert set(job) <= set(DEFAULT), set(job) - set(DEFAULT)
            if all(found["job"] != job for found in self.found):
                return tag, job
        return None

    def done(self, tag, job, found):
        self.found.append({"tag": tag, "job": job, **found})
        line = json.dumps(self.found[-1])
        print(line, flush=True)
        with open(self.path, "a", encoding="utf-8") as file:
            file.write(line + "\n")


def main():
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--data", required=True, help="the folder with data_batch_1.bin ...")
    parser.add_argument("--jobs", required=True, help="a JSON file")
    parser.add_argument("--files", default=".", help="the folder with networks")
    parser.add_argument("--out", default=".")
    parser.add_argument("--limit", type=int, help="of training images, for a trial")
    parser.add_argument("--slots", type=int, default=4, help="jobs side by side")
    args = parser.parse_args()
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    device = "cuda" if torch.cuda.is_available() else "cpu"
    data, validation = train.load(args.data, args.limit, device)
    with open(args.jobs, encoding="utf-8") as file:
        search, running = Search(json.load(file)["jobs"], args.out), []
    while True:
        while len(running) < args.slots and (job := search.next()) is not None:
            stream = torch.cuda.stream(torch.cuda.Stream()) if device == "cuda" else None
            work = training({**DEFAULT, **job[1]}, data, validation, device, args.files)
            running.append((*job, work, stream or contextlib.nullcontext()))
        if not running:
            break
        for slot in list(running):
            tag, job, work, stream = slot
            with stream:
                found = next(work)
            if found:
                running.remove(slot)
                search.done(tag, job, found)


if __name__ == "__main__":
    main()
