#!/usr/bin/env python3
"""pleach beside other inference engines, on the same networks, in one run.

    python3 -m venv peers && peers/bin/pip install -r benches/peers/requirements.txt
    cargo build --release
    peers/bin/python benches/peers/peers.py --pleach target/release/pleach

Networks have random weights, batch norm already folded: their speed does not depend on what they
learned. In each round every engine measures in turn, in an order drawn anew, so that whatever disturbs
the machine disturbs all of them alike; a cell is the median over rounds of each round's median. PyTorch
takes part if it is installed (`pip install torch`, any build for CPUs).
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import tempfile
import time

import numpy as np
import onnx
import onnxruntime
import openvino
from onnx import TensorProto, helper, numpy_helper

PRUNED = [21, 43, 67, 73, 101, 93, 71, 53, 37, 29, 23, 19, 31]
NETWORKS = ["vgg16", "vgg16:" + ",".join(map(str, PRUNED)), "resnet18"]
POOLED = {1, 3, 6, 9, 12}


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
    dense = [64, 64, 128, 128, 256, 256, 256] + [512] * 6
    widths = dense if name == "vgg16" else [int(width) for width in name.split(":")[1].split(",")]
    x = "image"
    for i, width in enumerate(widths):
        x = net.conv(x, width)
        x = net.pool(x) if i in POOLED else x
    return net.classify(x)


def timed(run, seconds):
    """The median time of `run` in milliseconds, over `seconds`."""
    run()
    times, end = [], time.perf_counter() + seconds
    while len(times) < 3 or time.perf_counter() < end:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return 1e3 * statistics.median(times)


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
        return lambda image: request.infer([image])

    return make


def onnxruntime_engine(path, _, threads):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return lambda image: session.run(None, {"image": image})


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


def engines():
    found = {
        "OpenVINO f32": openvino_engine("f32"),
        "OpenVINO bf16": openvino_engine("bf16"),
        "onnxruntime": onnxruntime_engine,
    }
    try:
        import torch  # noqa: F401
    except ImportError:
        return found
    return found | {"PyTorch": torch_engine}


def pleach(binary, net, batch, threads, seconds, isa):
    command = [binary, "bench", net, "--batch", str(batch), "--threads", str(threads), "--json"]
    command += ["--seconds", str(seconds)] + (["--isa", isa] if isa else [])
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return json.loads(done.stdout)["rows"][0]["latency_ms_p50"]


def measure(args, peers, path, net, batch, threads):
    """Milliseconds of each engine, a list of the rounds."""
    shape = (batch, 3, 32, 32)
    image = np.random.default_rng(2).standard_normal(shape).astype(np.float32)
    work = {
        "pleach": lambda: pleach(args.pleach, net, batch, threads, args.seconds, args.isa)
    }
    for name, make in peers.items():
        run = make(path, batch, threads)
        work[name] = lambda run=run: timed(lambda: run(image), args.seconds)
    times = {name: [] for name in work}
    for _ in range(args.rounds):
        for name in random.sample(list(work), len(work)):
            times[name].append(work[name]())
    return times


def main():
    layout = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=layout)
    parser.add_argument("--pleach", default="target/release/pleach")
    parser.add_argument("--nets", default=";".join(NETWORKS), help="separated by semicolons")
    parser.add_argument("--batch", default="1,8,128")
    parser.add_argument("--threads", default=f"1,{os.cpu_count()}")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each engine in a round")
    parser.add_argument("--isa", help="the instruction set that pleach is to use")
    parser.add_argument("--json", help="where to write the numbers")
    args = parser.parse_args()
    peers = engines()
    names, numbers = ["pleach", *peers], []
    head = ["network", "batch", "threads", *(f"{name}, ms" for name in names)]
    print("| " + " | ".join([*head, "OpenVINO f32 / pleach"]) + " |")
    print("| --- " * (len(head) + 1) + "|")
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
                    label = net.split(":")[0] + (", pruned" if ":" in net else "")
                    cells = [label, batch, threads, *(f"{ms[name]:.2f}" for name in names)]
                    ratio = ms["OpenVINO f32"] / ms["pleach"]
                    print("| " + " | ".join(map(str, cells)) + f" | {ratio:.2f}x |", flush=True)
    if args.json:
        with open(args.json, "w", encoding="utf-8") as file:
            json.dump(numbers, file, indent=1)


if __name__ == "__main__":
    main()
