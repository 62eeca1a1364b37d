"""The peer: smalldiffusion's side of `cargo xtask bench --peer`, spoken to by JSON lines on standard input.

It does the work that `src/compute.rs` does, with the library's own training loop, sampler and networks in float32, and
with an average of the weights, which the loop there keeps at every step, by one fused operation of PyTorch's.

Its versions are pinned:

    python -m pip install smalldiffusion==0.5.0 torch==2.15.0 accelerate==1.15.0 numpy==2.4.6
"""

import json
import os
import platform
import signal
import sys
import tempfile
import time

REQUIRED = {"smalldiffusion": "0.5.0", "torch": "2.15.0", "accelerate": "1.15.0", "numpy": "2.4.6"}
# For latent diffusion alone.
DIFFUSERS = {"diffusers": "0.32.1", "transformers": "4.48.3"}
IMAGES = 1024


class Refused(Exception):
    """A sentence for the user."""


def main():
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    # Only answers are written: what a library prints, its progress bar say, goes nowhere.
    answers = sys.stdout
    sys.stdout = sys.stderr = open(os.devnull, "w")

    def answer(reply):
        print(json.dumps(reply, separators=(",", ":")), file=answers, flush=True)

    try:
        steps = None
        for line in sys.stdin:
            request = json.loads(line)
            if "prepare" in request:
                parameters, versions, steps = prepare(**request["prepare"])
                answer({"ready": {"parameters": parameters, "versions": versions}})
            else:
                answer({"took": steps(request["steps"])})
    except Refused as refused:
        answer({"failed": str(refused)})
    except Exception as error:
        answer({"failed": f"{type(error).__name__}: {error}"})


def check_versions(all_required=REQUIRED):
    from importlib.metadata import PackageNotFoundError, version

    lacking = []
    for name, required in all_required.items():
        try:
            # A build of PyTorch says after a plus sign what it is for.
            found = version(name).split("+")[0]
        except PackageNotFoundError:
            found = "none"
        if found != required:
            lacking.append(f"{name} {required} (found {found})")
    if lacking:
        pins = " ".join(f"{name}=={required}" for name, required in all_required.items())
        raise Refused(f"{sys.executable} lacks {', '.join(lacking)}; {sys.executable} -m pip install {pins}")


def prepare(work, threads, gpu):
    """Makes everything that the steps need; returns the number of trained weights, the versions, and a function that
    does so many steps and returns their seconds."""
    check_versions()
    import accelerate
    import torch

    torch.set_num_threads(threads)
    torch.manual_seed(0)
    accelerator = accelerate.Accelerator(cpu=not gpu)
    kind = work.pop("kind")
    model, steps = {
        "train-mlp": train_mlp,
        "train-dit": train_dit,
        "train-unet": train_unet,
        "sample-dit": sample_dit,
        "ideal": ideal,
        "checkpoint-save": checkpoint_save,
        "checkpoint-load": checkpoint_load,
        "latent": latent,
    }[kind](accelerator, **work)
    parameters = sum(p.numel() for p in model.parameters() if p.requires_grad)
    versions = (
        f"smalldiffusion {REQUIRED['smalldiffusion']} on PyTorch {torch.__version__}, "
        f"Python {platform.python_version()} ({accelerator.device.type})"
    )
    return parameters, versions, steps


def finish(accelerator):
    """Waits until everything that was asked for is computed."""
    import torch

    if accelerator.device.type == "cuda":
        torch.cuda.synchronize()


class Average:
    """The moving average of a model's weights, as the loop of `diffusion` keeps it."""

    def __init__(self, model):
        self.weights = [p for p in model.parameters() if p.requires_grad]
        self.averages = [p.detach().clone() for p in self.weights]
        self.updates = 0

    def update(self):
        import torch

        self.updates += 1
        decay = min(0.999, 1 - (1 + self.updates) ** (-2 / 3))
        with torch.no_grad():
            torch._foreach_lerp_(self.averages, self.weights, 1 - decay)


def training(accelerator, model, dataset, batch, schedule):
    """The library's own loop, with its optimizer; yields its state and the EMA after each update."""
    import smalldiffusion as sd
    from torch.utils.data import DataLoader

    loader = DataLoader(dataset, batch_size=batch, shuffle=True)
    model.to(accelerator.device)
    average = Average(model)
    loop = sd.training_loop(loader, model, schedule, accelerator=accelerator, epochs=10**9)
    # It yields after the forward pass: from there on, each turn is a backward pass, an update, a batch and the next
    # forward pass.
    next(loop)
    for state in loop:
        average.update()
        yield state, average


def timed(accelerator, loop):
    def steps(count):
        begun = time.perf_counter()
        for _ in range(count):
            next(loop)
        finish(accelerator)
        return time.perf_counter() - begun

    return steps


def images(in_dim):
    import torch

    class Images(torch.utils.data.Dataset):
        def __init__(self):
            self.values = torch.randn(IMAGES, 1, in_dim, in_dim)

        def __len__(self):
            return IMAGES

        def __getitem__(self, i):
            return self.values[i]

    return Images()


def train_mlp(accelerator, hidden_dims, batch):
    import math
    import smalldiffusion as sd

    model = sd.TimeInputMLP(hidden_dims=tuple(hidden_dims))
    points = sd.Swissroll(math.pi / 2, 5 * math.pi, batch)
    schedule = sd.ScheduleLogLinear(N=200, sigma_min=0.005, sigma_max=10)
    return model, timed(accelerator, training(accelerator, model, points, batch, schedule))


