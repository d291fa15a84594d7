#!/usr/bin/env python3
"""What `train.py` does, with more settings, several jobs side by side on one GPU.

    python3 search.py --data cifar-10-batches-bin --jobs JOBS.json --files FILES --out OUT

JOBS.json has jobs as `muon.json` does: settings that differ from DEFAULT, a `tag`, and with `from` those of the best
job so far that has this tag (`found`, what came of it, is not read). FILES holds networks in pleach's format:
`base.safetensors`, the teacher of jobs that distil, and what jobs name as `net`. OUT/found.jsonl gets a line a job. Test
images are not read.

The settings that `train.py` does not have: Muon as pleach's `--optimizer muon` (but in bfloat16, and each filter's norm
is set to 1 rather than kept, which is the same behind a batch norm), sharpness-aware minimisation (Foret et al. 2021,
arXiv 2010.01412), a first layer that begins as the patches' principal axes (Jordan 2024, arXiv 2404.00498), another
rate for biases of batch norms, dropout before the last layer, other widths, and distillation as pleach has it.
"""

import argparse
import contextlib
import functools
import json
import os

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


class Step(train.Step):
    """A step with what `train.py` does not have."""

    def __init__(self, net, arena, job, device, teacher):
        self.teacher, self.scale = teacher, torch.ones_like(arena.value)
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
        super().__init__(net, arena, job, device)

    def gradients(self):
        self.arena.grad.zero_()
        job, logits = self.job, self.predict(self.net)
        loss = F.cross_entropy(logits, self.labels, label_smoothing=job["label_smoothing"])
        if self.teacher is not None:
            with torch.no_grad():
                taught = self.predict(self.teacher)
            share, t = job["distill"], job["temperature"]
            student, taught = F.log_softmax(logits / t, 1), F.log_softmax(taught / t, 1)
            apart = F.kl_div(student, taught, reduction="batchmean", log_target=True)
            loss = (1 - share) * loss + share * t * t * apart
        loss.backward()
        return logits, loss

    def backward(self):
        logits, loss = self.gradients()
        if self.job["sam"]:
            arena = self.arena
            with torch.no_grad():
                away = arena.grad * (self.job["sam"] / (arena.grad.norm() + 1e-12))
                arena.value.add_(away)
            logits, loss = self.gradients()
            with torch.no_grad():
                arena.value.sub_(away)
        return logits, loss

    def update(self):
        arena, job = self.arena, self.job
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


def begun(job, data, validation, device, files):
    """Training of `job`."""

    def network(job):
        if job["net"]:
            return from_file(os.path.join(files, job["net"]), job["dropout"])
        vgg = job["model"] == "vgg16"
        net = Vgg(job["widths"] or WIDTHS, job["dropout"]) if vgg else train.MODELS[job["model"]]()
        train.initialise(net, job["identity"] and vgg)
        if job["whiten"]:
            whiten(net, data[0].cpu())
        return net

    teacher = None
    if job["distill"]:
        teacher = from_file(os.path.join(files, "base.safetensors"))
        teacher.to(device, memory_format=torch.channels_last).eval()
    return train.train(job, data, validation, device, network, functools.partial(Step, teacher=teacher))


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
            work = begun({**DEFAULT, **job[1]}, data, validation, device, args.files)
            running.append((*job, work, stream or contextlib.nullcontext()))
        if not running:
            break
        for slot in list(running):
            tag, job, work, stream = slot
            try:
                with stream:
                    next(work)
            except StopIteration as end:
                running.remove(slot)
                search.done(tag, job, end.value[1])


if __name__ == "__main__":
    main()
