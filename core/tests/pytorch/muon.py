"""Steps of Muon by PyTorch 2.15, in double precision: `python muon.py` writes `muon.safetensors` beside it.

The file holds two filters' matrices before (`start.N`), the gradients of three steps (`grad.N.STEP`) and the
matrices after them (`end.N`). `torch.optim.Muon` rounds to bfloat16 inside, for which float64 stands here. What
it does not do is done between its steps: the rate is a part of the filters' root mean square norm, and their norm
stays.
"""

import pathlib

import torch
from safetensors.torch import save_file

LR, MOMENTUM, ITERATIONS = 0.1, 0.6, 5
torch.bfloat16 = torch.float64
torch.manual_seed(1)
found = {}
for name, (rows, columns) in {"wide": (4, 27), "tall": (40, 36)}.items():
    value = torch.randn(rows, columns)
    found[f"start.{name}"] = value.clone()
    param = torch.nn.Parameter(value.double())
    norm = param.detach().norm()
    rate = LR * norm.item() / rows**0.5 / max(1, rows / columns) ** 0.5
    muon = torch.optim.Muon([param], lr=rate, momentum=MOMENTUM, weight_decay=0, ns_steps=ITERATIONS)
    for step in range(3):
        grad = torch.randn(rows, columns)
        found[f"grad.{name}.{step}"] = grad
        param.grad = grad.double()
        muon.step()
        with torch.no_grad():
            param.mul_(norm / param.norm())
    found[f"end.{name}"] = param.detach().float()
save_file(found, pathlib.Path(__file__).parent / "muon.safetensors")
