// The backends: a row each, and nothing else about a backend is written down anywhere but its feature in the manifests
// of `diffusion-backends`, `diffusion` and `diffusion-cli`. Who includes this file defines the macro `backends` before.
//
//     /// What `--help` says of it.
//     module "feature" Name {
//         burn: its type in `burn::backend`,
//         device: how its device is found, a type of `device.rs`; that of most GPUs is `Gpu`,
//         autotune: whether its programs choose kernels by their time,
//         ci: what `cargo xtask` does with it unasked: `Tests` it, `Lints` it (it compiles on every machine), or `Nothing`,
//         tolerance: how far its results may lie from exact ones, relative to the largest value,
//         hint: what a user can do who has no device for it,
//         unless: the feature of another row that has the same type in Burn,
//     }
//
// The first row is the default.
backends! {
    /// The CPU, fastest.
    flex "flex" Flex {
        burn: Flex, device: Processor, autotune: false, ci: Tests, tolerance: 1e-5,
        hint: "use --backend ndarray"
    }
    /// The CPU, through ndarray.
    ndarray "ndarray" Ndarray {
        burn: NdArray, device: Processor, autotune: false, ci: Tests, tolerance: 1e-5,
        hint: "use --backend flex"
    }
    /// Any GPU, through Metal on macOS and Vulkan elsewhere, with shaders in WGSL.
    wgpu "wgpu" Wgpu {
        burn: Wgpu, device: Graphics, autotune: true, ci: Tests, tolerance: 1e-4,
        hint: "install a Vulkan driver (on Debian, mesa-vulkan-drivers works without a GPU), or use --backend flex"
    }
    /// Any GPU, through Vulkan, with shaders in SPIR-V.
    vulkan "vulkan" Vulkan {
        burn: Vulkan, device: NotOnMac, autotune: true, ci: Lints, tolerance: 1e-4,
        hint: "install a Vulkan driver (on Debian, mesa-vulkan-drivers works without a GPU), or use --backend flex"
    }
    /// Apple's GPUs, with shaders in Metal's own language.
    metal "metal" Metal {
        burn: Metal, device: OnMac, autotune: true, ci: Lints, tolerance: 1e-4,
        hint: "use --backend wgpu or flex", unless: "vulkan"
    }
    /// NVIDIA's GPUs through CUDA.
    cuda "cuda" Cuda {
        burn: Cuda, device: Gpu, autotune: true, ci: Lints, tolerance: 1e-4,
        hint: "install NVIDIA's driver and the CUDA toolkit, or use --backend wgpu or flex"
    }
    /// PyTorch's library, on an NVIDIA or Apple GPU where it sees one, else on the CPU.
    tch "tch" Tch {
        burn: LibTorch, device: Torch, autotune: false, ci: Nothing, tolerance: 1e-5,
        hint: "use --backend flex"
    }
}
