"""ONNX models and onnxruntime's logits of them, for oracle.rs.

    oracle.py check FOLDER   checks each NAME.onnx with onnx.checker, and that onnxruntime computes NAME.logits
                             of NAME.images (f32, little-endian)
    oracle.py make FOLDER    writes NAME.onnx for each operator and version, with images and logits

Needs onnx, onnxruntime and numpy.
"""

import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

# Of the largest logit.
TOLERANCE = 1e-4


def run(path, images):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    (given,) = session.get_inputs()
    sizes = [dim for dim in given.shape if isinstance(dim, int)]
    (logits,) = session.run(None, {given.name: images.reshape(-1, *sizes[-3:])})
    return logits.reshape(len(logits), -1)


def check(folder):
    for path in sorted(folder.glob("*.onnx")):
        onnx.checker.check_model(str(path), full_check=True)
        logits = run(path, np.fromfile(path.with_suffix(".images"), "<f4"))
        expected = np.fromfile(path.with_suffix(".logits"), "<f4").reshape(logits.shape)
        difference = np.abs(logits - expected).max() / np.abs(logits).max()
        assert difference <= TOLERANCE, f"{path.name}: {difference}"
        print(f"{path.name}: {difference:.1e}")


class Net:
    """A model in the making."""

    def __init__(self, opset, image=(3, 9, 8), batch="N"):
        self.opset, self.image, self.batch = opset, image, batch
        self.rng = np.random.default_rng(opset)
        self.nodes, self.constants = [], []

    def weights(self, *shape, positive=False):
        values = self.rng.normal(size=shape).astype(np.float32)
        return self.constant(np.abs(values) + 0.5 if positive else 0.5 * values)

    def constant(self, values):
        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values), name))
        return name

    def op(self, op, *inputs, **attributes):
        name = f"value{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def conv(self, x, ic, oc, kernel=3, bias=True, **attributes):
        weights = [self.weights(oc, ic // attributes.get("group", 1), kernel, kernel)]
        if bias:
            weights.append(self.weights(oc))
        return self.op("Conv", x, *weights, **attributes)

    def linear(self, x, features):
        return self.op("Gemm", x, self.weights(5, features), self.weights(5), transB=1)

    def save(self, folder, name, output, external=False):
        flat = helper.make_tensor_value_info(output, TensorProto.FLOAT, [self.batch, "classes"])
        image = helper.make_tensor_value_info("x", TensorProto.FLOAT, [self.batch, *self.image])
        opset = helper.make_opsetid("", self.opset)
        ir_version = helper.find_min_ir_version_for([opset])
        inputs = [image]
        if ir_version < 4:
            inputs += [helper.make_tensor_value_info(c.name, c.data_type, c.dims) for c in self.constants]
        graph = helper.make_graph(self.nodes, "g", inputs, [flat], self.constants)
        model = helper.make_model(graph, opset_imports=[opset], ir_version=ir_version)
        path = folder / f"{name}-{self.opset}.onnx"
        if external:
            onnx.save(model, path, save_as_external_data=True, location=f"{path.name}.data", size_threshold=64)
        else:
            onnx.save(model, path)
        onnx.checker.check_model(str(path), full_check=True)
        images = self.rng.normal(size=(2, *self.image)).astype("<f4")
        if isinstance(self.batch, int):
            images = images[: self.batch]
        images.tofile(path.with_suffix(".images"))
        run(path, images).astype("<f4").tofile(path.with_suffix(".logits"))


def make(folder):
    for opset in [7, 9, 11, 13, 17, 18, 22]:

        def net(**options):
            return Net(opset, **options)

        def axes(n, since, *values):
            # An attribute in older versions.
            if opset < since:
                return [], {"axes": list(values)}
            return [n.constant(np.array(values, np.int64))], {}

        n = net()
        x = n.conv("x", 3, 8, pads=[1] * 4, strides=[2, 2], dilations=[1, 1], group=1)
        x = n.op("BatchNormalization", x, *[n.weights(8) for _ in range(3)], n.weights(8, positive=True), epsilon=1e-3)
        x = n.op("Relu", x)
        x = n.conv(x, 8, 8, pads=[1] * 4, group=8, bias=False)
        x = n.op("MaxPool", x, kernel_shape=[3, 3], strides=[1, 1], pads=[1] * 4)
        x = n.op("AveragePool", x, kernel_shape=[2, 2], strides=[1, 1])
        x = n.op("GlobalAveragePool", x)
        x = n.op("Flatten", x)
        n.save(folder, "chain", n.linear(x, 8))

        n = net()
        x = n.conv("x", 3, 4, auto_pad="SAME_UPPER")
        y = n.conv("x", 3, 4, kernel=1, auto_pad="VALID")
        z = n.op("Add", x, y)
        z = n.op("Concat", z, x, y, z, axis=1)
        inputs, attributes = axes(n, 18, 2, 3)
        z = n.op("ReduceMean", z, *inputs, keepdims=0, **attributes)
        z = n.op("MatMul", z, n.weights(16, 7))
        z = n.op("Add", n.weights(7), z)
        z = n.op("Identity", z)
        n.save(folder, "branches", z)

        n = net()
        # The padding that differs is reached by no window.
        x = n.conv("x", 3, 6, strides=[2, 2], kernel=3, pads=[1, 1, 1, 0])
        x = n.op("AveragePool", x, kernel_shape=[3, 3], pads=[1] * 4, count_include_pad=1, strides=[2, 2])
        if opset >= 11:
            x = n.op("Clip", x, n.constant(np.float32(0)))
        else:
            x = n.op("Clip", x, min=0.0)
        shape = np.array([0, -1], np.int64)
        # Before version 9 these are floats only.
        given = n.constant(shape) if opset < 9 else n.op("Constant", value=numpy_helper.from_array(shape))
        x = n.op("Reshape", x, given)
        if opset >= 12:
            x = n.op("Dropout", x, n.constant(np.float32(0.3)))
        else:
            x = n.op("Dropout", x, ratio=0.3)
        x = n.op("Gemm", x, n.weights(6 * 3 * 2, 5), n.weights(1, 5), alpha=0.5, beta=2.0)
        n.save(folder, "shapes", x)

        n = net()
        x = n.op("Relu", "x")
        sizes = n.op("Shape", x)
        first = n.op("Gather", sizes, n.constant(np.int64(0)), axis=0)
        inputs, attributes = axes(n, 13, 0)
        first = n.op("Unsqueeze", first, *inputs, **attributes)
        rest = n.op("Unsqueeze", n.constant(np.int64(-1)), *inputs, **attributes)
        x = n.op("Reshape", x, n.op("Concat", first, rest, axis=0))
        n.save(folder, "view", n.linear(x, 3 * 9 * 8))

        def pad(n, x, *pads):
            if opset < 11:
                return n.op("Pad", x, pads=list(pads), mode="constant")
            if opset < 18:
                return n.op("Pad", x, n.constant(np.array(pads, np.int64)), n.constant(np.float32(0)))
            # Columns and rows alone, in this order.
            pads = np.array([pads[i] for i in [3, 2, 7, 6]], np.int64)
            return n.op("Pad", x, n.constant(pads), "", n.constant(np.array([-1, 2], np.int64)))

        n = net()
        x = n.conv(pad(n, "x", 0, 0, 3, 3, 0, 0, 3, 3), 3, 4, kernel=5, strides=[2, 2])
        x = pad(n, n.op("Relu", x), 0, 0, 1, 1, 0, 0, 1, 1)
        y = n.op("MaxPool", x, kernel_shape=[3, 3], strides=[2, 2])
        x = n.op("AveragePool", x, kernel_shape=[3, 3], strides=[2, 2])
        # Zeros on one side, and the operator's own on the other.
        x = n.conv(pad(n, n.op("Add", x, y), 0, 0, 1, 0, 0, 0, 0, 1), 4, 4, pads=[0, 1, 1, 0])
        x = n.op("Flatten", n.op("GlobalAveragePool", x))
        n.save(folder, "zeros", n.linear(x, 4))

        # What PyTorch's exporters write of F.pad, x.flatten(1) or a view, and a layer without bias.
        n = net()
        x = "x"
        if opset >= 11:
            int64s = lambda *values: n.constant(np.array(values, np.int64))
            zeros = n.op("ConstantOfShape", int64s(4), value=numpy_helper.from_array(np.array([0], np.int64)))
            pads = n.op("Concat", int64s(1, 1, 1, 1), zeros, axis=0)
            pads = n.op("Reshape", pads, int64s(-1, 2))
            pads = n.op("Slice", pads, int64s(-1), int64s(-(2**63) + 1), int64s(0), int64s(-1))
            pads = n.op("Reshape", n.op("Transpose", pads, perm=[1, 0]), int64s(-1))
            x = n.op("Pad", x, n.op("Cast", pads, to=TensorProto.INT64), n.constant(np.float32(0)))
        x = n.conv(x, 3, 8, kernel=2, strides=[2, 2])
        if opset >= 11:
            # Without the rows and columns that make five of nine and of eight.
            x = n.op("AveragePool", x, kernel_shape=[2, 2], strides=[1, 1])
        y = n.op("GlobalMaxPool", x)
        y = n.op("MatMul", n.op("Squeeze", y), n.op("Transpose", n.weights(5, 8)))
        if opset >= 15:
            size = n.op("Squeeze", n.op("Shape", x, start=0, end=1))
            size = n.op("Reshape", size, n.constant(np.array([-1], np.int64)), allowzero=1)
        else:
            size = n.op("Shape", x)
            if opset < 10:
                size = n.op("Slice", size, starts=[0], ends=[1])
            else:
                size = n.op("Slice", size, n.constant(np.array([0], np.int64)), n.constant(np.array([1], np.int64)))
        x = n.op("Reshape", x, n.op("Concat", size, n.constant(np.array([-1], np.int64)), axis=0))
        n.save(folder, "sizes", n.op("Add", n.linear(x, 8 * 4 * 4), y))

        n = net(batch=1)
        x = n.op("MaxPool", "x", kernel_shape=[3, 3], auto_pad="SAME_LOWER")
        x = n.op("MaxPool", x, kernel_shape=[2, 2], strides=[2, 2])
        x = n.conv(x, 3, 4, bias=False)
        inputs, attributes = axes(n, 18, -1, -2)
        x = n.op("ReduceMean", x, *inputs, **attributes)
        inputs, attributes = axes(n, 13, 2, 3)
        x = n.op("Squeeze", x, *inputs, **attributes)
        x = n.op("MatMul", x, n.weights(4, 6))
        x = n.op("Unsqueeze", x, *inputs, **attributes)
        x = n.conv(x, 6, 5, kernel=1)
        x = n.op("Reshape", x, n.constant(np.array([1, 5], np.int64)))
        n.save(folder, "pixel", x, external=True)


if __name__ == "__main__":
    {"check": check, "make": make}[sys.argv[1]](pathlib.Path(sys.argv[2]))