def dit_model(in_dim, patch_size, depth, head_dim, num_heads, scaled):
    import smalldiffusion as sd

    kind = sd.Scaled(sd.DiT) if scaled else sd.DiT
    return kind(in_dim=in_dim, channels=1, patch_size=patch_size, depth=depth, head_dim=head_dim, num_heads=num_heads)


def train_dit(accelerator, dit, batch):
    import smalldiffusion as sd

    model = dit_model(**dit)
    loop = training(accelerator, model, images(dit["in_dim"]), batch, sd.ScheduleDDPM())
    return model, timed(accelerator, loop)


def train_unet(accelerator, unet, batch):
    import smalldiffusion as sd

    sizes = {name: tuple(value) if isinstance(value, list) else value for name, value in unet.items()}
    model = sd.Scaled(sd.Unet)(in_ch=1, out_ch=1, **sizes)
    schedule = sd.ScheduleLogLinear(N=800, sigma_min=0.01, sigma_max=20)
    loop = training(accelerator, model, images(unet["in_dim"]), batch, schedule)
    return model, timed(accelerator, loop)


def sample_dit(accelerator, dit, batch, steps):
    import smalldiffusion as sd

    model = dit_model(**dit).to(accelerator.device)
    sigmas = sd.ScheduleDDPM().sample_sigmas(steps)

    def run(count):
        begun = time.perf_counter()
        for _ in range(count):
            *_, x0 = sd.samples(model, sigmas, gam=1, mu=0, batchsize=batch, accelerator=accelerator)
            finish(accelerator)
        return time.perf_counter() - begun

    return model, run


def ideal(accelerator, examples, numbers, queries):
    import smalldiffusion as sd
    import torch

    model = sd.IdealDenoiser(torch.randn(examples, numbers))
    model.data = model.data.to(accelerator.device)
    x = torch.randn(queries, numbers, device=accelerator.device)
    sigma = torch.ones(queries, 1, device=accelerator.device)

    def run(count):
        begun = time.perf_counter()
        with torch.no_grad():
            for _ in range(count):
                model(x, sigma)
                finish(accelerator)
        return time.perf_counter() - begun

    return model, run


def begun_run(accelerator, dit):
    """A model after its first step, its optimizer and its average."""
    import smalldiffusion as sd

    model = dit_model(**dit)
    state, average = next(training(accelerator, model, images(dit["in_dim"]), 1, sd.ScheduleDDPM()))
    return model, state.optimizer, average


def save(path, model, optimizer, average):
    import torch

    state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "average": average.averages}
    torch.save(state, path)


def checkpoint_save(accelerator, dit):
    run = begun_run(accelerator, dit)
    folder = tempfile.TemporaryDirectory()
    path = os.path.join(folder.name, "checkpoint.pth")

    def steps(count):
        begun = time.perf_counter()
        for _ in range(count):
            save(path, *run)
        return time.perf_counter() - begun

    # The folder lasts as long as the function.
    steps.folder = folder
    return run[0], steps


def checkpoint_load(accelerator, dit):
    import torch

    model, optimizer, average = begun_run(accelerator, dit)
    folder = tempfile.TemporaryDirectory()
    path = os.path.join(folder.name, "checkpoint.pth")
    save(path, model, optimizer, average)

    def steps(count):
        begun = time.perf_counter()
        for _ in range(count):
            state = torch.load(path, weights_only=True)
            model.load_state_dict(state["model"])
            optimizer.load_state_dict(state["optimizer"])
            with torch.no_grad():
                for ours, theirs in zip(average.averages, state["average"], strict=True):
                    ours.copy_(theirs)
            finish(accelerator)
        return time.perf_counter() - begun

    steps.folder = folder
    return model, steps


def latent(accelerator, folder, piece, size):
    """Pieces of Stable Diffusion with diffusers' and transformers' networks in float32."""
    check_versions(DIFFUSERS)
    import diffusers
    import torch
    import transformers

    torch.set_grad_enabled(False)

    def opened(part, kind):
        model = kind.from_pretrained(folder, subfolder=part, torch_dtype=torch.float32)
        return model.to(accelerator.device)

    def of(function):
        def run(count):
            begun = time.perf_counter()
            for _ in range(count):
                function()
                finish(accelerator)
            return time.perf_counter() - begun

        return run

    def unet():
        return opened("unet", diffusers.UNet2DConditionModel)

    def vae():
        return opened("vae", diffusers.AutoencoderKL)

    def text_encoder():
        return opened("text_encoder", transformers.CLIPTextModel)

    def tokens(words):
        return [49406, *range(320, 320 + words), *[49407] * (76 - words)]

    def noise(*shape):
        return torch.randn(*shape, device=accelerator.device)

    if piece == "open":

        def networks():
            return torch.nn.ModuleList([unet(), vae(), text_encoder()])

        held = [networks()]

        def again():
            held.clear()
            held.append(networks())

        return held[0], of(again)
    if piece == "text":
        model, ids = text_encoder(), torch.tensor([tokens(12), tokens(0)], device=accelerator.device)
        return model, of(lambda: model(ids))
    if piece == "guided":
        model, x, text = unet(), noise(2, 4, size, size), noise(2, 77, 768)
        return model, of(lambda: model(x, 500, encoder_hidden_states=text).sample)
    model, x = vae(), noise(1, 4, size, size)
    return model, of(lambda: model.decode(x).sample)


main()
