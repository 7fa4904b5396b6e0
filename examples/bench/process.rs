//! Resource usage of this process.

use anyhow::{Context, bail};

/// CPU time of this process so far in seconds: user and system, all threads.
#[cfg(unix)]
pub(crate) fn cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// There is no such clock here.
#[cfg(not(unix))]
pub(crate) fn cpu_seconds() -> f64 {
    f64::NAN
}

/// CPU time of the thread that asks, so far, in seconds: user and system.
#[cfg(unix)]
pub(crate) fn thread_cpu_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 / 1e9
}

/// There is no such clock here.
#[cfg(not(unix))]
pub(crate) fn thread_cpu_seconds() -> f64 {
    f64::NAN
}

/// Gives the thread that asks the time that all others leave, where that is possible.
pub(crate) fn come_last() {
    #[cfg(unix)]
    {
        // Whoever may not do so keeps its place.
        let _ = rustix::process::nice(19);
    }
}

/// Threads of this process; 0 where that is not known.
pub(crate) fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// Open sockets of this process; 0 where that is not known.
pub(crate) fn sockets() -> usize {
    let Ok(files) = std::fs::read_dir("/proc/self/fd") else { return 0 };
    let is_socket = |file: &std::fs::DirEntry| {
        let target = std::fs::read_link(file.path());
        target.is_ok_and(|target| target.as_os_str().as_encoded_bytes().starts_with(b"socket:"))
    };
    files.flatten().filter(is_socket).count()
}

/// Resident memory of this process in bytes.
pub(crate) fn resident_bytes() -> anyhow::Result<u64> {
    if !cfg!(target_os = "linux") {
        bail!("the resident memory of a process is only known on Linux");
    }
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes = line.and_then(|rest| rest.trim().strip_suffix("kB"));
    let kilobytes: u64 = kilobytes.context("no VmRSS in /proc/self/status")?.trim().parse()?;
    Ok(kilobytes * 1024)
}
