#!/usr/bin/env python3
"""Makes a network in f16 small enough to be kept beside the code.

    python3 pack.py IN.safetensors OUT.safetensors && xz -9 OUT.safetensors

Rounds each filter of a convolution to multiples of a power of two near a STEPS-th of the standard deviation of its
weights, all of which f16 has exactly, so that `xz` needs seven bits a weight. Everything else stays. What is
written is a network of its own: its accuracy is measured, not that of the network it was made from.
"""

import argparse
import json
import struct

import numpy as np

STEPS = 20


def rounded(weights):
    """`[OUT, IN, KH, KW]` weights on the grids of their filters."""
    filters = weights.astype(np.float32).reshape(weights.shape[0], -1)
    deviation = np.maximum(filters.std(axis=1, keepdims=True), 2.0**-12)
    step = np.exp2(np.round(np.log2(deviation / STEPS)))
    # The smallest step of f16 where numbers are below 2^-14.
    step = np.maximum(step, 2.0**-24)
    return (np.round(filters / step) * step).astype(np.float16).reshape(weights.shape)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("network")
    parser.add_argument("out")
    args = parser.parse_args()
    data = bytearray(open(args.network, "rb").read())
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + length])
    for name, tensor in header.items():
        if name == "__metadata__" or len(tensor["shape"]) != 4:
            continue
        if tensor["dtype"] != "F16":
            raise SystemExit(f"{name} is {tensor['dtype']}, not F16: train with --dtype f16")
        start, end = (8 + length + offset for offset in tensor["data_offsets"])
        weights = np.frombuffer(data[start:end], dtype="<f2").reshape(tensor["shape"])
        data[start:end] = rounded(weights).astype("<f2").tobytes()
    with open(args.out, "wb") as out:
        out.write(data)


if __name__ == "__main__":
    main()
