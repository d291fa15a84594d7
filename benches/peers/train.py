#!/usr/bin/env python3
"""pleach beside PyTorch in training, on the same networks, in one run.

    python3 -m venv peers && peers/bin/pip install -r benches/peers/requirements-torch.txt
    cargo build --release
    peers/bin/python benches/peers/train.py --pleach target/release/pleach

A step is forward, cross-entropy, backward and SGD (Nesterov momentum 0.9, weight decay 5e-4) on a batch
of synthetic images, in f32. PyTorch runs eagerly, in both memory formats. In each round every engine
measures in turn, in an order drawn anew and in a process of its own, which takes two steps before it
measures; a cell is the median over rounds of each round's median.

Nothing else may run meanwhile: PyTorch's threads wait for the slowest of them at every layer, and a
busy core slows them many times more than it slows pleach.

Memory is the most that a process had resident (ru_maxrss of Linux): the engine's code, weights,
optimiser state and images included. PyTorch's process makes three steps and imports nothing but what
they need; pleach's makes thirteen, the fewest that `pleach bench` makes, and reserves nothing after the
second.
"""

import argparse
import os
import random
import statistics
import subprocess
import sys
import time

from common import POOLED, add_arguments, pleach_command, print_header, print_row, run_pleach
from common import vgg_widths, write_json

FORMATS = {"PyTorch NCHW": "contiguous_format", "PyTorch NHWC": "channels_last"}


def build(name):
    """The network as pleach builds it, for 32x32 images and ten classes."""
    from torch import nn

    def conv_bn(ic, oc, kernel=3, stride=1):
        conv = nn.Conv2d(ic, oc, kernel, stride, kernel // 2, bias=False)
        return nn.Sequential(conv, nn.BatchNorm2d(oc))

    class Block(nn.Module):
        def __init__(self, ic, oc, stride):
            super().__init__()
            self.relu = nn.ReLU(inplace=True)
            self.first, self.second = conv_bn(ic, oc, stride=stride), conv_bn(oc, oc)
            self.shortcut = nn.Identity() if ic == oc else conv_bn(ic, oc, 1, stride)

        def forward(self, x):
            y = self.second(self.relu(self.first(x)))
            return self.relu(y + self.shortcut(x))

    layers, channels = [], 3
    if name == "resnet18":
        layers += [conv_bn(3, 64), nn.ReLU(inplace=True)]
        channels = 64
        for width in [64, 128, 256, 512]:
            stride = 1 if width == channels else 2
            layers += [Block(channels, width, stride), Block(width, width, 1)]
            channels = width
        layers.append(nn.AdaptiveAvgPool2d(1))
    else:
        for i, width in enumerate(vgg_widths(name)):
            layers += [conv_bn(channels, width), nn.ReLU(inplace=True)]
            layers += [nn.MaxPool2d(2)] if i in POOLED else []
            channels = width
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels, 10))


def train(net, batch, threads, memory_format, seconds):
    """PyTorch's work in its process: prints the median time in seconds of the steps after the first two,
    of which there is one at least."""
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(1)
    memory_format = getattr(torch, memory_format)
    net = build(net).train().to(memory_format=memory_format)
    images = torch.randn(batch, 3, 32, 32).to(memory_format=memory_format)
    labels = torch.arange(batch) % 10
    # So small a rate that the weights stay as they are, as in `pleach bench`.
    settings = {"lr": 1e-12, "momentum": 0.9, "nesterov": True, "weight_decay": 5e-4}
    sgd = torch.optim.SGD(net.parameters(), **settings)
    times, end = [], None
    while end is None or len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        sgd.zero_grad()
        torch.nn.functional.cross_entropy(net(images), labels).backward()
        sgd.step()
        times.append(time.perf_counter() - start)
        if len(times) == 2:
            end = time.perf_counter() + seconds
    print(statistics.median(times[2:]))


def torch_command(net, batch, threads, name, seconds):
    worker = [net, batch, threads, FORMATS[name], seconds]
    return [sys.executable, __file__, "--worker", *map(str, worker)]


def peak_mib(command):
    """Runs a command and returns the most that it had resident, in MiB. A process starts as a copy of
    this one, which therefore must stay small: it does not import PyTorch."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"exit code {process.returncode}: {' '.join(command)}")
    return usage.ru_maxrss / 1024


def commands(args, net, threads, seconds):
    ours = [*pleach_command(args, net, args.batch, threads, seconds), "--train"]
    theirs = {name: torch_command(net, args.batch, threads, name, seconds) for name in FORMATS}
    return {"pleach": ours, **theirs}


def rate(name, command, batch):
    """Images a second."""
    if name == "pleach":
        return run_pleach(command)["images_per_s"]
    return batch / float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def measure(args, net, threads):
    """Images a second of each engine, a list of the rounds."""
    work = commands(args, net, threads, args.seconds)
    rates = {name: [] for name in work}
    for _ in range(args.rounds):
        for name in random.sample(list(work), len(work)):
            rates[name].append(rate(name, work[name], args.batch))
    return rates


def main():
    if sys.argv[1:2] == ["--worker"]:
        net, batch, threads, memory_format, seconds = sys.argv[2:]
        return train(net, int(batch), int(threads), memory_format, float(seconds))
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    add_arguments(parser, rounds=5, seconds=5.0)
    parser.add_argument("--batch", type=int, default=128)
    args = parser.parse_args()
    names, numbers = ["pleach", *FORMATS], []
    head = ["network", "threads", *(f"{name}, img/s" for name in names), "pleach / best PyTorch"]
    print_header([*head, *(f"{name}, MiB" for name in names)])
    for net in args.nets.split(";"):
        for threads in map(int, args.threads.split(",")):
            rounds = measure(args, net, threads)
            rates = {name: statistics.median(found) for name, found in rounds.items()}
            three_steps = commands(args, net, threads, 0)
            peaks = {name: peak_mib(command) for name, command in three_steps.items()}
            row = {"net": net, "batch": args.batch, "threads": threads}
            row |= {"images_per_s": rates, "rounds": rounds, "peak_mib": peaks}
            numbers.append(row)
            ratio = rates["pleach"] / max(rates[name] for name in FORMATS)
            shown = [f"{rates[name]:.0f}" for name in names]
            memory = [f"{peaks[name]:.0f}" for name in names]
            print_row(net, [threads, *shown, f"{ratio:.2f}x", *memory])
    write_json(args, numbers)


if __name__ == "__main__":
    main()
