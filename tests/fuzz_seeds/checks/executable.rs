//! Executables: any bytes are read or refused, without a panic and in bounded steps.

use hopwire::keys::{Elf, Hit, find_function, probe_point};

/// The input is an executable, and as text a line of the kernel's trace.
pub fn executable(input: &[u8]) {
    if let Ok(point) = probe_point(input) {
        let definition = point.definition("hopwire_1_1", "k0", "/proc/1/exe");
        assert!(!definition.contains('\n'), "a definition of one line");
    }
    if let Ok(elf) = Elf::read(input) {
        let _ = find_function(input, &elf, "main.main");
    }
    for line in String::from_utf8_lossy(input).lines() {
        if let Some(Hit::Secret { line, .. }) = Hit::parse(line) {
            assert_eq!(line.split(' ').count(), 3, "a line of a key log has three words");
        }
    }
}
