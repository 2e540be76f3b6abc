//! placeholder
/// placeholder
pub struct Synthesis;
