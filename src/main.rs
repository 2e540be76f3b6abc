//! The hopwire command.

fn main() {}
