//! Running out of memory, which says so.

use diffusion::TellingAllocator;
use std::io::{Write, stderr};
use std::panic;
use std::process;

/// What needs less memory.
const ADVICE: &str = "a smaller --batch-size needs less, and training.accumulate makes up for it";

#[global_allocator]
static ALLOCATOR: TellingAllocator = TellingAllocator(|bytes| {
    let _ = writeln!(stderr(), "warning: {bytes} bytes of memory could not be had; {ADVICE}");
    #[cfg(unix)]
    IS_OUT.store(true, std::sync::atomic::Ordering::Relaxed);
});

/// Whether memory has run out.
#[cfg(unix)]
static IS_OUT: std::sync::atomic::AtomicBool = std::sync::atomic::AtomicBool::new(false);

/// Lets the end of the program without memory, on the host or on a device, be an error and not a crash.
pub fn watch() {
    #[cfg(unix)]
    {
        let ended = signal_hook::consts::SIGABRT;
        let _ = signal_hook::flag::register_conditional_shutdown(ended, 1, &IS_OUT);
    }
    let before = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let said = panic.payload_as_str().unwrap_or_default().to_lowercase();
        // As graphics drivers, and the libraries over them, say it.
        if ["out of memory", "outofmemory", "out_of_memory"].iter().any(|words| said.contains(words)) {
            let _ = writeln!(stderr(), "error: the device is out of memory\nhint: {ADVICE}");
            process::exit(1);
        }
        before(panic);
    }));
}
