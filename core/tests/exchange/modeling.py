"""Loads the networks in a folder as PyTorch code and compares their logits: `python modeling.py FOLDER`.

For each NAME: modeling_NAME.py, NAME.safetensors, NAME.images.npy, NAME.logits.npy. Exits with 77 if there is no
PyTorch or no safetensors here.
"""

import importlib.util
import sys
from pathlib import Path

try:
    import numpy as np
    import torch
    from safetensors.torch import load_file
except ImportError as error:
    print(error, file=sys.stderr)
    sys.exit(77)

TOLERANCE = 1e-4

count = 0
for path in sorted(Path(sys.argv[1]).glob("modeling_*.py")):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    classes = [value for value in vars(module).values() if isinstance(value, type)]
    (network,) = [cls for cls in classes if issubclass(cls, torch.nn.Module)]
    model = network().eval()
    name = path.stem.removeprefix("modeling_")
    model.load_state_dict(load_file(path.with_name(f"{name}.safetensors")), strict=True)
    with torch.no_grad():
        found = model(torch.from_numpy(np.load(path.with_name(f"{name}.images.npy")))).numpy()
    expected = np.load(path.with_name(f"{name}.logits.npy"))
    assert found.shape == expected.shape, (name, found.shape, expected.shape)
    difference = (np.abs(found - expected).max(1) / np.abs(expected).max(1)).max()
    assert difference <= TOLERANCE, (name, difference)
    count += 1
print(count)
