#!/usr/bin/env python3
"""pleach beside other inference engines, on the same networks, in one run. `train.py` is about training.

    python3 -m venv peers && peers/bin/pip install -r benches/peers/requirements.txt
    cargo build --release
    cargo build --release --locked --manifest-path benches/peers/engines/Cargo.toml
    peers/bin/python benches/peers/peers.py --pleach target/release/pleach

Networks have random weights, batch norm already folded: their speed does not depend on what they
learned. In each round every engine measures in turn, in an order drawn anew, so that whatever disturbs
the machine disturbs all of them alike; a cell is the median over rounds of each round's median. Before
that, each peer's logits are compared with onnxruntime's.

tract and rten take part if the second `cargo build` was run (tract on one thread only, as `tract-onnx`
builds it), PyTorch if it is installed: `pip install -r benches/peers/requirements-torch.txt`, or any
build for CPUs. A dash is a missing figure.
"""

import argparse
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
import openvino
from common import POOLED, add_arguments, pleach_command, print_header, print_row, run_pleach
from common import vgg_widths, write_json
from onnx import TensorProto, helper, numpy_helper

ENGINES = "benches/peers/engines/target/release/engines"
# How far logits may be from onnxruntime's, as a fraction of its largest.
TOLERANCE, BF16_TOLERANCE = 1e-3, 5e-2


class Onnx:
    """Builds an ONNX graph, layer by layer."""

    def __init__(self):
        self.nodes, self.weights, self.channels = [], [], {"image": 3}
        self.rng = np.random.default_rng(1)

    def node(self, kind, inputs, channels, **attributes):
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], **attributes))
        self.channels[name] = channels
        return name

    def weight(self, *shape):
        scale = np.sqrt(2.0 / max(np.prod(shape[1:]), 1))
        array = (self.rng.standard_normal(shape) * scale).astype(np.float32)
        self.weights.append(numpy_helper.from_array(array, f"w{len(self.weights)}"))
        return self.weights[-1].name

    def conv(self, x, oc, kernel=3, stride=1, relu=True):
        inputs = [x, self.weight(oc, self.channels[x], kernel, kernel), self.weight(oc)]
        pads, strides = [kernel // 2] * 4, [stride, stride]
        x = self.node("Conv", inputs, oc, kernel_shape=[kernel] * 2, pads=pads, strides=strides)
        return self.node("Relu", [x], oc) if relu else x

    def add(self, a, b):
        c = self.channels[a]
        return self.node("Relu", [self.node("Add", [a, b], c)], c)

    def pool(self, x):
        return self.node("MaxPool", [x], self.channels[x], kernel_shape=[2, 2], strides=[2, 2])

    def classify(self, x):
        c = self.channels[x]
        x = self.node("Flatten", [self.node("GlobalAveragePool", [x], c)], c)
        return self.node("Gemm", [x, self.weight(10, c), self.weight(10)], 10, transB=1)

    def model(self, output):
        image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 32, 32])
        logits = helper.make_tensor_value_info(output, TensorProto.FLOAT, ["N", 10])
        graph = helper.make_graph(self.nodes, "network", [image], [logits], self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])


def build(name, net):
    """The network as pleach builds it, for 32x32 images and ten classes."""
    if name == "resnet18":
        x = net.conv("image", 64)
        for stage, channels in enumerate([64, 128, 256, 512]):
            for block in range(2):
                stride = 2 if stage and not block else 1
                y = net.conv(net.conv(x, channels, stride=stride), channels, relu=False)
                plain = stride == 1
                x = net.add(y, x if plain else net.conv(x, channels, 1, stride, relu=False))
        return net.classify(x)
    x = "image"
    for i, width in enumerate(vgg_widths(name)):
        x = net.conv(x, width)
        x = net.pool(x) if i in POOLED else x
    return net.classify(x)


def in_process(make):
    """An engine that runs here: for a network and images it makes a function from seconds to the median
    time of a pass in milliseconds and the logits."""

    def engine(path, image, threads):
        run = make(path, len(image), threads)

        def timed(seconds):
            run(image)
            times, end = [], time.perf_counter() + seconds
            while len(times) < 3 or time.perf_counter() < end:
                start = time.perf_counter()
                logits = run(image)
                times.append(time.perf_counter() - start)
            return 1e3 * statistics.median(times), np.asarray(logits)

        return timed

    return engine


def openvino_engine(precision):
    def make(path, batch, threads):
        core = openvino.Core()
        model = core.read_model(path)
        model.reshape([batch, 3, 32, 32])
        config = {
            "PERFORMANCE_HINT": "LATENCY",
            "INFERENCE_NUM_THREADS": threads,
            "INFERENCE_PRECISION_HINT": precision,
        }
        request = core.compile_model(model, "CPU", config).create_infer_request()
        return lambda image: request.infer([image])[0]

    return make


