//! How much memory this process may still take.

use std::{fs, path::Path};

/// What is assumed where the system does not tell; 4 GiB.
const UNKNOWN: u64 = 4 << 30;

/// The bytes that can still be taken before the system or the container refuses or ends the process; an estimate.
pub(crate) fn available() -> u64 {
    let text = |path| fs::read_to_string(path).unwrap_or_default();
    let system = kib(&text("/proc/meminfo"), "MemAvailable:").unwrap_or(UNKNOWN);
    let process = of_process(&text("/proc/self/limits"), &text("/proc/self/status"));
    [process, of_container()].into_iter().flatten().fold(system, u64::min)
}

/// What stands behind `name` in a file of Linux's `/proc`, which counts in KiB.
fn kib(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// What is left of the address space that `ulimit -v` allows.
fn of_process(limits: &str, status: &str) -> Option<u64> {
    let limit = limits.lines().find_map(|line| line.strip_prefix("Max address space"))?;
    let limit: u64 = limit.split_whitespace().next()?.parse().ok()?;
    Some(limit.saturating_sub(kib(status, "VmSize:")?))
}

/// The files of a kind of control groups: where they are, the limit, what is used, and the name of the part of that which
/// is a cache of files.
type Files = (&'static str, &'static str, &'static str, &'static str);

const SECOND: Files = ("/sys/fs/cgroup", "memory.max", "memory.current", "inactive_file ");
const FIRST: Files =
    ("/sys/fs/cgroup/memory", "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file ");

/// What is left of the limits of the control groups that this process is in, as Docker, Kubernetes and Slurm set them.
fn of_container() -> Option<u64> {
    let groups = fs::read_to_string("/proc/self/cgroup").ok()?;
    let left = groups.lines().filter_map(|line| {
        let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
        let files = if controllers.is_empty() { SECOND } else { FIRST };
        (controllers.is_empty() || controllers == "memory").then(|| of_groups(path, files))?
    });
    left.min()
}

/// What is left in the group `path` and those above it, any of which may have a limit. Within a container its own group is
/// the root.
fn of_groups(path: &str, (root, limit, usage, cache): Files) -> Option<u64> {
    let group = Path::new(root).join(path.trim_start_matches('/'));
    let left = group.ancestors().take_while(|group| group.starts_with(root)).filter_map(|group| {
        let number = |name: &str| fs::read_to_string(group.join(name)).ok()?.trim().parse::<u64>().ok();
        let stat = fs::read_to_string(group.join("memory.stat")).unwrap_or_default();
        let cached = stat.lines().find_map(|line| line.strip_prefix(cache)?.trim().parse::<u64>().ok());
        Some(number(limit)?.saturating_sub(number(usage)?.saturating_sub(cached.unwrap_or(0))))
    });
    left.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_systems_answers_are_read() {
        let text = "MemTotal:       24000000 kB\nMemFree:         1000 kB\nMemAvailable:   2048 kB\n";
        assert_eq!(kib(text, "MemAvailable:"), Some(2 << 20));
        assert_eq!(kib("MemTotal: 1 kB\n", "MemAvailable:"), None);
        let limits = |limit: &str| {
            format!("Max resident set  unlimited  bytes\nMax address space  {limit}  unlimited  bytes\n")
        };
        let status = "Name:\tdiffusion\nVmPeak:\t    90 kB\nVmSize:\t      3 kB\n";
        assert_eq!(of_process(&limits("4096"), status), Some(1024));
        assert_eq!(of_process(&limits("2048"), status), Some(0));
        assert_eq!(of_process(&limits("unlimited"), status), None);
        assert!(available() > 0);
    }

    #[test]
    fn a_container_may_have_less() {
        let folder = tempfile::tempdir().unwrap();
        let root: &'static str = Box::leak(folder.path().to_str().unwrap().to_owned().into_boxed_str());
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        fs::create_dir_all(folder.path().join("job/step")).unwrap();
        let files = (root, SECOND.1, SECOND.2, SECOND.3);
        assert_eq!(of_groups("/job/step", files), None);
        write("job/memory.max", "1000\n");
        write("job/memory.current", "700\n");
        write("job/memory.stat", "anon 300\ninactive_file 400\n");
        assert_eq!(of_groups("/job/step", files), Some(700));
        write("job/step/memory.max", "max\n");
        write("job/step/memory.current", "9\n");
        assert_eq!(of_groups("/job/step", files), Some(700));
        write("job/step/memory.max", "100\n");
        assert_eq!(of_groups("/job/step", files), Some(91));
        assert_eq!(of_groups("/", files), None);
    }
}
