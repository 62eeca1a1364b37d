"""Writes the checkpoint-*.pth files beside it: what training scripts put around the weights of `mlp.pth`.

Made with Python 3.11, torch 2.15.0 and NumPy 2.4; `python checkpoints.py` in this folder makes them anew, the same but for
the storages' names in those of before PyTorch 1.6, which are addresses in memory. The weights are
those of `mlp.pth`, number i of tensor k being ((7 i + 13 k) mod 33 - 16) / 16, unless a file's line says otherwise.
"""

import argparse
import collections
import functools
import io
import pathlib
import random
import zipfile

import numpy
import torch

SHAPES = {
    "net.0.weight": (3, 4),
    "net.0.bias": (3,),
    "net.2.weight": (4, 3),
    "net.2.bias": (4,),
    "net.4.weight": (2, 4),
    "net.4.bias": (2,),
}


def weights():
    def tensor(k, shape):
        i = torch.arange(torch.Size(shape).numel())
        return (((7 * i + 13 * k) % 33 - 16) / 16).reshape(shape)

    return collections.OrderedDict((name, tensor(k, shape)) for k, (name, shape) in enumerate(SHAPES.items()))


def twice():
    return collections.OrderedDict((name, 2 * tensor) for name, tensor in weights().items())


def optimizer():
    parameters = [torch.nn.Parameter(tensor) for tensor in weights().values()]
    adam = torch.optim.AdamW(parameters)
    sum(p.sum() for p in parameters).backward()
    adam.step()
    return adam


def plain():
    """Everything that `torch.load(weights_only=True)` allows by itself or for NumPy, beside weights."""
    rng = numpy.random.default_rng(3)
    return {
        "device": torch.device("cuda", 0),
        "dtype": torch.bfloat16,
        "size": torch.Size([2, 3]),
        "layout": torch.sparse_coo,
        "set": {1, 2},
        "frozen": frozenset([3]),
        "counter": collections.Counter("hello"),
        "ordered": collections.OrderedDict(a=1),
        "default": collections.defaultdict(list, a=[1]),
        "queue": collections.deque([1, 2]),
        "bytes": b"\x00\xff\n",
        "bytearray": bytearray(b"\x01\x80"),
        7: "an integer as a key",
        -1: {2: {3: 4}},
        None: 1,
        (1, 2): "a tuple as a key",
        True: False,
        "complex": 1 + 2j,
        "large": 2**200,
        "negative": -(2**70),
        "text": "ü\U0001f600",
        "float": float("nan"),
        "slice": slice(1, 2),
        "random": random.getstate(),
        "torch_random": torch.get_rng_state()[:16].clone(),
        "numpy_random": numpy.random.get_state()[:1],
        "generator": rng.bit_generator.state,
        "pcg": rng,
        "array": numpy.arange(6, dtype=numpy.float32).reshape(2, 3),
        "scalar": numpy.float64(1.5),
        "numpy_dtype": numpy.dtype("int64"),
        "metrics": [{"loss": 0.5, "step": i} for i in range(3)],
        "empty": [(), [], {}, set(), ""],
    }


def odd_tensors():
    """Tensors that are no weights here: of other types, and of other ways to be."""
    attributed = torch.ones(2)
    attributed.note = "kept"
    return {
        "step": torch.tensor(5),
        "mask": torch.tensor([True, False]),
        "complex": torch.ones(2, dtype=torch.complex64),
        "conjugate": torch.ones(2, dtype=torch.complex64).conj(),
        "uint16": torch.ones(2).to(torch.uint16),
        "float8": torch.ones(2).to(torch.float8_e4m3fn),
        "sparse": torch.eye(3).to_sparse(),
        "csr": torch.eye(3).to_sparse_csr(),
        "meta": torch.ones(2, device="meta"),
        "attributed": attributed,
        "deep": torch.ones((1,) * 12),
        "scalar": torch.tensor(0.5),
        "nothing": torch.ones(0, 3),
    }


