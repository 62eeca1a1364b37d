"""smalldiffusion's side of `cargo xtask study --peer`: trains one of its recipes for Fashion-MNIST with the library's
own loop, network, schedule and sampler on PyTorch, and writes samples of the average of the weights.

    python study.py RECIPE LIMIT COUNT SEED THREADS DATA OUT.safetensors

LIMIT says how long it trains, as a time (`600s`) or a number of steps (`2763`); with a COUNT of 0 no samples are drawn. `dit`
and `unet` are the recipes of the library's examples, `dit-small` and `unet-small` the same with the networks and batches of this
project's presets for a CPU. The last line on standard output tells steps, seconds and parameters as JSON.

    python -m pip install smalldiffusion==0.5.0 torch==2.15.0 accelerate==1.15.0 numpy==2.4.6 safetensors==0.8.0
"""

import copy
import gzip
import json
import os
import sys
import time

# Batch size, learning rate, decay of the average.
SETTINGS = {
    "dit": (1024, 1e-3, 0.99),
    "unet": (1024, 7e-4, 0.999),
    "dit-small": (64, 1e-3, 0.99),
    "unet-small": (32, 7e-4, 0.999),
}
SAMPLED_AT_ONCE = 100


def model_and_schedule(recipe):
    import smalldiffusion as sd

    ddpm = sd.ScheduleDDPM(beta_start=0.0001, beta_end=0.02, N=1000)
    log_linear = sd.ScheduleLogLinear(sigma_min=0.01, sigma_max=20, N=800)
    dit = {"in_dim": 28, "channels": 1, "head_dim": 32, "mlp_ratio": 4.0}
    unet = {"in_dim": 28, "in_ch": 1, "out_ch": 1, "attn_resolutions": (14,)}
    match recipe:
        case "dit":
            return sd.DiT(patch_size=2, depth=6, num_heads=6, **dit), ddpm
        case "dit-small":
            return sd.DiT(patch_size=4, depth=4, num_heads=4, **dit), ddpm
        case "unet":
            return sd.Scaled(sd.Unet)(ch=64, ch_mult=(1, 1, 2), **unet), log_linear
        case "unet-small":
            small = {"ch": 32, "ch_mult": (1, 2, 2), "num_res_blocks": 1}
            return sd.Scaled(sd.Unet)(**small, **unet), log_linear
    sys.exit(f"there is no recipe {recipe!r}; there are {', '.join(SETTINGS)}")


def fashion(folder):
    """The training images, mirrored at random when they are read, with values in [-1, 1]."""
    import numpy as np
    import torch

    with gzip.open(os.path.join(folder, "train-images-idx3-ubyte.gz")) as file:
        pixels = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    images = torch.tensor(pixels.astype(np.float32) / 127.5 - 1)

    class Images(torch.utils.data.Dataset):
        def __len__(self):
            return len(images)

        def __getitem__(self, i):
            return images[i].flip(-1) if torch.rand(()) < 0.5 else images[i]

    return Images()


class Average:
    """The moving average of the weights as the examples keep it: its decay grows with the number of updates."""

    def __init__(self, model, decay):
        self.weights = [p for p in model.parameters() if p.requires_grad]
        self.averages = [p.detach().clone() for p in self.weights]
        self.updates, self.decay = 0, decay

    def update(self):
        import torch

        self.updates += 1
        decay = min(self.decay, (1 + self.updates) / (10 + self.updates))
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, self.weights, 1 - decay)

    def apply(self):
        import torch

        with torch.no_grad():
            torch._foreach_copy_(self.weights, self.averages)


def main(recipe, limit, count, seed, threads, data, out):
    import accelerate
    import smalldiffusion as sd
    import torch
    from safetensors.torch import save_file

    torch.set_num_threads(int(threads))
    torch.manual_seed(int(seed))
    accelerator = accelerate.Accelerator(cpu=True)
    model, schedule = model_and_schedule(recipe)
    batch, lr, decay = SETTINGS[recipe]
    loader = torch.utils.data.DataLoader(fashion(data), batch_size=batch, shuffle=True)
    average = Average(model, decay)
    # What a first step costs more than others is not counted.
    warm_up = sd.training_loop(loader, copy.deepcopy(model), schedule, accelerator=accelerator, epochs=1, lr=lr)
    next(warm_up), next(warm_up)
    torch.manual_seed(int(seed))
    seconds = float(limit[:-1]) if limit.endswith("s") else float("inf")
    most = float("inf") if limit.endswith("s") else int(limit)
    loop = sd.training_loop(loader, model, schedule, accelerator=accelerator, epochs=10**9, lr=lr)
    # It yields between the loss and the update; so the first turn has made none yet, and from there on a turn is a step.
    next(loop)
    steps, begun = 0, time.perf_counter()
    for steps, _ in enumerate(loop, 1):
        average.update()
        took = time.perf_counter() - begun
        if took >= seconds or steps >= most:
            break
    average.apply()
    if int(count) > 0:
        sigmas = schedule.sample_sigmas(20)
        parts = []
        for first in range(0, int(count), SAMPLED_AT_ONCE):
            size = min(SAMPLED_AT_ONCE, int(count) - first)
            *_, x0 = sd.samples(model, sigmas, gam=1.6, batchsize=size, accelerator=accelerator)
            parts.append(x0)
        save_file({"samples": torch.cat(parts).float().contiguous()}, out)
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    print(json.dumps({"steps": steps, "seconds": took, "parameters": parameters, "batch_size": batch}))


if __name__ == "__main__":
    main(*sys.argv[1:])
