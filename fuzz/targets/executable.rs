#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| hopwire_fuzz::checks::executable(input));
