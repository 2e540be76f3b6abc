//! What the targets call: the checks that `tests/fuzz_seeds` replays on fixed inputs.

#[path = "../../tests/fuzz_seeds/checks/mod.rs"]
pub mod checks;
