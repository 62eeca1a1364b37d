"""Writes the .pth files beside it, which the tests of state dicts read, and prints what the networks in them compute.

Made with Python 3.11, torch 2.15.0 and smalldiffusion 0.5.0; `python make.py` in this folder makes them anew.
The numbers are patterns that the tests know: number i of tensor k is ((7 i + 13 k) mod 33 - 16) / 16, which float16
and bfloat16 hold exactly.
"""

import torch
from smalldiffusion.model import ConditionalMLP, TimeInputMLP
from smalldiffusion.model_dit import DiT


def patterned(model):
    for k, (name, p) in enumerate(model.state_dict().items()):
        if name != "pos_embed":
            i = torch.arange(p.numel())
            p.copy_((((7 * i + 13 * k) % 33 - 16) / 16).reshape(p.shape))
    return model.eval()


def show(name, output):
    print(name, [round(v, 6) for v in output.flatten().tolist()])


def main():
    mlp = patterned(TimeInputMLP(hidden_dims=(3, 4)))
    torch.save(mlp.state_dict(), "mlp.pth")
    show("mlp", mlp(torch.tensor([[0.5, -1.0]]), torch.tensor([2.0])))

    conditional = patterned(ConditionalMLP(hidden_dims=(3,), num_classes=2))
    torch.save(conditional.state_dict(), "conditional_mlp.pth", pickle_protocol=4)
    show("conditional", conditional(torch.tensor([[0.5, -1.0]]), torch.tensor([2.0]), torch.tensor([1])))

    dit = patterned(DiT(in_dim=4, channels=1, patch_size=2, depth=1, head_dim=2, num_heads=2, mlp_ratio=1.0))
    torch.save(dit.state_dict(), "dit.pth")
    show("dit", dit(torch.arange(16.0).reshape(1, 1, 4, 4) / 8 - 1, torch.tensor([2.0])))

    # The same numbers in other types and strides: a transpose, a slice of a larger storage, every second number, one
    # number for many, and two views of one storage. In a checkpoint, as a parameter, and under wrappers' names.
    odd = dict(mlp.state_dict())
    odd["net.0.weight"] = torch.nn.Parameter(odd["net.0.weight"].t().contiguous().t())
    odd["net.0.bias"] = odd["net.0.bias"].half()
    odd["net.2.bias"] = odd["net.2.bias"].bfloat16()
    odd["net.2.weight"] = torch.cat([torch.zeros(2, 3), odd["net.2.weight"], torch.ones(1, 3)]).double()[2:6]
    shared = torch.stack([torch.full((9,), 0.25), torch.arange(9.0)], 1).flatten()
    odd["net.4.weight"] = shared[1:17:2].reshape(2, 4)
    odd["net.4.bias"] = shared[:1].expand(2)
    odd = {f"module._orig_mod.{name}": tensor for name, tensor in odd.items()}
    torch.save({"epoch": 3, "model": odd, "optimizer": {"state": {}, "lr": [1e-3, None]}}, "odd.pth")


with torch.no_grad():
    main()