def onnxruntime_engine(path, _, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda image: session.run(None, {"image": image})[0]


def torch_engine(path, _, threads):
    import torch

    torch.set_num_threads(threads)
    graph, functional = onnx.load(path).graph, torch.nn.functional

    def channels_last(array):
        tensor = torch.from_numpy(array.copy())
        wanted = torch.channels_last if tensor.dim() == 4 else torch.contiguous_format
        return tensor.contiguous(memory_format=wanted)

    weights = {w.name: channels_last(numpy_helper.to_array(w)) for w in graph.initializer}
    kinds = {
        "Relu": torch.relu_,
        "Add": torch.add,
        "Flatten": lambda x: torch.flatten(x, 1),
        "MaxPool": lambda x: functional.max_pool2d(x, 2),
        "GlobalAveragePool": lambda x: functional.adaptive_avg_pool2d(x, 1),
        "Gemm": functional.linear,
    }

    def run(image):
        values = dict(weights, image=channels_last(image))
        with torch.inference_mode():
            for node in graph.node:
                inputs = [values[name] for name in node.input]
                if node.op_type == "Conv":
                    attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
                    stride, padding = attributes["strides"], attributes["pads"][0]
                    y = functional.conv2d(*inputs, stride=stride, padding=padding)
                else:
                    y = kinds[node.op_type](*inputs)
                values[node.output[0]] = y
        return y

    return run


def rust_engine(binary, name):
    """An engine of the program in `engines/`, which times itself."""

    def engine(path, image, threads):
        given, answer = path + ".images", path + ".logits"

        def timed(seconds):
            image.astype("<f4").tofile(given)
            command = [binary, name, path, str(len(image)), str(threads), str(seconds)]
            command += ["--input", given, "--output", answer]
            done = subprocess.run(command, stdout=subprocess.PIPE, text=True)
            if done.returncode == 2:  # refused, as a number of threads is
                return None
            done.check_returncode()
            return json.loads(done.stdout)["ms_p50"], np.fromfile(answer, "<f4").reshape(-1, 10)

        return timed

    return engine


def engines(binary):
    """The peers in the order of their columns; None for one that is not at hand."""
    torch, rust = importlib.util.find_spec("torch"), os.path.exists(binary)
    for name, found in {"PyTorch": torch, f"tract, rten: {binary}": rust}.items():
        if not found:
            print(f"missing: {name}", file=sys.stderr)
    return {
        "OpenVINO f32": in_process(openvino_engine("f32")),
        "OpenVINO bf16": in_process(openvino_engine("bf16")),
        "onnxruntime": in_process(onnxruntime_engine),
        "PyTorch": in_process(torch_engine) if torch else None,
        "tract": rust_engine(binary, "tract") if rust else None,
        "rten": rust_engine(binary, "rten") if rust else None,
    }


def checked(work):
    """The engines that do not refuse. Stops at one whose logits are not onnxruntime's."""
    tried = {name: timed(0) for name, timed in work.items()}
    logits = {name: found[1] for name, found in tried.items() if found}
    wanted = logits["onnxruntime"]
    for name, found in logits.items():
        error = np.abs(found - wanted).max() / np.abs(wanted).max()
        if not error <= (BF16_TOLERANCE if name.endswith("bf16") else TOLERANCE):  # nor NaN
            sys.exit(f"{name}: logits differ from onnxruntime's by {error:.1e} of the largest")
    return {name: work[name] for name in logits}


def measure(args, peers, path, net, batch, threads):
    """Milliseconds of each engine, a list of the rounds."""
    shape = (batch, 3, 32, 32)
    image = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    work = checked({name: make(path, image, threads) for name, make in peers.items() if make})

    def pleach(seconds):
        row = run_pleach(pleach_command(args, net, batch, threads, seconds))
        return row["latency_ms_p50"], None

    work["pleach"] = pleach
    times = {name: [] for name in work}
    for _ in range(args.rounds):
        for name in random.sample(list(work), len(work)):
            times[name].append(work[name](args.seconds)[0])
    return times


def main():
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    add_arguments(parser, rounds=5, seconds=1.0)
    parser.add_argument("--engines", default=ENGINES, help="the program that runs tract and rten")
    parser.add_argument("--batch", default="1,8,128")
    args = parser.parse_args()
    peers = engines(args.engines)
    names, numbers = ["pleach", *peers], []
    head = ["network", "batch", "threads", *(f"{name}, ms" for name in names)]
    print_header([*head, "OpenVINO f32 / pleach"])
    with tempfile.TemporaryDirectory() as folder:
        for net in args.nets.split(";"):
            builder, path = Onnx(), os.path.join(folder, "network.onnx")
            onnx.save(builder.model(build(net, builder)), path)
            for batch in map(int, args.batch.split(",")):
                for threads in map(int, args.threads.split(",")):
                    times = measure(args, peers, path, net, batch, threads)
                    ms = {name: statistics.median(found) for name, found in times.items()}
                    row = {"net": net, "batch": batch, "threads": threads}
                    numbers.append({**row, "ms": ms, "rounds": times})
                    shown = [f"{ms[name]:.2f}" if name in ms else "-" for name in names]
                    ratio = ms["OpenVINO f32"] / ms["pleach"]
                    print_row(net, [batch, threads, *shown, f"{ratio:.2f}x"])
    write_json(args, numbers)


if __name__ == "__main__":
    main()
