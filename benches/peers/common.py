"""What the comparisons of inference and of training share."""

import json
import os
import subprocess

PRUNED = [21, 43, 67, 73, 101, 93, 71, 53, 37, 29, 23, 19, 31]
NETWORKS = ["vgg16", "vgg16:" + ",".join(map(str, PRUNED)), "resnet18"]
# The convolutions of VGG-16 that a 2x2 max pool follows.
POOLED = {1, 3, 6, 9, 12}


def vgg_widths(name):
    """The channels of each convolution of `vgg16` or `vgg16:widths`."""
    dense = [64, 64, 128, 128, 256, 256, 256] + [512] * 6
    return list(map(int, name.split(":")[1].split(","))) if ":" in name else dense


def add_arguments(parser, rounds, seconds):
    parser.add_argument("--pleach", default="target/release/pleach")
    parser.add_argument("--nets", default=";".join(NETWORKS), help="separated by semicolons")
    parser.add_argument("--threads", default=f"1,{os.cpu_count()}")
    parser.add_argument("--rounds", type=int, default=rounds)
    help = "of each engine in a round"
    parser.add_argument("--seconds", type=float, default=seconds, help=help)
    parser.add_argument("--isa", help="the instruction set that pleach is to use")
    parser.add_argument("--json", help="where to write the numbers")


def pleach_command(args, net, batch, threads, seconds):
    command = [args.pleach, "bench", net, "--batch", str(batch), "--threads", str(threads), "--json"]
    return command + ["--seconds", str(seconds)] + (["--isa", args.isa] if args.isa else [])


def run_pleach(command):
    """The first row of what `pleach bench` finds."""
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["rows"][0]


def print_header(cells):
    print("| " + " | ".join(cells) + " |")
    print("| --- " * len(cells) + "|")


def print_row(net, cells):
    label = net.split(":")[0] + (", pruned" if ":" in net else "")
    print("| " + " | ".join(map(str, [label, *cells])) + " |", flush=True)


def write_json(args, numbers):
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(numbers, file, indent=1)
