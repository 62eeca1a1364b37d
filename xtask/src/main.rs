//! The workspace's commands: each spawns cargo with the right features, and nothing else.
//!
//! It has no dependencies, so that `cargo xtask train` begins to build the real program at once.

mod backends;
mod links;
mod packages;

use backends::{BACKENDS, Ci};
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

const USAGE: &str = "\
The workspace's commands.

  cargo xtask train [PRESET] [OPTIONS]   train a model; `cargo xtask train --help` lists presets and options
  cargo xtask sample RUN [OPTIONS]       draw samples from a trained run
  cargo xtask eval RUN|SAMPLES           how far samples are from data: FD, KID, precision and recall, and others
  cargo xtask likelihood RUN [OPTIONS]   how likely data are under a trained model, in bits per dimension
  cargo xtask generate FOLDER PROMPT     draw a picture of a text or a class, by a pretrained model
  cargo xtask encode FOLDER --images DIR turn pictures into latents
  cargo xtask decode FOLDER FILE         turn latents into pictures
  cargo xtask reflow RUN --count N --out PAIRS   draw pairs from a trained flow, to train one for few steps
  cargo xtask import FILE --as PRESET    make a run of a state dict that smalldiffusion saved
  cargo xtask export RUN                 write a run's weights as smalldiffusion loads them
  cargo xtask ema RUN --width X          make an average of a run's weights of another width, after the training
  cargo xtask doctor --backend NAME      find out whether a device computes what a CPU does, layer by layer
  cargo xtask samplers                   compare all samplers on data whose denoiser is known
  cargo xtask bench [OPTIONS]            what training and sampling cost; with --peer, beside smalldiffusion
  cargo xtask study [OPTIONS]            train recipes for Fashion-MNIST for the same time, and compare their samples
  cargo xtask test [--backend NAME]      all tests; on flex, ndarray and wgpu, or on the backend that is named
  cargo xtask lint                       formatting, clippy, documentation, its links, and what would be published
  cargo xtask outside                    the README's example in a crate of its own, outside this workspace
  cargo xtask ci                         lint, test and outside
  cargo xtask fixtures [NAME...]         make the fixtures anew, with Python
";

/// The commands of the program.
const COMMANDS: [&str; 13] = [
    "train",
    "sample",
    "eval",
    "likelihood",
    "reflow",
    "generate",
    "encode",
    "decode",
    "import",
    "export",
    "ema",
    "doctor",
    "samplers",
];

