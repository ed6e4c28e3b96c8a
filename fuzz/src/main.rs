//! Hands libFuzzer's inputs to one of the parsers' properties, named by `MAINSTAY_FUZZ`.
//!
//! One program for all of them, so that they are linked once; built by `fuzz/run`, and without its flags it is
//! nothing. What must hold is said in the library.

#![cfg_attr(fuzzing, no_main)]

#[cfg(fuzzing)]
mod fuzz {
    use std::{env, process::exit, sync::LazyLock};

    use mainstay::providers::fuzzing::{PROPERTIES, Property};

    static CHOSEN: LazyLock<Property> = LazyLock::new(|| {
        let name = env::var("MAINSTAY_FUZZ").unwrap_or_default();
        let Some((_, property)) = PROPERTIES.iter().find(|(known, _)| *known == name) else {
            let known = PROPERTIES.map(|(known, _)| known).join(", ");
            eprintln!("MAINSTAY_FUZZ must name one of {known}");
            exit(2)
        };
        *property
    });

    libfuzzer_sys::fuzz_target!(|data: &[u8]| CHOSEN(data));
}

#[cfg(not(fuzzing))]
fn main() {}
