//! The workspace's commands: each spawns cargo with the right features, and nothing else.
//!
//! It has no dependencies, so that `cargo xtask train` begins to build the real program at once.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
The workspace's commands.

  cargo xtask train [PRESET] [OPTIONS]   train a model; `cargo xtask train --help` lists presets and options
  cargo xtask sample RUN [OPTIONS]       draw samples from a trained run
  cargo xtask import FILE --as PRESET    make a run of a state dict that smalldiffusion saved
  cargo xtask export RUN                 write a run's weights as smalldiffusion loads them
  cargo xtask doctor --backend NAME      find out whether a device computes what a CPU does, layer by layer
  cargo xtask bench [OPTIONS]            what training and sampling cost; with --peer, beside smalldiffusion
  cargo xtask test [--backend NAME]      all tests; on flex, ndarray and wgpu, or on the backend that is named
  cargo xtask lint                       formatting, clippy and documentation, warnings denied
  cargo xtask outside                    the README's example in a crate of its own, outside this workspace
  cargo xtask ci                         lint, test and outside
  cargo xtask fixtures [NAME...]         make the reference numbers anew, with Python

Backends: flex (the default), ndarray, wgpu; vulkan, metal, cuda and tch, where the machine has what they need.
";

/// A backend; its name is its feature in every crate that has it. To add one, add its line here and its name in
/// `diffusion-backends`.
struct Backend {
    name: &'static str,
    /// What a program is built with. A GPU chooses its kernels there; for the tests' tiny shapes the choice would cost
    /// more than it saves.
    program_features: &'static str,
    /// Whether every machine can build it, so that tests and lints take it in unasked.
    is_everywhere: bool,
}

const BACKENDS: [Backend; 7] = [
    Backend { name: "flex", program_features: "flex", is_everywhere: true },
    Backend { name: "ndarray", program_features: "ndarray", is_everywhere: true },
    Backend { name: "wgpu", program_features: "wgpu,autotune", is_everywhere: true },
    Backend { name: "vulkan", program_features: "vulkan,autotune", is_everywhere: false },
    Backend { name: "metal", program_features: "metal,autotune", is_everywhere: false },
    Backend { name: "cuda", program_features: "cuda,autotune", is_everywhere: false },
    Backend { name: "tch", program_features: "tch", is_everywhere: false },
];

/// The crates whose features choose a backend.
const TESTED: [&str; 2] = ["diffusion-tests", "diffusion-cli"];

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let Some(task) = arguments.next() else {
        print!("{USAGE}");
        return ExitCode::FAILURE;
    };
    let arguments: Vec<OsString> = arguments.collect();
    let result = match task.to_str() {
        Some(task @ ("train" | "sample" | "import" | "export" | "doctor")) => run_program(task, &arguments),
        Some("bench") => bench(&arguments),
        Some("test") => test(&arguments),
        Some("lint") => lint(),
        Some("outside") => outside(),
        Some("ci") => lint().and_then(|()| test(&[])).and_then(|()| outside()),
        Some("fixtures") => fixtures(&arguments),
        Some("help" | "--help" | "-h") => {
            print!("{USAGE}");
            return ExitCode::SUCCESS;
        }
        _ => Err(format!("there is no task {task:?}\n\n{USAGE}").into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Status(code)) => ExitCode::from(code),
        Err(Failure::Message(message)) => {
            eprintln!("error: {message}");
            ExitCode::FAILURE
        }
    }
}

/// Why a task failed.
enum Failure {
    /// A program that it ran said so itself; its status is ours.
    Status(u8),
    /// It could not be run.
    Message(String),
}

impl From<String> for Failure {
    fn from(message: String) -> Self {
        Self::Message(message)
    }
}

/// Builds the program with the backend that the arguments name, and runs it with all of them.
fn run_program(task: &str, arguments: &[OsString]) -> Result<(), Failure> {
    let mut features = program_features(arguments)?.to_string();
    if task == "doctor" {
        // What it holds the backend against.
        features += ",flex,ndarray";
        if let Some(reference) = backend(arguments, "--reference")? {
            features = format!("{features},{}", reference.program_features);
        }
    }
    become_program(program("diffusion-cli", &features).arg(task).args(arguments))
}

fn bench(arguments: &[OsString]) -> Result<(), Failure> {
    become_program(program("diffusion-bench", program_features(arguments)?).args(arguments))
}

/// The features of a program that computes on the backend that the arguments name.
fn program_features(arguments: &[OsString]) -> Result<&'static str, Failure> {
    Ok(backend(arguments, "--backend")?.unwrap_or(&BACKENDS[0]).program_features)
}

/// Runs the program of a crate, but for its arguments.
fn program(package: &str, features: &str) -> Command {
    let mut command = cargo(&["run", "--quiet", "--release", "--no-default-features"]);
    command.args(["--package", package, "--features", features, "--"]);
    command
}

/// Hands this process over to the program, so that Ctrl-C reaches it alone and its status is ours.
#[cfg(unix)]
fn become_program(command: &mut Command) -> Result<(), Failure> {
    let error = std::os::unix::process::CommandExt::exec(command);
    Err(format!("cannot run {command:?}: {error}").into())
}

#[cfg(not(unix))]
fn become_program(command: &mut Command) -> Result<(), Failure> {
    spawn(command)
}

