//! What this process takes of the machine's memory. Only says it; what follows is for those who ask.

use std::fs;

/// Resident memory, bytes: what the operating system counts against the process, the binary's own pages
/// included. None where it does not say (it is Linux that does, in `/proc/self/status`, proc(5)).
pub fn resident_bytes() -> Option<usize> {
    resident_in(&fs::read_to_string("/proc/self/status").ok()?)
}

fn resident_in(status: &str) -> Option<usize> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    kib.trim().parse::<usize>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn resident_memory_is_read() {
        let check = |status: &str, expected: Option<usize>| assert_eq!(resident_in(status), expected);
        check("Name:\tdriftline\nVmHWM:\t  99 kB\nVmRSS:\t    2048 kB\nThreads:\t3\n", Some(2 << 20));
        check("VmRSS:\tmany kB", None);
        check("VmRSS:\t12 pages", None);
        check("", None);
    }
}
