//! x86-64 micro-architecture levels (psABI), from the flags that the kernel lists.

/// Flags of each level beyond the one before, in the spelling of `/proc/cpuinfo`.
const LEVELS: [(&str, &[&str]); 3] = [
    (
        "x86-64-v2",
        &[
            "cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3",
        ],
    ),
    (
        "x86-64-v3",
        &[
            "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "abm", "movbe", "xsave",
        ],
    ),
    (
        "x86-64-v4",
        &["avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"],
    ),
];

/// The highest level of which every flag is there.
pub(super) fn level(cpuinfo: &str) -> &'static str {
    let flags: Vec<&str> = cpuinfo
        .lines()
        .find_map(|line| line.strip_prefix("flags")?.split_once(':'))
        .map(|(_, flags)| flags.split_whitespace().collect())
        .unwrap_or_default();
    let whole = |needed: &&(&str, &[&str])| needed.1.iter().all(|flag| flags.contains(flag));
    LEVELS
        .iter()
        .take_while(whole)
        .last()
        .map_or("x86-64-v1", |(name, _)| name)
}

/// The level of the machine that this runs on; empty where the kernel does not say.
pub(crate) fn of_this_machine() -> String {
    match std::fs::read_to_string("/proc/cpuinfo") {
        Ok(text) => String::from(level(&text)),
        Err(_) => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_needs_every_flag_of_it_and_of_those_below() {
        let v2 = "cx16 lahf_lm popcnt pni sse4_1 sse4_2 ssse3";
        let v3 = "avx avx2 bmi1 bmi2 f16c fma abm movbe xsave";
        let info = |flags: &str| format!("processor\t: 0\nflags\t\t: fpu {flags}\nbugs\t: x\n");
        assert_eq!(level(&info("sse2")), "x86-64-v1");
        assert_eq!(level(&info(v2)), "x86-64-v2");
        assert_eq!(level(&info(&format!("{v2} {v3}"))), "x86-64-v3");
        assert_eq!(level(&info(v3)), "x86-64-v1", "v3 without v2 is no v3");
        assert_eq!(
            level(&info(&format!("{v2} {v3}").replace("bmi2 ", ""))),
            "x86-64-v2"
        );
        assert_eq!(level(""), "x86-64-v1");
    }
}