class Net(torch.nn.Module):
    """A class of a script, which no reader has."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(2, 2)


Net.__module__ = "my_project.models"


def save_unseen(value, path):
    """Saves objects of a class that Python cannot find."""
    import sys
    import types

    for name in ("my_project", "my_project.models"):
        sys.modules[name] = types.ModuleType(name)
    sys.modules["my_project.models"].Net = Net
    torch.save(value, path)


def deflated(value, path):
    buffer = io.BytesIO()
    torch.save(value, buffer)
    with zipfile.ZipFile(buffer) as stored, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as packed:
        for name in stored.namelist():
            packed.writestr(zipfile.ZipInfo(name), stored.read(name), zipfile.ZIP_DEFLATED)


def negative():
    """Tensors whose metadata and makes change what is stored: their values are those of `weights`."""
    state = weights()
    stored = torch.complex(torch.zeros(3), -state["net.0.bias"])
    state["net.0.bias"] = stored.conj().imag
    assert state["net.0.bias"].is_neg() and torch.equal(state["net.0.bias"], weights()["net.0.bias"])
    state["net.2.weight"] = torch.nn.Parameter(state["net.2.weight"])
    noted = state["net.2.bias"].clone()
    noted.note = "an attribute of Python's"
    state["net.2.bias"] = noted
    parameter = torch.nn.Parameter(state["net.4.bias"])
    parameter.note = "another"
    state["net.4.bias"] = parameter
    return state


def main():
    random.seed(3), numpy.random.seed(3), torch.manual_seed(3)
    torch.save({**plain(), "tensors": odd_tensors(), "model": weights()}, "checkpoint-plain.pth")
    torch.save({**plain(), "model": weights()}, "checkpoint-plain-4.pth", pickle_protocol=4)
    model = Net()
    objects = {
        "args": argparse.Namespace(lr=1e-3, out=pathlib.PurePosixPath("runs")),
        "optimizer": optimizer(),
        "net": model,
        "partial": functools.partial(int, base=2),
        "state_dict": weights(),
    }
    save_unseen(objects, "checkpoint-objects.pth")
    save_unseen({"net": model, "epoch": 3}, "checkpoint-model.pth")

    # Weights twice as large are the average's.
    adam = optimizer().state_dict()
    ema = {f"module.{name}": tensor for name, tensor in twice().items()}
    state = {"model": weights(), "ema": {"n_averaged": torch.tensor(3), **ema}, "optimizer": adam}
    torch.save({"state": state, "epoch": 3}, "checkpoint-several.pth")
    torch.save([weights(), adam, 3, twice()], "checkpoint-list.pth")
    same = weights()
    torch.save({"model": same, "best": same, "history": [same]}, "checkpoint-same.pth")
    torch.save({**weights(), "epoch": 3, "optimizer": adam, "lr": 1e-3}, "checkpoint-amid.pth")
    torch.save({**weights(), "net.2.bias": None, "net.0.bias": torch.eye(3).to_sparse()}, "checkpoint-odd.pth")

    bad = {**weights(), "net.4.bias": torch.ones(3)}
    ema = {"ema_0.9999": twice(), "ema_0": {"other": {"a": torch.ones(1)}}}
    nested = {"a.b": torch.ones(1), "a": {"b": torch.ones(2), "c": torch.ones(3)}}
    torch.save({("model", "x"): weights(), **ema, **nested, "bad": bad, None: {"a": 1}}, "checkpoint-keys.pth")
    near = {name: tensor for name, tensor in bad.items() if "weight" in name}
    torch.save({"critic": near, "generator": bad, "epoch": 3}, "checkpoint-near.pth")
    torch.save({"decay": 0.999, "shadow_params": list(weights().values())}, "checkpoint-averages.pth")

    deflated({"model": weights(), "optimizer": adam}, "checkpoint-deflated.pth")
    torch.save(negative(), "checkpoint-negative.pth")
    shared = torch.cat([tensor.flatten() for tensor in weights().values()]).double()
    views, at = {}, 0
    for name, tensor in weights().items():
        views[name] = shared[at : at + tensor.numel()].reshape(tensor.shape)
        at += tensor.numel()
    old = {**plain(), "tensors": odd_tensors(), "model": views, "half": torch.ones(3).half()}
    del old["tensors"]["float8"], old["tensors"]["uint16"]  # of types that came later
    torch.save(old, "checkpoint-legacy.pth", _use_new_zipfile_serialization=False)
    torch.save(negative(), "checkpoint-legacy-4.pth", _use_new_zipfile_serialization=False, pickle_protocol=4)
    torch.save(negative(), "checkpoint-legacy-1.pth", _use_new_zipfile_serialization=False, pickle_protocol=1)


main()