fn test(arguments: &[OsString]) -> Result<(), Failure> {
    if let Some(other) = arguments.first().filter(|first| !first.to_string_lossy().starts_with("--backend")) {
        return Err(format!("`cargo xtask test` takes --backend NAME, and not {other:?}").into());
    }
    let features = match backend(arguments, "--backend")? {
        Some(backend) => features_of(&TESTED, [backend.name]),
        None => features_of(&TESTED, everywhere()),
    };
    // The programs' own tests run them, so they need a backend in any case.
    spawn(
        cargo(&["test", "--workspace", "--no-default-features", "--features"])
            .arg(features + ",diffusion-cli/flex,diffusion-bench/flex"),
    )
}

fn lint() -> Result<(), Failure> {
    // What needs another system to run is compiled all the same; only PyTorch's library must be there for that too.
    let names = BACKENDS.iter().map(|backend| backend.name).filter(|name| *name != "tch");
    let features = features_of(&["diffusion-tests", "diffusion-cli", "diffusion-bench"], names)
        + ",diffusion-backends/autotune";
    spawn(&mut cargo(&["fmt", "--all", "--check"]))?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--no-default-features", "--features", &features];
    spawn(cargo(&clippy).args(["--", "--deny", "warnings"]))?;
    let doc = ["doc", "--workspace", "--no-deps", "--no-default-features", "--features", &features];
    spawn(cargo(&doc).env("RUSTDOCFLAGS", "--deny warnings"))
}

/// Builds and runs the README's example as a user would: in a crate of its own that depends on the facade by path.
fn outside() -> Result<(), Failure> {
    let root = root();
    let folder = root.join("target").join("outside");
    let manifest = format!(
        "[package]\nname = \"outside\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n{}\n[workspace]\n\n\
         [profile.dev.package.\"*\"]\nopt-level = 2\n",
        block(&root, "toml")?.replace("path/to/diffusion", &root.display().to_string())
    );
    let example = format!("fn main() {{\n{}}}\n", block(&root, "rust")?);
    let written = fs::create_dir_all(folder.join("src"))
        .and_then(|()| fs::write(folder.join("Cargo.toml"), manifest))
        .and_then(|()| fs::write(folder.join("src/main.rs"), example))
        .and_then(|()| fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")));
    written.map_err(|error| format!("cannot write {}: {error}", folder.display()))?;
    let mut command = cargo(&["run", "--quiet"]);
    spawn(command.current_dir(&folder).env("CARGO_TARGET_DIR", folder.join("target")))
}

/// The first code block of the README in the language `language`.
fn block(root: &Path, language: &str) -> Result<String, Failure> {
    let path = root.join("README.md");
    let text =
        fs::read_to_string(&path).map_err(|error| format!("cannot read {}: {error}", path.display()))?;
    let start = format!("```{language}\n");
    let block = text.split_once(&start).and_then(|(_, rest)| rest.split_once("```")).map(|(block, _)| block);
    let missing = || format!("{} has no code block in {language}", path.display());
    Ok(block.ok_or_else(missing)?.to_string())
}

fn fixtures(names: &[OsString]) -> Result<(), Failure> {
    let folder = root().join("crates/diffusion-tests/fixtures");
    let environment = root().join("target").join("fixtures-venv");
    let python = environment.join("bin").join("python");
    if !python.exists() {
        spawn(Command::new("python3").args(["-m", "venv"]).arg(&environment))?;
        let requirements = folder.join("requirements.txt");
        spawn(
            Command::new(&python)
                .args(["-m", "pip", "install", "--quiet", "--requirement"])
                .arg(requirements),
        )?;
    }
    spawn(Command::new(&python).arg(folder.join("make.py")).args(names))
}

/// The backend that `option NAME` or `option=NAME` asks for.
fn backend(arguments: &[OsString], option: &str) -> Result<Option<&'static Backend>, Failure> {
    let mut arguments = arguments.iter().map(|argument| argument.to_string_lossy());
    while let Some(argument) = arguments.next() {
        let name = match argument.split_once('=') {
            Some((given, name)) if given == option => name.to_string(),
            None if argument == option => arguments.next().unwrap_or_default().into_owned(),
            _ => continue,
        };
        let names = || BACKENDS.map(|backend| backend.name).join(", ");
        let found = BACKENDS.iter().find(|backend| backend.name == name);
        return found
            .map(Some)
            .ok_or_else(|| format!("there is no backend {name:?}; there are {}", names()).into());
    }
    Ok(None)
}

/// The backends that every machine can build.
fn everywhere() -> impl Iterator<Item = &'static str> {
    BACKENDS.iter().filter(|backend| backend.is_everywhere).map(|backend| backend.name)
}

/// The features `names` of each of the crates `packages`, as cargo wants them.
fn features_of(packages: &[&str], names: impl IntoIterator<Item = &'static str>) -> String {
    let of_all = |name| packages.iter().map(move |package| format!("{package}/{name}"));
    names.into_iter().flat_map(of_all).collect::<Vec<_>>().join(",")
}

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().map(Path::to_path_buf).unwrap_or_default()
}

fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(arguments);
    command
}

fn spawn(command: &mut Command) -> Result<(), Failure> {
    let status = command.status().map_err(|error| format!("cannot run {command:?}: {error}"))?;
    match status.code() {
        Some(0) => Ok(()),
        code => Err(Failure::Status(code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1))),
    }
}
