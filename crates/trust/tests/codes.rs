//! Promise: every refusal bears a stable code, and the list of codes is whole.

use std::collections::BTreeSet;

use twinroot_trust::error::codes;

/// Every source file that gives codes to errors.
const SOURCES: [&str; 5] = [
    include_str!("../src/error.rs"),
    include_str!("../src/tuf/error.rs"),
    include_str!("../src/manifest/mod.rs"),
    include_str!("../src/policy.rs"),
    include_str!("../src/release.rs"),
];

/// The codes in the bodies of all `fn code`: their string literals.
fn codes_in_sources() -> BTreeSet<&'static str> {
    let bodies = SOURCES
        .iter()
        .flat_map(|source| source.split("pub fn code(").skip(1));
    let bodies = bodies.map(|rest| rest.split("\n    }\n").next().expect("a body"));
    bodies
        .flat_map(|body| body.split('"').skip(1).step_by(2))
        .collect()
}

#[test]
fn the_list_of_codes_is_sorted_and_holds_exactly_the_codes_that_errors_give() {
    let listed = codes();
    assert!(
        listed.windows(2).all(|pair| pair[0] < pair[1]),
        "sorted and without repetition"
    );
    let given = codes_in_sources();
    assert!(
        given.len() >= 30,
        "only {} codes were found in the sources",
        given.len()
    );
    assert_eq!(given, listed.iter().copied().collect());
}

#[test]
fn codes_are_kebab_case() {
    for code in codes() {
        let good =
            |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_lowercase());
        assert!(code.split('-').all(good), "{code}");
    }
}