fn main() -> ExitCode {
    let mut arguments = env::args_os().skip(1);
    let Some(task) = arguments.next() else {
        let _ = write!(io::stdout(), "{}", usage());
        return ExitCode::FAILURE;
    };
    let arguments: Vec<OsString> = arguments.collect();
    let result = match task.to_str() {
        Some(task) if COMMANDS.contains(&task) => run_program(task, &arguments),
        Some("bench") => bench(&[], &arguments),
        Some("study") => bench(&["study"], &arguments),
        Some("test") => test(&arguments),
        Some("lint") => lint(),
        Some("outside") => outside(),
        Some("ci") => lint().and_then(|()| test(&[])).and_then(|()| outside()),
        Some("fixtures") => fixtures(&arguments),
        Some("help" | "--help" | "-h") => {
            let _ = write!(io::stdout(), "{}", usage());
            return ExitCode::SUCCESS;
        }
        _ => Err(format!("there is no task {task:?}\n\n{}", usage()).into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(Failure::Status(code)) => ExitCode::from(code),
        Err(Failure::Message(message)) => {
            let _ = writeln!(io::stderr(), "error: {message}");
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

/// What there is to do.
fn usage() -> String {
    format!(
        "{USAGE}\nBackends: {}; the first is the default, and docs/command-line.md says what each needs.\n",
        backends::names()
    )
}

/// Builds the program with the backend that the arguments name, and becomes it with all of them.
fn run_program(task: &str, arguments: &[OsString]) -> Result<(), Failure> {
    let mut features = program_features(arguments)?;
    if task == "doctor" {
        // What it holds the backend against.
        features += ",diffusion/flex,diffusion/ndarray";
        if let Some(reference) = backends::named(arguments, "--reference")? {
            features = format!("{features},{}", reference.program_features());
        }
    }
    build_and_become("diffusion-cli", &features, |program| program.arg(task).args(arguments))
}

fn bench(task: &[&str], arguments: &[OsString]) -> Result<(), Failure> {
    let features = program_features(arguments)?;
    build_and_become("diffusion-bench", &features, |program| program.args(task).args(arguments))
}

/// The features of a program that computes on the backend that the arguments name.
fn program_features(arguments: &[OsString]) -> Result<String, Failure> {
    Ok(backends::named(arguments, "--backend")?.unwrap_or(&BACKENDS[0]).program_features())
}

/// Builds the program of a crate under cargo's eyes, which takes minutes the first time, and then runs it, with cargo
/// silent: what is printed then is its own.
fn build_and_become(
    package: &str,
    features: &str,
    with_arguments: impl FnOnce(&mut Command) -> &mut Command,
) -> Result<(), Failure> {
    let what = ["--release", "--no-default-features", "--package", package, "--features", features];
    spawn(cargo(&["build"]).args(what))?;
    let mut program = cargo(&["run", "--quiet"]);
    // What the program calls itself where it tells how to go on.
    program.args(what).arg("--").env("DIFFUSION_INVOCATION", "cargo xtask");
    become_program(with_arguments(&mut program))
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
    let mut command = cargo(&["test", "--workspace", "--no-default-features", "--features"]);
    match backends::named(arguments, "--backend")? {
        Some(backend) => {
            command.arg(backends::workspace_features([backend]));
            if backend.name != BACKENDS[0].name {
                // The programs' tests need the default backend in any case; what is stamped for it is not asked for.
                command.args(["--", "--skip", &format!("::{}::", BACKENDS[0].name)]);
            }
        }
        None => {
            let tested = BACKENDS.iter().filter(|backend| backend.ci == Ci::Tests);
            command.arg(backends::workspace_features(tested));
        }
    }
    spawn(&mut command)
}

fn lint() -> Result<(), Failure> {
    let compiled = BACKENDS.iter().filter(|backend| backend.ci != Ci::Nothing);
    let features = backends::workspace_features(compiled) + ",diffusion-cli/autotune";
    spawn(&mut cargo(&["fmt", "--all", "--check"]))?;
    check_links()?;
    packages::check()?;
    let clippy = ["clippy", "--workspace", "--all-targets", "--no-default-features", "--features", &features];
    spawn(cargo(&clippy).args(["--", "--deny", "warnings"]))?;
    let doc = ["doc", "--workspace", "--no-deps", "--no-default-features", "--features", &features];
    spawn(cargo(&doc).env("RUSTDOCFLAGS", "--deny warnings"))
}

/// Follows the links of every document.
fn check_links() -> Result<(), Failure> {
    let root = root();
    let mut documents = Vec::new();
    for folder in ["", "docs"] {
        let entries = fs::read_dir(root.join(folder))
            .map_err(|error| format!("cannot read {}: {error}", root.join(folder).display()))?;
        let names = entries.flatten().map(|entry| Path::new(folder).join(entry.file_name()));
        documents.extend(names.filter(|name| name.extension().is_some_and(|extension| extension == "md")));
    }
    documents.sort();
    let broken = links::broken(&root, &documents);
    if broken.is_empty() { Ok(()) } else { Err(broken.join("\n").into()) }
}

/// Builds and runs the README's example as a user would: in a crate of its own that depends on the facade by path.
///
/// The workspace's profile and target folder let it take the crates that both need with the same features.
fn outside() -> Result<(), Failure> {
    let root = root();
    let folder = root.join("target").join("outside");
    let manifest = format!(
        "[package]\nname = \"outside\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\n[dependencies]\n{}\n[workspace]\n\n{}",
        block(&root, "toml")?.replace("path/to/diffusion", &root.display().to_string()),
        tables(
            &read(&root.join("Cargo.toml"))?,
            &["profile.dev", "profile.dev.package.\"*\"", "profile.dev.build-override"]
        )?,
    );
    let example = format!("fn main() {{\n{}}}\n", block(&root, "rust")?);
    let written = fs::create_dir_all(folder.join("src"))
        .and_then(|()| fs::write(folder.join("Cargo.toml"), manifest))
        .and_then(|()| fs::write(folder.join("src/main.rs"), example))
        .and_then(|()| fs::copy(root.join("Cargo.lock"), folder.join("Cargo.lock")));
    written.map_err(|error| format!("cannot write {}: {error}", folder.display()))?;
    let target = env::var_os("CARGO_TARGET_DIR").unwrap_or_else(|| root.join("target").into());
    let mut command = cargo(&["run", "--manifest-path"]);
    spawn(command.arg(folder.join("Cargo.toml")).env("CARGO_TARGET_DIR", target))
}

/// The tables `names` of the manifest `text`, as they stand there.
fn tables(text: &str, names: &[&str]) -> Result<String, Failure> {
    let table = |name: &&str| {
        let start =
            text.find(&format!("[{name}]\n")).ok_or_else(|| format!("Cargo.toml has no table [{name}]"))?;
        let table = &text[start..];
        Ok(table.find("\n[").map_or(table, |end| &table[..=end]))
    };
    names.iter().map(table).collect()
}

/// The first code block of the README in the language `language`.
fn block(root: &Path, language: &str) -> Result<String, Failure> {
    let path = root.join("README.md");
    let text = read(&path)?;
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

fn read(path: &Path) -> Result<String, Failure> {
    fs::read_to_string(path).map_err(|error| format!("cannot read {}: {error}", path.display()).into())
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
