//! What this process may use of the machine: memory and threads, as its cgroup limits them.
//!
//! Invariant: a limit that cannot be read is no limit; reading never fails.

use std::path::{Path, PathBuf};

/// The machine as this process sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Machine {
    /// The machine's memory or the cgroup's limit, whichever is less, in bytes.
    pub(crate) memory_bytes: u64,
    /// Whether the cgroup's limit is the lesser.
    pub(crate) limited_by_cgroup: bool,
    /// Cores that this process may use (affinity and cgroup quota).
    pub(crate) threads: usize,
}

impl Machine {
    /// Measures the machine that this process runs on.
    pub(crate) fn of_process() -> Self {
        let mut system = sysinfo::System::new();
        system.refresh_memory();
        let total = system.total_memory();
        let limit = cgroup_limit_bytes(&|path| std::fs::read_to_string(path).ok()).filter(|limit| *limit < total);
        Self {
            memory_bytes: limit.unwrap_or(total),
            limited_by_cgroup: limit.is_some(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
        }
    }
}

/// The least memory limit of this process's cgroup and those above it, in version 1 or 2.
///
/// A limit may stand on any level, and in a container the own cgroup is mounted as the root.
fn cgroup_limit_bytes(read: &dyn Fn(&Path) -> Option<String>) -> Option<u64> {
    let membership = read(Path::new("/proc/self/cgroup")).unwrap_or_default();
    let mut limits = Vec::new();
    for line in membership.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (parts.next(), parts.next(), parts.next()) else { continue };
        let (mount, file) = if controllers.is_empty() {
            ("/sys/fs/cgroup", "memory.max")
        } else if controllers.split(',').any(|controller| controller == "memory") {
            ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
        } else {
            continue;
        };
        for level in Path::new(group.trim_start_matches('/')).ancestors() {
            let path = PathBuf::from(mount).join(level).join(file);
            limits.extend(read(&path).and_then(|text| text.trim().parse::<u64>().ok()));
        }
    }
    limits.into_iter().min()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn limit(files: &[(&str, &str)]) -> Option<u64> {
        let files: BTreeMap<PathBuf, String> =
            files.iter().map(|(path, text)| (PathBuf::from(path), (*text).to_owned())).collect();
        cgroup_limit_bytes(&|path| files.get(path).cloned())
    }

    #[test]
    fn the_least_limit_of_all_levels_counts_in_version_2() {
        let files = [
            ("/proc/self/cgroup", "0::/system.slice/job.service\n"),
            ("/sys/fs/cgroup/system.slice/job.service/memory.max", "max\n"),
            ("/sys/fs/cgroup/system.slice/memory.max", "1000\n"),
        ];
        assert_eq!(limit(&files), Some(1000));
    }

    #[test]
    fn a_container_sees_its_limit_at_the_root_of_the_mount() {
        let files = [("/proc/self/cgroup", "0::/docker/abc\n"), ("/sys/fs/cgroup/memory.max", "512\n")];
        assert_eq!(limit(&files), Some(512));
    }

    #[test]
    fn the_memory_controller_of_version_1_is_found() {
        let files = [
            ("/proc/self/cgroup", "5:cpu,cpuacct:/a\n4:memory:/a\n"),
            ("/sys/fs/cgroup/memory/a/memory.limit_in_bytes", "300\n"),
            ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "9223372036854771712\n"),
        ];
        assert_eq!(limit(&files), Some(300));
    }

    #[test]
    fn no_cgroup_is_no_limit() {
        assert_eq!(limit(&[]), None);
        assert_eq!(limit(&[("/proc/self/cgroup", "nonsense")]), None);
    }
}
